//! The counters of the agent at one moment, since the start of the process.

use super::latency::Latencies;
use crate::source::FetchErrorKind;

/// The counters of the agent at one moment, since the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) reads: Reads,
    pub(crate) latencies: Latencies,
    pub(crate) calls: Calls,
    /// Requests that Sidekey refused before it looked for a secret, for example because of a wrong
    /// token.
    pub(crate) gate_refusals: u64,
    pub(crate) routes: RouteCalls,
}

/// The number of reads of secrets, for each result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) hit: u64,
    pub(crate) miss: u64,
    pub(crate) stale: u64,
    pub(crate) refused: u64,
    pub(crate) error: u64,
}

/// The numbers of calls to external APIs (through routes), by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteCalls {
    /// Calls that were answered with a status below 400.
    pub(crate) ok: u64,
    /// Calls that were answered with a status of 400 or more, or that the server did not answer.
    pub(crate) failed: u64,
    /// Requests that Sidekey answered itself with an error.
    pub(crate) refused: u64,
    /// How often Sidekey redacted a field of a secret in an answer.
    pub(crate) redacted: u64,
}

/// The numbers of calls to AWS, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) ok: u64,
    pub(crate) throttled: u64,
    /// Calls that failed because of IAM, a KMS key, or the agent's credentials.
    pub(crate) denied: u64,
    /// Calls that failed for any other reason.
    pub(crate) failed: u64,
}

impl Calls {
    /// Counts calls that failed with an error of this kind.
    pub(crate) fn add_failed(&mut self, kind: FetchErrorKind, count: u64) {
        use FetchErrorKind::{Credentials, Decryption, Denied, Throttled};
        *match kind {
            Throttled => &mut self.throttled,
            Denied | Decryption | Credentials => &mut self.denied,
            _ => &mut self.failed,
        } += count;
    }
}
