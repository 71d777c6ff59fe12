//! Calls AWS and counts the calls. If a freeze of the process interrupts a call, the agent repeats
//! the call.

use super::freeze::{INTERRUPTIONS_MAX, was_interrupted};
use super::state::State;
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind, Source};
use crate::telemetry::metrics::{Ended, Operation};
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) moment: Moment,
    /// How many SnapStart restores Sidekey had noticed when it sent the call to AWS.
    pub(super) epoch: u64,
}

/// The answer to a call for several secrets: one result for each secret, or the error if the whole
/// call failed.
pub(super) type BatchAnswer = Result<Vec<Result<Version, FetchError>>, FetchError>;

#[derive(Debug)]
pub(super) struct Upstream {
    state: Arc<State>,
    source: Arc<dyn Source>,
}

impl Upstream {
    pub(super) fn new(state: Arc<State>, source: Arc<dyn Source>) -> Self {
        Self { state, source }
    }

    /// Returns the current time and the number of SnapStart restores so far, for a call to AWS that
    /// is sent now.
    pub(super) fn sending(&self) -> Sent {
        let moment = self.state.clock.now();
        self.state.detect_restore(moment);
        Sent { moment, epoch: self.state.epoch() }
    }

    /// Fetches one secret. Returns the answer of AWS, and when the call was sent. Repeats a call
    /// that a freeze of the process interrupted, because AWS may have answered before the freeze.
    pub(super) async fn fetch(&self, key: &Key) -> (Sent, Result<Version, FetchError>) {
        for _ in 0..=INTERRUPTIONS_MAX {
            let sent = self.sending();
            let answer = self.source.fetch(key).await;
            if !self.count(Operation::GetSecretValue, sent, answer.as_ref().err()) {
                return (sent, answer);
            }
        }
        let message = "Lambda froze the process of Sidekey during each attempt to call AWS";
        (self.sending(), Err(FetchError::new(FetchErrorKind::Timeout, "TimeoutError", message)))
    }

    /// Fetches several secrets by one call. Returns the answer of AWS, and when the call was sent.
    /// Returns `None` if a freeze of the process interrupted the call.
    pub(super) async fn fetch_batch(&self, keys: &[Key]) -> Option<(Sent, BatchAnswer)> {
        let sent = self.sending();
        let answer = self.source.fetch_batch(keys).await;
        let is_interrupted =
            self.count(Operation::BatchGetSecretValue, sent, answer.as_ref().err());
        (!is_interrupted).then_some((sent, answer))
    }

    /// Counts a call to AWS that has just ended. Returns whether a freeze of the process or a
    /// SnapStart restore interrupted the call. Does not count an attempt that failed before the
    /// call was sent.
    fn count(&self, operation: Operation, sent: Sent, failed: Option<&FetchError>) -> bool {
        if failed.is_some_and(|error| !error.kind.is_call_result()) {
            return false;
        }
        let now = self.state.clock.now();
        self.state.detect_restore(now);
        let took = now.since(sent.moment);
        let is_interrupted =
            was_interrupted(took, self.source.deadline()) || self.state.epoch() != sent.epoch;
        let ended = match failed {
            _ if is_interrupted => Ended::Interrupted,
            Some(error) => Ended::Failed(error.kind),
            None => Ended::Answered,
        };
        self.state.metrics.upstream(operation, ended, took.unwrap_or_default());
        is_interrupted
    }
}

#[cfg(test)]
mod tests;
