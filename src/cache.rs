//! What is held, and how fresh is it?
//!
//! [`Cache`] is what a reader sees: it can look up, and ask for a flight. A reader never calls a
//! source itself.

pub mod freshness;
pub mod entry;
pub mod snapshot;
pub mod plan;
pub mod flight;
pub mod absent;
pub mod refresh;
pub mod prefetch;
pub mod status;
mod writer;
#[cfg(test)]
mod tests;

use crate::clock::{Clock, Moment, within};
use crate::secret::key::Key;
use crate::secret::scope::{Home, Scope};
use crate::secret::selector::Selector;
use crate::source::{FetchError, FetchErrorKind, Source};
use crate::telemetry::limited::Limited;
use crate::telemetry::metrics::Metrics;
use absent::Absent;
use arc_swap::ArcSwap;
use entry::Entry;
use flight::{Flight, Flights, Outcome};
use freshness::{Freshness, Policy, Reason, Trouble};
use plan::Next;
use snapshot::{Limits, Snapshot};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// `refreshNow` goes upstream at most this often for one secret.
pub const REFRESH_NOW_INTERVAL: Duration = Duration::from_secs(1);

/// How often a reader looks again after a flight that did not answer it: a flight for the entry
/// that held its version, then one of its own.
const ROUNDS_MAX: usize = 3;

/// What the cache is made of.
#[derive(Debug)]
pub struct Config {
    /// How old a value may get.
    pub policy: Policy,
    /// How long a reader waits for upstream.
    pub reader_wait: Duration,
    /// The most entries held.
    pub entries_max: usize,
    /// The secrets that are prefetched and never pushed out.
    pub listed: Vec<Key>,
    /// What may be read.
    pub scope: Scope,
    /// Seeds the random draws of jitter and back-off; without one they differ from run to run.
    pub seed: Option<u64>,
}

/// The entries, and the flights that fill them. Clones are handles on the same cache.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    limits: Limits,
    snapshot: ArcSwap<Snapshot>,
    /// Held while the snapshot is replaced: there is one writer at a time, in one place.
    writer: Mutex<()>,
    absent: Absent,
    flights: Flights,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    home: ArcSwap<Home>,
    draws: Mutex<fastrand::Rng>,
    metrics: Arc<Metrics>,
    changed: Notify,
    /// Keeps a caller who invents names from filling the log.
    failures_logged: Limited,
    tasks: TaskTracker,
    stop: CancellationToken,
}

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
    /// Makes an empty cache. Its tasks end when `stop` is cancelled, and are joined by `tasks`.
    pub fn new(
        config: Config,
        home: Home,
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let limits = Limits {
            entries_max: config.entries_max,
            listed: config.listed.iter().cloned().collect(),
        };
        let absent = Absent::new(limits.listed.clone());
        metrics.announce_stale_reasons(&Reason::ALL.map(Reason::label));
        let draws = config.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self(Arc::new(Inner {
            config,
            limits,
            snapshot: ArcSwap::default(),
            writer: Mutex::new(()),
            absent,
            flights: Flights::new(),
            source,
            clock,
            home: ArcSwap::from_pointee(home),
            draws: Mutex::new(draws),
            metrics,
            changed: Notify::new(),
            failures_logged: Limited::default(),
            tasks,
            stop,
        }))
    }

    /// Returns the entry that answers `selector` of the secret called `id`, where it may be served
    /// without a wait. This is the hit path: no lock, no copy of the value, no allocation.
    pub fn lookup(&self, id: &str, selector: &Selector) -> Option<Served> {
        let now = self.0.clock.now();
        let snapshot = self.0.snapshot.load();
        let held = snapshot.held(id)?;
        let entry = held.select(selector)?;
        let how = match entry.freshness(&self.0.config.policy, now) {
            Freshness::Fresh => How::Hit,
            Freshness::Due => {
                self.refresh_behind(held, entry, now);
                How::Hit
            }
            // A label that was taken away is refused, and its version is not: whoever asks for
            // something else that the entry held has to ask for that.
            Freshness::Stale(Reason::Refused) if entry.selector != *selector => return None,
            Freshness::Stale(reason) => {
                self.refresh_behind(held, entry, now);
                How::Stale(reason)
            }
            Freshness::Expired => return None,
        };
        entry.touch(now);
        Some(Served { entry: entry.clone(), how, age: entry.age(now).unwrap_or_default() })
    }

    /// Returns what `key` means: what is held, else what upstream answers within the reader's wait.
    ///
    /// # Errors
    ///
    /// Where it may not be read, upstream fails or refuses, or the wait is over.
    pub async fn read(&self, key: Key) -> Result<Served, ReadError> {
        if let Some(served) = self.lookup(key.id.as_str(), &key.selector) {
            return Ok(served);
        }
        self.check_scope(&key)?;
        match self.bounded(self.fly_until_answered(&key)).await {
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
        self.bounded(async {
            let wanted = self.flight_key(&key);
            let flown = self.fly(&wanted).await;
            let is_answer = match &flown {
                Ok(entry) => wanted == key || self.holds(entry, &key),
                Err(error) => !is_refusal_of_another(error, &wanted, &key),
            };
            let entry = if is_answer { flown? } else { self.fly(&key).await? };
            Ok(self.serve(entry, How::Refreshed))
        })
        .await
    }

    /// Returns the clock that everything here goes by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Returns what is held now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// Returns how old a value may get.
    pub fn policy(&self) -> &Policy {
        &self.0.config.policy
    }

    /// Returns the listed secrets that are not held, each with why, if an attempt has failed. Where
    /// nothing is cached, only failures are missed.
    pub fn missing(&self) -> Vec<(Key, Option<FetchError>)> {
        let now = self.0.clock.now();
        let snapshot = self.0.snapshot.load();
        let is_cached = !self.0.config.policy.ttl.is_zero();
        let mut missing = Vec::new();
        for key in &self.0.config.listed {
            let is_held = snapshot.entry(key.id.as_str(), &key.selector).is_some();
            let failure = self.0.absent.last(key, now).map(|(error, _)| error);
            if !is_held && (is_cached || failure.is_some()) {
                missing.push((key.clone(), failure));
            }
        }
        missing
    }

    /// Returns the age of the oldest entry.
    pub fn oldest_age(&self) -> Duration {
        let now = self.0.clock.now();
        let snapshot = self.0.snapshot.load();
        snapshot.entries().filter_map(|(_, entry)| entry.age(now)).max().unwrap_or_default()
    }

    /// Returns how many upstream calls are under way.
    pub fn flights_under_way(&self) -> usize {
        self.0.flights.len()
    }

    /// Lets it be known which account the function runs in.
    pub fn learn_account(&self, account: &str) {
        if self.0.home.load().account.is_none() {
            let region = self.0.home.load().region.clone();
            self.0.home.store(Arc::new(Home { region, account: Some(account.into()) }));
        }
    }

    /// Completes when an entry or a failure has changed since this was called.
    fn changed(&self) -> impl Future<Output = ()> {
        self.0.changed.notified()
    }

    /// Completes when the agent stops.
    fn stopped(&self) -> impl Future<Output = ()> {
        self.0.stop.cancelled()
    }

    /// Starts a flight for whatever the plan says is due, and returns when to look again.
    fn start_due_flights(&self) -> Option<Duration> {
        let now = self.0.clock.now();
        let mut wake_in: Option<Duration> = None;
        let mut follow = |key: &Key, next: Next| match next {
            Next::Now => drop(self.board(key)),
            Next::In(wait) => wake_in = Some(wake_in.map_or(wait, |other| other.min(wait))),
            Next::WhenRead => {}
        };
        for (held, entry) in self.0.snapshot.load().entries() {
            let retry_in = entry.failure().map(|failure| failure.retry_in(now));
            let standing = entry.standing(now);
            let next = plan::next(&self.0.config.policy, &standing, entry.was_read(), retry_in);
            follow(&held.key(entry), next);
        }
        for (key, _) in self.missing() {
            match self.0.absent.last(&key, now) {
                Some((_, wait)) if wait.is_zero() => follow(&key, Next::Now),
                Some((_, wait)) => follow(&key, Next::In(wait)),
                // Its flight is under way; or it was given up, or found no place.
                None => follow(&key, Next::Now),
            }
        }
        wake_in
    }

    /// Starts a refresh of a held entry that nobody waits for, unless one is under way or a failure
    /// asks for a pause.
    fn refresh_behind(&self, held: &snapshot::Held, entry: &Entry, now: Moment) {
        let is_paused = entry.failure().is_some_and(|failure| !failure.retry_in(now).is_zero());
        if !is_paused && entry.claim_refresh() && self.board(&held.key(entry)).is_err() {
            entry.release_refresh();
        }
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
                .filter(|failure| !failure.retry_in(now).is_zero())
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
        entry.touch(now);
        let age = entry.age(now).unwrap_or_default();
        Served { entry, how, age }
    }

    async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let wait = self.0.config.reader_wait;
        within(&*self.0.clock, wait, work).await.unwrap_or_else(|| Err(ReadError::WaitOver(wait)))
    }

    /// Returns what is held for `key`, if it may be served in the trouble there is. `is_failing` is
    /// whether upstream fails transiently: no answer within a reader's wait is as good as a failure.
    fn last_resort(&self, key: &Key, is_failing: bool) -> Option<Served> {
        let now = self.0.clock.now();
        let snapshot = self.0.snapshot.load();
        let entry = snapshot.entry(key.id.as_str(), &key.selector)?;
        let mut standing = entry.standing(now);
        if is_failing {
            let trouble = Trouble { refused: None, attempted: Some(Duration::ZERO) };
            standing.trouble.get_or_insert(trouble);
        }
        match freshness::freshness(&self.0.config.policy, &standing) {
            Freshness::Stale(reason) => Some(self.serve(entry.clone(), How::Stale(reason))),
            _ => None,
        }
    }

    /// Returns what may be served for `key` although an attempt failed, which is noted by now.
    fn in_spite_of(&self, error: FetchError, key: &Key) -> Result<Served, ReadError> {
        let held = self.lookup(key.id.as_str(), &key.selector);
        let is_failing = error.kind.is_transient();
        held.or_else(|| self.last_resort(key, is_failing)).ok_or_else(|| error.into())
    }

    fn check_scope(&self, key: &Key) -> Result<(), ReadError> {
        // What is held was judged by the answer's own name.
        let is_known = self.0.snapshot.load().held(key.id.as_str()).is_some();
        let is_admitted = is_known || self.0.config.scope.admits(&key.id, &self.0.home.load());
        is_admitted.then_some(()).ok_or(ReadError::OutOfScope)
    }

    /// Joins or starts the flight for `key` and waits for its end.
    async fn fly(&self, key: &Key) -> Outcome {
        let (flight, is_joined) = self.board(key)?;
        if is_joined {
            self.0.metrics.flights_joined.inc();
        }
        flight.outcome().await
    }

    /// Joins the flight for `key`, or starts it as a task of its own: a reader who goes away does
    /// not take it along.
    fn board(&self, key: &Key) -> Result<(Flight, bool), FetchError> {
        let (flight, landing) = self.0.flights.board(key)?;
        let is_joined = landing.is_none();
        if let Some(landing) = landing {
            self.0.tasks.spawn(self.clone().run_flight(landing));
        }
        Ok((flight, is_joined))
    }
}

/// Returns whether upstream refused something else than `key`: what the entry that held it was
/// fetched for.
fn is_refusal_of_another(error: &FetchError, wanted: &Key, key: &Key) -> bool {
    wanted.selector != key.selector && !error.kind.is_transient()
}
