//! Calls to AWS: counted, and repeated if a freeze interrupted them.

use super::freeze::{INTERRUPTIONS_MAX, was_interrupted};
use super::state::State;
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind, Source};
use crate::telemetry::metrics::{Ended, Operation};
use std::sync::Arc;

/// When a call was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The time when the call was sent.
    pub(super) moment: Moment,
    /// The number of known SnapStart restores at that time.
    pub(super) epoch: u64,
}

/// The answer to a call for several secrets: one result for each secret, or why the call failed.
pub(super) type BatchAnswer = Result<Vec<Result<Version, FetchError>>, FetchError>;

/// The service that values come from, and the state in which its calls are counted.
#[derive(Debug)]
pub(super) struct Upstream {
    state: Arc<State>,
    source: Arc<dyn Source>,
}

impl Upstream {
    /// Calls `source`, and counts its calls in the metrics of `state`.
    pub(super) fn new(state: Arc<State>, source: Arc<dyn Source>) -> Self {
        Self { state, source }
    }

    /// Returns the current time and epoch, for a call that is sent now.
    pub(super) fn sending(&self) -> Sent {
        let moment = self.state.clock.now();
        self.state.detect_restore(moment);
        Sent { moment, epoch: self.state.epoch() }
    }

    /// Fetches one secret. Repeats the call if a freeze interrupted it, because its answer may be as
    /// old as the freeze was long. Returns when the last call was sent, and its answer.
    pub(super) async fn fetch(&self, key: &Key) -> (Sent, Result<Version, FetchError>) {
        for _ in 0..=INTERRUPTIONS_MAX {
            let sent = self.sending();
            let answer = self.source.fetch(key).await;
            if !self.count(Operation::GetSecretValue, sent, answer.as_ref().err()) {
                return (sent, answer);
            }
        }
        let message = "the process was frozen during each attempt to call AWS";
        (self.sending(), Err(FetchError::new(FetchErrorKind::Timeout, "TimeoutError", message)))
    }

    /// Fetches several secrets by one call. Returns when the call was sent, and its answer, or
    /// `None` if a freeze interrupted the call.
    pub(super) async fn fetch_batch(&self, keys: &[Key]) -> Option<(Sent, BatchAnswer)> {
        let sent = self.sending();
        let answer = self.source.fetch_batch(keys).await;
        let is_interrupted =
            self.count(Operation::BatchGetSecretValue, sent, answer.as_ref().err());
        (!is_interrupted).then_some((sent, answer))
    }

    /// Counts a call that was sent at `sent` and has just ended. Returns whether a freeze or a
    /// restore interrupted the call. A fetch that failed without a call is not counted.
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
