//! Calls AWS. This module counts the calls, and repeats a call if a freeze of the process
//! interrupted it.

use super::freeze::{INTERRUPTIONS_MAX, was_interrupted};
use super::state::State;
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind, Source};
use crate::telemetry::metrics::{Ended, Operation};
use std::sync::Arc;

/// When a call to AWS was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The time when the call to AWS was sent.
    pub(super) moment: Moment,
    /// The number of SnapStart restores that Sidekey knew of when the call to AWS was sent.
    pub(super) epoch: u64,
}

/// The answer to a call for several secrets: one result for each secret, or why the whole call
/// failed.
pub(super) type BatchAnswer = Result<Vec<Result<Version, FetchError>>, FetchError>;

/// Makes the calls to AWS (or to another source of secrets), and counts them in the metrics of the
/// shared state.
#[derive(Debug)]
pub(super) struct Upstream {
    state: Arc<State>,
    source: Arc<dyn Source>,
}

impl Upstream {
    /// Makes an object that calls `source`, and counts its calls in the metrics of `state`.
    pub(super) fn new(state: Arc<State>, source: Arc<dyn Source>) -> Self {
        Self { state, source }
    }

    /// Returns the current time and the number of SnapStart restores so far, for a call that is
    /// sent now.
    pub(super) fn sending(&self) -> Sent {
        let moment = self.state.clock.now();
        self.state.detect_restore(moment);
        Sent { moment, epoch: self.state.epoch() }
    }

    /// Fetches one secret. If a freeze interrupted the call, repeats the call, because the answer
    /// may be as old as the freeze was long. Returns when the last call was sent, and the answer to
    /// that call.
    pub(super) async fn fetch(&self, key: &Key) -> (Sent, Result<Version, FetchError>) {
        for _ in 0..=INTERRUPTIONS_MAX {
            let sent = self.sending();
            let answer = self.source.fetch(key).await;
            if !self.count(Operation::GetSecretValue, sent, answer.as_ref().err()) {
                return (sent, answer);
            }
        }
        let message = "the process of Sidekey was frozen during each attempt to call AWS";
        (self.sending(), Err(FetchError::new(FetchErrorKind::Timeout, "TimeoutError", message)))
    }

    /// Fetches several secrets by one call. Returns when the call was sent, and the answer to the
    /// call. Returns `None` if a freeze interrupted the call.
    pub(super) async fn fetch_batch(&self, keys: &[Key]) -> Option<(Sent, BatchAnswer)> {
        let sent = self.sending();
        let answer = self.source.fetch_batch(keys).await;
        let is_interrupted =
            self.count(Operation::BatchGetSecretValue, sent, answer.as_ref().err());
        (!is_interrupted).then_some((sent, answer))
    }

    /// Counts a call to AWS that was sent at `sent` and has just ended. Returns whether a freeze or
    /// a restore interrupted the call. Does not count a fetch that failed before a call was sent.
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
