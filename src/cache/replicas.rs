//! Reads replicas of secrets in the failover region while the home region fails.

use super::failover::{self, Outage, explained, is_outage, needs_replica, patience};
use super::fetched::{Answer, Fetched, Replica, Sent};
use super::state::State;
use crate::clock::freeze::was_interrupted;
use crate::clock::{Moment, within};
use crate::secret::key::Key;
use crate::source::{FetchError, FetchErrorKind, ReplicaCall, Source};
use crate::telemetry::metrics::Ended;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Replicas {
    state: Arc<State>,
    source: Arc<dyn Source>,
    /// The last call to which the home region did not respond. `None` if the home region has answered
    /// since, or if no failover region is configured.
    outage: ArcSwapOption<Unanswered>,
}

/// A call to which the home region did not respond.
#[derive(Clone, Debug)]
struct Unanswered {
    error: FetchError,
    /// When the call failed.
    failed: Moment,
    /// When Sidekey last sent a call to find out whether the home region works again.
    tried: Moment,
}

impl Replicas {
    pub(super) fn new(state: Arc<State>, source: Arc<dyn Source>) -> Self {
        Self { state, source, outage: ArcSwapOption::empty() }
    }

    /// Returns whether the failover region may have a replica of `key`.
    pub(super) fn may_exist(&self, key: &Key) -> bool {
        self.source.fetch_replica(key).is_some()
    }

    /// Returns whether Sidekey reads the replica of `key` if the home region fails now.
    pub(super) fn is_needed(&self, key: &Key) -> bool {
        let now = self.state.clock.now();
        let epoch = self.state.epoch();
        let snapshot = self.state.snapshot.load();
        let cached = snapshot.exact(key);
        let freshness = cached.map(|entry| entry.freshness(now, epoch));
        let failure = self.state.failure(key);
        let was_refused = failure.is_some_and(|failure| failure.refused_since.is_some());
        needs_replica(freshness, was_refused) && self.may_exist(key)
    }

    /// Returns the error of the home region if the region did not respond a moment ago, so that the
    /// caller must read the replica of `key` without a call to the home region. Returns `None` if
    /// the caller must call the home region.
    pub(super) fn known_outage(&self, key: &Key) -> Option<FetchError> {
        let outage = self.outage.load_full()?;
        let Unanswered { error, failed, tried } = &*outage;
        if !self.is_needed(key) {
            return None;
        }
        let now = self.state.clock.now();
        match failover::outage(now.since(*failed), now.since(*tried)) {
            Outage::Known => Some(error.clone()),
            Outage::Doubtful => {
                // This caller finds out whether the home region works again. Other callers need not
                // wait for its call, unless it has a role, because its failure proves nothing.
                if key.role.is_none() {
                    let tried = Unanswered { tried: now, ..(*outage).clone() };
                    self.outage.store(Some(Arc::new(tried)));
                }
                None
            }
            Outage::Over => None,
        }
    }

    /// Records whether the home region responded to a call for `key`. `failed` is the error of the
    /// call, or `None` if the call succeeded.
    ///
    /// The failure of a call with an assumed role does not count, because it may be a failure of STS
    /// for this role.
    pub(super) fn note(&self, key: &Key, failed: Option<&FetchError>) {
        let outage = failed.filter(|error| is_outage(error.kind));
        if self.may_exist(key) && (key.role.is_none() || outage.is_none()) {
            let now = self.state.clock.now();
            let outage =
                outage.map(|error| Unanswered { error: error.clone(), failed: now, tried: now });
            self.outage.store(outage.map(Arc::new));
        }
    }

    /// Reads the replica of `key` after the home region failed with the error `home`. The readers
    /// have waited since `started`, and the replica gets the rest of their maximum wait.
    ///
    /// If the replica does not answer either, returns the error of the home region, with the reason
    /// in its advice. Returns `None` if a freeze of the process interrupted the call.
    pub(super) async fn fetch(
        &self,
        key: &Key,
        home: FetchError,
        started: Moment,
    ) -> Option<Fetched> {
        let state = &self.state;
        let sent = Sent::now(state);
        let Some(ReplicaCall { region, call }) = self.source.fetch_replica(key) else {
            return Some((sent, Err(home)));
        };
        let limit = patience(state.config.reader_wait, sent.moment.since(started));
        let answer = within(&*state.clock, limit, call).await;
        let now = state.clock.now();
        state.detect_restore(now);
        let is_interrupted =
            was_interrupted(now.since(sent.moment), limit) || state.epoch() != sent.epoch;
        let answer = answer.unwrap_or_else(|| Err(too_slow(limit)));
        state.metrics.replica_answered(match &answer {
            _ if is_interrupted => Ended::Interrupted,
            Ok(_) => Ended::Answered,
            Err(error) => Ended::Failed(error.kind),
        });
        if is_interrupted {
            return None;
        }
        let answer = match answer {
            Ok(version) => {
                let region = Bytes::copy_from_slice(region.as_bytes());
                Ok(Answer::Replica(Box::new(Replica { version, region, home })))
            }
            Err(error) => Err(explained(home, region, &error)),
        };
        Some((sent, answer))
    }
}

fn too_slow(limit: Duration) -> FetchError {
    let message = format!("AWS did not answer within {limit:?}");
    FetchError::new(FetchErrorKind::Timeout, "TimeoutError", message)
}

#[cfg(test)]
mod tests;
