//! Reads replicas of secrets in the failover region while the home region fails.

use super::failover::{self, Outage, explained, is_outage, needs_replica, patience};
use super::fetched::{Answer, Fetched, Replica, Sent};
use super::state::State;
use crate::clock::freeze::was_interrupted;
use crate::clock::{Moment, within};
use crate::secret::key::Key;
use crate::source::{FetchError, FetchErrorKind, ReplicaCall, Source};
use crate::telemetry::metrics::Ended;
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const POISONED: &str = "no thread may panic while it holds the lock";

#[derive(Debug)]
pub(super) struct Replicas {
    state: Arc<State>,
    source: Arc<dyn Source>,
    /// The last call to which the home region did not respond. `None` if the home region has
    /// answered since, or if no failover region is configured.
    outage: Mutex<Option<Unanswered>>,
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

/// The result of reading a replica.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The failover region returned the secret, or did not answer.
    Ended(Fetched),
    /// The failover region returned a permanent error, for example because there is no replica.
    /// `fetched` is the error of the home region.
    Refused { fetched: Fetched, refusal: Refusal },
    /// A freeze of the process interrupted the call.
    Interrupted,
}

/// The permanent error that the failover region returned for a secret.
#[derive(Debug)]
pub(super) struct Refusal {
    region: Box<str>,
    error: FetchError,
}

impl Attempt {
    /// Returns the result for the requests that wait for the secret, or `None` if the call was
    /// interrupted.
    pub(super) fn ended(self) -> Option<Fetched> {
        match self {
            Self::Ended(fetched) | Self::Refused { fetched, .. } => Some(fetched),
            Self::Interrupted => None,
        }
    }
}

impl Refusal {
    /// Returns `home` (the error of the home region) with more advice: why the failover region did
    /// not return the secret.
    pub(super) fn explain(&self, home: FetchError) -> FetchError {
        explained(home, &self.region, &self.error)
    }
}

impl Replicas {
    pub(super) fn new(state: Arc<State>, source: Arc<dyn Source>) -> Self {
        Self { state, source, outage: Mutex::default() }
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

    /// If a call to the home region got no response a moment ago, returns the error of that call.
    /// The caller must then read the replica of `key`, without another call to the home region.
    /// Returns `None` if the caller must call the home region.
    pub(super) fn known_outage(&self, key: &Key) -> Option<FetchError> {
        let is_known = self.outage.lock().expect(POISONED).is_some();
        if !is_known || !self.is_needed(key) {
            return None;
        }
        let now = self.state.clock.now();
        let mut outage = self.outage.lock().expect(POISONED);
        let Unanswered { error, failed, tried } = outage.as_mut()?;
        match failover::outage(now.since(*failed), now.since(*tried)) {
            Outage::Known => Some(error.clone()),
            Outage::Doubtful => {
                // This caller finds out whether the home region works again. Other callers need not
                // wait for this call, unless the call has a role: the failure of a call with a role
                // does not show that the region is down.
                if key.role.is_none() {
                    *tried = now;
                }
                None
            }
            Outage::Over => None,
        }
    }

    /// Records whether the home region responded to a call for `key`. `failed` is the error of the
    /// call, or `None` if the call succeeded.
    ///
    /// The failure of a call with an assumed role does not count, because it may be a failure of
    /// STS for this role.
    pub(super) fn note(&self, key: &Key, failed: Option<&FetchError>) {
        let outage = failed.filter(|error| is_outage(error.kind));
        if self.may_exist(key) && (key.role.is_none() || outage.is_none()) {
            let now = self.state.clock.now();
            let outage =
                outage.map(|error| Unanswered { error: error.clone(), failed: now, tried: now });
            *self.outage.lock().expect(POISONED) = outage;
        }
    }

    /// Reads the replica of `key` after the home region failed with the error `home`. The requests
    /// for the secret have waited since `started`, and the call for the replica may take the rest
    /// of their maximum wait.
    ///
    /// If the replica cannot be read, returns the error of the home region. The advice of this
    /// error then also says why the replica cannot be read.
    pub(super) async fn fetch(&self, key: &Key, home: FetchError, started: Moment) -> Attempt {
        let state = &self.state;
        let sent = Sent::now(state);
        let Some(ReplicaCall { region, call }) = self.source.fetch_replica(key) else {
            return Attempt::Ended((sent, Err(home)));
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
            return Attempt::Interrupted;
        }
        match answer {
            Ok(version) => {
                let region = Bytes::copy_from_slice(region.as_bytes());
                let replica = Box::new(Replica { version, region, home });
                Attempt::Ended((sent, Ok(Answer::Replica(replica))))
            }
            Err(error) if error.kind.is_transient() => {
                Attempt::Ended((sent, Err(explained(home, region, &error))))
            }
            Err(error) => {
                let refusal = Refusal { region: region.into(), error };
                Attempt::Refused { fetched: (sent, Err(refusal.explain(home))), refusal }
            }
        }
    }
}

fn too_slow(limit: Duration) -> FetchError {
    let message = format!("AWS did not answer within {limit:?}");
    FetchError::new(FetchErrorKind::Timeout, "TimeoutError", message)
}

#[cfg(test)]
mod tests;
