//! The true state of a simulated secret, and the simulated faults of calls for this secret.

use crate::source::FetchErrorKind;
use std::time::Duration;

/// The simulated fault of calls for one secret.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    None,
    Fail(FetchErrorKind),
    /// Fault: about every other call for the secret fails.
    Flaky(FetchErrorKind),
    /// Fault: calls for the secret time out at their deadline.
    Hang,
}

/// The true state of one secret in the simulated world.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) name: String,
    /// How many times the simulated secret was deleted and created again.
    pub(super) generation: u32,
    /// The numbers of all versions of the simulated secret, in the order of their creation.
    pub(super) versions: Vec<u32>,
    /// Which version of the simulated secret became current when: times of the steady clock, with
    /// the numbers of the versions.
    pub(super) history: Vec<(Duration, u32)>,
    pub(super) is_deleted: bool,
    pub(super) fault: Fault,
    /// How far some replicas of the simulated AWS lag behind for this secret.
    pub(super) lag: Duration,
}

impl Truth {
    pub(super) fn arn(&self) -> String {
        let (name, generation) = (&self.name, self.generation);
        format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-Gen{generation:03}")
    }

    /// Returns the number of the version that was current at `at`, a time of the steady clock.
    pub(super) fn current(&self, at: Duration) -> u32 {
        let earlier = self.history.iter().rev().find(|(since, _)| *since <= at);
        earlier
            .or_else(|| self.history.first())
            .expect("a simulated secret has at least one version")
            .1
    }
}
