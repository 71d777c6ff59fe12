//! One secret of the simulated AWS: its true versions, and the faults of calls for it.

use super::identity::{account, plain};
use crate::source::FetchErrorKind;
use std::time::Duration;

/// How the simulated AWS answers all calls for one secret: normally, or with a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    None,
    Fail(FetchErrorKind),
    /// About half of the calls for the secret fail for this reason.
    Flaky(FetchErrorKind),
    /// All calls for the secret time out.
    Hang,
}

#[derive(Debug)]
pub(super) struct Truth {
    pub(super) name: String,
    /// How many times the simulated secret was deleted and created again.
    pub(super) generation: u32,
    /// The numbers of all versions of the simulated secret, in the order of their creation.
    pub(super) versions: Vec<u32>,
    /// The current versions of the simulated secret over time. Each item is the time at which a
    /// version became current, on the steady (monotonic) clock, and the number of this version.
    pub(super) history: Vec<(Duration, u32)>,
    pub(super) is_deleted: bool,
    pub(super) fault: Fault,
    /// How far some servers of the simulated AWS lag behind in the home region. Such a server
    /// returns the version that was current this long ago.
    pub(super) lag: Duration,
    /// How the replica in the failover region answers all calls.
    pub(super) replica_fault: Fault,
    /// How far the replica in the failover region lags behind.
    pub(super) replica_lag: Duration,
}

impl Truth {
    pub(super) fn arn(&self) -> String {
        let (name, account) = (plain(&self.name), account(&self.name));
        if let Some(name) = name.strip_prefix("ssm:") {
            return format!("arn:aws:ssm:eu-north-1:{account}:parameter{name}");
        }
        let generation = self.generation;
        format!("arn:aws:secretsmanager:eu-north-1:{account}:secret:{name}-Gen{generation:03}")
    }

    pub(super) fn is_parameter(&self) -> bool {
        plain(&self.name).starts_with("ssm:")
    }

    /// Returns the id of the version `number`, such as `v7` for a secret or `7` for a parameter.
    pub(super) fn version_id(&self, number: u32) -> String {
        if self.is_parameter() { number.to_string() } else { format!("v{number}") }
    }

    /// Returns the number of the version that was current at `at`, a time on the steady (monotonic)
    /// clock.
    pub(super) fn current(&self, at: Duration) -> u32 {
        let earlier = self.history.iter().rev().find(|(since, _)| *since <= at);
        earlier
            .or_else(|| self.history.first())
            .expect("a simulated secret must have at least one version")
            .1
    }
}
