//! How the fake of AWS answers calls: the states between which the user of the page chooses.

use fake_aws::{Fault, Faults, Match, Operation};
use std::time::Duration;

/// The latency of calls in the state [`Upstream::Slow`]. Such calls still end before the default
/// timeout (`SIDEKEY_UPSTREAM_TIMEOUT`).
const SLOW: Duration = Duration::from_millis(1500);

/// The operations that [`Upstream::Deny`] denies: all operations with which an agent reads.
const READS: [Operation; 8] = [
    Operation::GetSecretValue,
    Operation::BatchGetSecretValue,
    Operation::DescribeSecret,
    Operation::ListSecrets,
    Operation::GetParameter,
    Operation::GetParameters,
    Operation::GetParametersByPath,
    Operation::AssumeRole,
];

/// How the fake of AWS answers calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    /// The fake of AWS answers calls after the latency that the option `--latency` sets.
    Normal,
    /// The fake of AWS answers calls after the latency [`SLOW`].
    Slow,
    /// The fake of AWS answers calls with HTTP status 500.
    Fail,
    /// The fake of AWS answers calls with the error `ThrottlingException`.
    Throttle,
    /// The fake of AWS answers the agent's calls with the error `AccessDeniedException`.
    Deny,
}

impl Upstream {
    pub(super) const ALL: [Self; 5] =
        [Self::Normal, Self::Slow, Self::Fail, Self::Throttle, Self::Deny];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Slow => "slow",
            Self::Fail => "fail",
            Self::Throttle => "throttle",
            Self::Deny => "deny",
        }
    }

    pub(super) fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|upstream| upstream.label() == label)
    }

    /// Makes the fake of AWS answer calls in the chosen way. `latency` is the value of the option
    /// `--latency`.
    pub(super) fn apply(self, faults: &Faults, latency: Duration) {
        faults.clear();
        faults.set_latency(if self == Self::Slow { SLOW } else { latency });
        match self {
            Self::Normal | Self::Slow => {}
            Self::Fail => faults.always(Match::any(), Fault::InternalError),
            Self::Throttle => faults.always(Match::any(), Fault::Throttle),
            Self::Deny => READS.into_iter().for_each(|operation| faults.deny_operation(operation)),
        }
    }
}
