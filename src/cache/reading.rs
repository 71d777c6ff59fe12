//! A read that cannot be answered at once: waiting on flights, and what is served where they fail.

use super::Cache;
use super::cut::was_cut;
use super::entry::Entry;
use super::flight::Outcome;
use super::freshness::{Freshness, Reason};
use crate::clock::{Moment, within};
use crate::secret::key::Key;
use crate::source::{FetchError, FetchErrorKind};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// `refreshNow` goes upstream at most this often for one secret.
pub const REFRESH_NOW_INTERVAL: Duration = Duration::from_secs(1);

/// How often a reader looks again after a flight that did not answer it: a flight for the entry
/// that held its version, then one of its own.
const ROUNDS_MAX: usize = 3;

/// What the cache hands to a reader.
#[derive(Clone, Debug)]
pub struct Served {
    /// The entry.
    pub entry: Arc<Entry>,
    /// How it came about.
    pub how: How,
    /// Time since the call that fetched it was sent.
    pub age: Duration,
}

/// How an entry came to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was held.
    Hit,
    /// The reader waited for upstream.
    Miss,
    /// It was held, past its time.
    Stale(Reason),
    /// The reader asked for a call, and got its answer.
    Refreshed,
    /// The reader asked for a call within [`REFRESH_NOW_INTERVAL`] of the last one.
    RefreshLimited,
}

/// Why a reader gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// `SIDEKEY_ALLOW` does not cover it; upstream was not asked.
    #[error("Sidekey refused this read: SIDEKEY_ALLOW does not cover it")]
    OutOfScope,
    /// Upstream did not answer within the reader's wait.
    #[error("no answer from upstream within {0:?}")]
    WaitOver(Duration),
    /// Upstream failed or refused.
    #[error(transparent)]
    Upstream(#[from] FetchError),
}

impl Cache {
    /// Returns what `key` means: what is held, else what upstream answers within the reader's wait.
    ///
    /// # Errors
    ///
    /// Where it may not be read, upstream fails or refuses, or the wait is over.
    pub async fn read(&self, key: Key) -> Result<Served, ReadError> {
        self.read_since(key, self.0.clock.now()).await
    }

    /// Returns what `key` means, as [`read`](Self::read) does, for a reader that has waited since
    /// `started` for other secrets.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). No call is made for a reader whose wait is over.
    pub async fn read_since(&self, key: Key, started: Moment) -> Result<Served, ReadError> {
        if let Some(served) = self.lookup(key.id.as_str(), &key.selector) {
            return Ok(served);
        }
        self.check_scope(&key)?;
        match self.bounded(started, self.fly_until_answered(&key)).await {
            Err(over @ ReadError::WaitOver(_)) => self.last_resort(&key, true).ok_or(over),
            answered => answered,
        }
    }

    /// Returns what upstream says `key` means now, at most once per [`REFRESH_NOW_INTERVAL`].
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); what is held stays as it was.
    pub async fn read_now(&self, key: Key) -> Result<Served, ReadError> {
        self.check_scope(&key)?;
        if let Some(recent) = self.recent(&key) {
            return recent;
        }
        self.bounded(self.0.clock.now(), async {
            let wanted = self.flight_key(&key);
            let flown = self.fly_or_keep(&wanted).await;
            let is_answer = match &flown {
                Ok(entry) => wanted == key || self.holds(entry, &key),
                Err(error) => !is_refusal_of_another(error, &wanted, &key),
            };
            let entry = if is_answer { flown? } else { self.fly_or_keep(&key).await? };
            Ok(self.serve(entry, How::Refreshed))
        })
        .await
    }

    /// Flies until `key` is answered, or an attempt for it fails.
    async fn fly_until_answered(&self, key: &Key) -> Result<Served, ReadError> {
        for _ in 0..ROUNDS_MAX {
            let wanted = self.flight_key(key);
            if let Some(error) = self.remembered(&wanted) {
                return self.in_spite_of(error, key);
            }
            match self.fly(&wanted).await {
                Ok(entry) if wanted == *key || self.holds(&entry, key) => {
                    return Ok(self.serve(entry, How::Miss));
                }
                Ok(_) => {}
                Err(error) if is_refusal_of_another(&error, &wanted, key) => {}
                Err(error) => return self.in_spite_of(error, key),
            }
        }
        let message = "the secret changed faster than it could be read";
        Err(FetchError::new(FetchErrorKind::Internal, "InternalFailure", message).into())
    }

    /// Returns whether an entry fetched by another key is what `key` means. A name may lead to
    /// another secret than before, and a label to another version.
    fn holds(&self, entry: &Entry, key: &Key) -> bool {
        let snapshot = self.0.snapshot.load();
        let held = snapshot.held(key.id.as_str());
        held.is_some_and(|held| *held.arn == *entry.version.arn)
            && (entry.selector == key.selector || key.selector.selects(&entry.version))
    }

    /// Returns the flight that answers `key`: that of the entry which holds it, unless upstream has
    /// refused that, else its own.
    fn flight_key(&self, key: &Key) -> Key {
        let snapshot = self.0.snapshot.load();
        let Some(held) = snapshot.held(key.id.as_str()) else {
            return key.clone();
        };
        let entry = held.select(&key.selector).filter(|entry| !entry.is_refused());
        let selector = entry.map_or(&key.selector, |entry| &entry.selector);
        Key { id: held.asked.clone(), selector: selector.clone() }
    }

    /// Returns the error that stands for `key` while the wait after it lasts.
    fn remembered(&self, key: &Key) -> Option<FetchError> {
        let now = self.0.clock.now();
        match self.0.snapshot.load().exact(key.id.as_str(), &key.selector) {
            Some(entry) => entry
                .failure()
                .filter(|failure| failure.is_remembered(now))
                .map(|failure| failure.error.clone()),
            None => self.0.absent.error(key, now),
        }
    }

    /// Returns how the last call for `key` ended, where it was within [`REFRESH_NOW_INTERVAL`].
    fn recent(&self, key: &Key) -> Option<Result<Served, ReadError>> {
        let now = self.0.clock.now();
        let is_recent =
            |then: Moment| now.since(then).is_some_and(|ago| ago < REFRESH_NOW_INTERVAL);
        let snapshot = self.0.snapshot.load();
        let Some(entry) = snapshot.entry(key.id.as_str(), &key.selector) else {
            return self.0.absent.error(key, now).map(|error| Err(error.into()));
        };
        if let Some(failure) = entry.failure().filter(|failure| is_recent(failure.at)) {
            return Some(Err(failure.error.clone().into()));
        }
        is_recent(entry.sent).then(|| Ok(self.serve(entry.clone(), How::RefreshLimited)))
    }

    fn serve(&self, entry: Arc<Entry>, how: How) -> Served {
        let now = self.0.clock.now();
        let was_read = entry.was_read();
        entry.touch(now);
        if !was_read {
            // When the answer came nobody had read it, and timers may have left it for a reader.
            self.0.changed.notify_waiters();
        }
        let age = entry.age(now).unwrap_or_default();
        Served { entry, how, age }
    }

    /// Waits for `work` until a reader that began at `started` has waited long enough. A wait that a
    /// freeze cut is begun again once: time spent frozen does not count.
    async fn bounded<T>(
        &self,
        started: Moment,
        work: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let wait = self.0.config.reader_wait;
        let waited = self.0.clock.now().since(started).unwrap_or_default();
        // A freeze counts here: else each later read of one request would wait anew after it.
        if !waited.is_zero() && waited >= wait {
            return Err(ReadError::WaitOver(wait));
        }
        let mut work = pin!(work);
        let left = wait.saturating_sub(waited);
        if let Some(done) = within(&*self.0.clock, left, &mut work).await {
            return done;
        }
        if was_cut(self.0.clock.now().since(started), wait)
            && let Some(done) = within(&*self.0.clock, wait, &mut work).await
        {
            return done;
        }
        Err(ReadError::WaitOver(wait))
    }

    /// Returns what is held for `key`, if it may be served in the trouble there is. `is_failing` is
    /// whether upstream fails transiently: no answer within a reader's wait is as good as a failure.
    fn last_resort(&self, key: &Key, is_failing: bool) -> Option<Served> {
        let now = self.0.clock.now();
        let snapshot = self.0.snapshot.load();
        let entry = snapshot.entry(key.id.as_str(), &key.selector)?;
        let epoch = self.epoch(now);
        let freshness = match is_failing {
            true => entry.freshness_in_trouble(now, epoch),
            false => entry.freshness(now, epoch),
        };
        match freshness {
            // Another flight, or one for another of its ids, has landed meanwhile.
            Freshness::Fresh | Freshness::Due => Some(self.serve(entry.clone(), How::Hit)),
            Freshness::Stale(reason) => Some(self.serve(entry.clone(), How::Stale(reason))),
            Freshness::Expired => None,
        }
    }

    /// Returns what may be served for `key` although an attempt failed, which is noted by now.
    fn in_spite_of(&self, error: FetchError, key: &Key) -> Result<Served, ReadError> {
        let held = self.lookup(key.id.as_str(), &key.selector);
        let is_failing = error.kind.is_transient();
        held.or_else(|| self.last_resort(key, is_failing)).ok_or_else(|| error.into())
    }

    /// Flies for `key`; where the answer is held back, what is held is the newest there is, as long as
    /// it may be served at all.
    async fn fly_or_keep(&self, key: &Key) -> Outcome {
        match self.fly(key).await {
            Err(error) if error.kind == FetchErrorKind::Lagging => {
                self.last_resort(key, true).map(|held| held.entry).ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// Joins or starts the flight for `key` and waits for its end.
    async fn fly(&self, key: &Key) -> Outcome {
        let (flight, is_joined) = self.board(key)?;
        if is_joined {
            self.0.metrics.flights_joined.inc();
        }
        flight.outcome().await
    }
}

/// Returns whether upstream refused something else than `key`: what the entry that held it was
/// fetched for.
fn is_refusal_of_another(error: &FetchError, wanted: &Key, key: &Key) -> bool {
    wanted.selector != key.selector && !error.kind.is_transient()
}
