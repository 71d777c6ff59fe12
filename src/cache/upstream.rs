//! Calls AWS and counts the calls. If a freeze of the process interrupts a call, the agent repeats
//! the call.

use super::fetched::{BatchAnswer, Fetched, Sent};
use super::freeze::{INTERRUPTIONS_MAX, was_interrupted};
use super::gather::{Gathered, Gatherer, Judgement, Leader, Place};
use super::state::State;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::service::Service;
use crate::source::{FetchError, FetchErrorKind, Source};
use crate::telemetry::metrics::{Ended, Operation};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Upstream {
    state: Arc<State>,
    source: Arc<dyn Source>,
    gatherer: Gatherer,
}

impl Upstream {
    pub(super) fn new(state: Arc<State>, source: Arc<dyn Source>) -> Self {
        Self { state, source, gatherer: Gatherer::default() }
    }

    /// Returns the current time and the number of SnapStart restores so far, for a call to AWS that
    /// is sent now.
    pub(super) fn sending(&self) -> Sent {
        let moment = self.state.clock.now();
        self.state.detect_restore(moment);
        Sent { moment, epoch: self.state.epoch() }
    }

    /// Fetches one secret or parameter. Returns the answer of AWS, and when the call was sent.
    ///
    /// Parameters that are wanted at the same moment share one call.
    pub(super) async fn fetch(&self, key: &Key) -> Fetched {
        let place = match (&key.id, key.id.service()) {
            (SecretId::Path(_), _) | (_, Service::SecretsManager) => None,
            (_, Service::ParameterStore) => self.gatherer.join(key),
        };
        let gathered = match place {
            None => None,
            Some(Place::Leader(leader)) => Some(self.lead(leader).await),
            Some(Place::Joined(gathered)) => gathered.await.ok(),
        };
        match gathered {
            Some(Gathered::Fetched(fetched)) => fetched,
            Some(Gathered::Alone(judgement)) => {
                let fetched = self.fetch_alone(key).await;
                if let Some(judgement) = judgement {
                    self.gatherer.report(&judgement, fetched.1.is_ok());
                }
                fetched
            }
            None => self.fetch_alone(key).await,
        }
    }

    /// Makes the call for the batch of `leader`, and gives the other readers their results. Returns
    /// the result of the leader itself.
    async fn lead(&self, leader: Leader) -> Gathered {
        let (keys, joined) = leader.gathered().await;
        let answers = match &*keys {
            [key] => return Gathered::Fetched(self.fetch_alone(key).await),
            keys => self.fetch_batch(keys).await,
        };
        let mut results = gathered(answers, keys.len()).into_iter();
        let own = results.next();
        for (reader, result) in joined.into_iter().zip(results) {
            // A reader that was cancelled has dropped its end of the channel.
            drop(reader.send(result));
        }
        own.expect("a batch contains at least the parameter of its leader")
    }

    /// Fetches one secret or parameter by a call of its own. Repeats a call that a freeze of the
    /// process interrupted, because AWS may have answered before the freeze.
    async fn fetch_alone(&self, key: &Key) -> Fetched {
        let call = (Operation::single(&key.id), self.source.deadline(&key.id));
        for _ in 0..=INTERRUPTIONS_MAX {
            let sent = self.sending();
            let answer = self.source.fetch(key).await;
            if !self.count(call, sent, answer.as_ref().err()) {
                return (sent, answer);
            }
        }
        let message = "Lambda froze the process of Sidekey during each attempt to call AWS";
        (self.sending(), Err(FetchError::new(FetchErrorKind::Timeout, "TimeoutError", message)))
    }

    /// Fetches several secrets or parameters by one call. Returns the answer of AWS, and when the
    /// call was sent. Returns `None` if a freeze of the process interrupted the call.
    pub(super) async fn fetch_batch(&self, keys: &[Key]) -> Option<(Sent, BatchAnswer)> {
        let first = &keys.first()?.id;
        let call = (Operation::batch(first.service()), self.source.deadline(first));
        let sent = self.sending();
        let answer = self.source.fetch_batch(keys).await;
        let is_interrupted = self.count(call, sent, answer.as_ref().err());
        (!is_interrupted).then_some((sent, answer))
    }

    /// Counts a call to AWS that has just ended. The call has an operation and a deadline. Returns
    /// whether a freeze of the process or a
    /// SnapStart restore interrupted the call. Does not count an attempt that failed before the
    /// call was sent.
    fn count(
        &self,
        (operation, deadline): (Operation, Duration),
        sent: Sent,
        failed: Option<&FetchError>,
    ) -> bool {
        if failed.is_some_and(|error| !error.kind.is_call_result()) {
            return false;
        }
        let now = self.state.clock.now();
        self.state.detect_restore(now);
        let took = now.since(sent.moment);
        let is_interrupted = was_interrupted(took, deadline) || self.state.epoch() != sent.epoch;
        let ended = match failed {
            _ if is_interrupted => Ended::Interrupted,
            Some(error) => Ended::Failed(error.kind),
            None => Ended::Answered,
        };
        self.state.metrics.upstream(operation, ended, took.unwrap_or_default());
        is_interrupted
    }
}

/// Returns what each of `readers` gets from a call for several parameters. The call was interrupted
/// by a freeze if `answers` is `None`.
///
/// AWS refuses the whole call if it refuses one of the parameters. Each reader then makes a call of
/// its own, so that one parameter does no harm to the others. A transient error goes to all readers,
/// because more calls would make a failure of AWS worse.
fn gathered(answers: Option<(Sent, BatchAnswer)>, readers: usize) -> Vec<Gathered> {
    let all_alone = |judgement: Option<Arc<Judgement>>| {
        (0..readers).map(|_| Gathered::Alone(judgement.clone())).collect()
    };
    let Some((sent, answers)) = answers else { return all_alone(None) };
    match answers {
        Ok(answers) => {
            let fetched = answers.into_iter().map(|answer| (sent, answer));
            fetched.map(Gathered::Fetched).collect()
        }
        Err(error) if error.kind.is_transient() => {
            let failed = || Gathered::Fetched((sent, Err(error.clone())));
            (0..readers).map(|_| failed()).collect()
        }
        Err(error) => {
            let is_denied = error.kind == FetchErrorKind::Denied;
            all_alone(is_denied.then(|| Judgement::of(readers)))
        }
    }
}

#[cfg(test)]
mod tests;
