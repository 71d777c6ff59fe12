//! The true state of a simulated secret, and the faults of calls for it.

use crate::source::FetchErrorKind;
use std::time::Duration;

/// The fault of calls for one secret.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    None,
    Fail(FetchErrorKind),
    /// About every other call fails.
    Flaky(FetchErrorKind),
    /// Calls time out at their deadline.
    Hang,
}

/// The true state of a secret in the simulated world.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) name: String,
    /// How many times the secret was deleted and created again.
    pub(super) generation: u32,
    /// The numbers of the versions, in the order of creation.
    pub(super) versions: Vec<u32>,
    /// The numbers of the versions that became current, with the steady time of the change.
    pub(super) history: Vec<(Duration, u32)>,
    pub(super) is_deleted: bool,
    pub(super) fault: Fault,
    /// The time by which some replicas lag behind.
    pub(super) lag: Duration,
}

impl Truth {
    pub(super) fn arn(&self) -> String {
        let (name, generation) = (&self.name, self.generation);
        format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-Gen{generation:03}")
    }

    /// Returns the number of the version that was current at the steady time `at`.
    pub(super) fn current(&self, at: Duration) -> u32 {
        let earlier = self.history.iter().rev().find(|(since, _)| *since <= at);
        earlier.or_else(|| self.history.first()).expect("a secret has a version").1
    }
}
