//! What is held, and how fresh is it?
//!
//! [`Cache`] is what a reader sees: it can look up, and ask for a flight. A reader never calls a
//! source itself.

pub mod freshness;
pub mod policies;
pub mod entry;
pub mod malformed;
pub mod told;
pub mod snapshot;
pub mod plan;
pub mod flight;
pub mod slots;
pub mod cut;
pub mod epoch;
pub mod rollback;
pub mod absent;
pub mod refresh;
pub mod prefetch;
pub mod status;
pub mod reading;
mod writer;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod simulation;

pub use reading::{How, ReadError, Served};

use crate::clock::{Clock, Moment};
use crate::convention::Conventions;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::scope::{Home, Scope};
use crate::secret::selector::Selector;
use crate::source::{FetchError, Source};
use crate::telemetry::limited::Limited;
use crate::telemetry::metrics::Metrics;
use absent::Absent;
use arc_swap::ArcSwap;
use entry::Entry;
use epoch::Epoch;
use flight::{Flight, Flights};
use freshness::{Freshness, Policy, Reason};
use plan::Next;
use policies::Policies;
use slots::Rank;
use snapshot::{Limits, Snapshot};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use told::Told;

/// What the cache is made of.
#[derive(Debug)]
pub struct Config {
    /// How old the value of each secret may get.
    pub policies: Policies,
    /// How long a reader waits for upstream.
    pub reader_wait: Duration,
    /// The most entries that are cached.
    pub entries_max: usize,
    /// The most bytes that their values and answers take.
    pub bytes_max: usize,
    /// The most calls under way at once, up to [`FLIGHTS_MAX`](flight::FLIGHTS_MAX).
    pub calls_max: usize,
    /// The secrets that are prefetched and never pushed out.
    pub listed: Vec<Key>,
    /// What may be read.
    pub scope: Scope,
    /// What values have, by the names of their secrets.
    pub conventions: Arc<Conventions>,
    /// Whether a value that is not as its convention says is withheld.
    pub is_strict: bool,
    /// Whether the process may be restored from a snapshot: then clocks that come apart tell of it.
    pub is_snapshot: bool,
    /// Seeds the random draws of jitter and back-off; without one they differ from run to run.
    pub seed: Option<u64>,
}

/// A listed secret that is not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The secret, as it is listed.
    pub key: Key,
    /// Whether the agent is not ready without it.
    pub is_required: bool,
    /// Why the last attempt failed, if one has.
    pub failure: Option<FetchError>,
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
    told: Told,
    /// The policy of each listed secret: by its reference, and once it was answered, by that.
    listed: Mutex<HashMap<Key, Policy>>,
    flights: Flights,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    home: ArcSwap<Home>,
    epoch: Epoch,
    draws: Mutex<fastrand::Rng>,
    metrics: Arc<Metrics>,
    changed: Notify,
    /// Woken when an entry takes more memory than before.
    grown: Arc<Notify>,
    /// Whether the log has said that listed secrets take more memory than there may be.
    is_over_logged: AtomicBool,
    /// Keeps a caller who invents names from filling the log.
    failures_logged: Limited,
    tasks: TaskTracker,
    stop: CancellationToken,
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
            bytes_max: config.bytes_max,
            listed: config.listed.iter().collect(),
        };
        let epoch = Epoch::new(config.is_snapshot, clock.now());
        let absent = Absent::new(config.listed.iter().cloned().collect());
        let listed = Mutex::new(config.policies.of_references(&config.listed, &home));
        metrics.announce_stale_reasons(&Reason::ALL.map(Reason::label));
        let flights = Flights::new(config.calls_max);
        let draws = config.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self(Arc::new(Inner {
            config,
            limits,
            snapshot: ArcSwap::default(),
            writer: Mutex::new(()),
            absent,
            told: Told::default(),
            listed,
            flights,
            source,
            clock,
            home: ArcSwap::from_pointee(home),
            epoch,
            draws: Mutex::new(draws),
            metrics,
            changed: Notify::new(),
            grown: Arc::default(),
            is_over_logged: AtomicBool::new(false),
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
        let how = match entry.freshness(now, self.epoch(now)) {
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

    /// Returns every entry of the secret that `entry` is of which may be served now, `entry` included.
    pub fn beside(&self, entry: &Arc<Entry>) -> Vec<Arc<Entry>> {
        let now = self.0.clock.now();
        let epoch = self.epoch(now);
        let is_servable = |own: &&Arc<Entry>| {
            !Arc::ptr_eq(own, entry) && own.freshness(now, epoch) != Freshness::Expired
        };
        let snapshot = self.0.snapshot.load();
        let held = snapshot.held(&entry.version.arn).map_or(&[][..], |held| held.entries());
        held.iter().filter(is_servable).chain([entry]).cloned().collect()
    }

    /// Returns the clock that everything here goes by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Returns what is held now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// Returns the listed secrets that are not held. What is not cached is missed only while it fails.
    pub fn missing(&self) -> Vec<Missing> {
        let now = self.0.clock.now();
        let snapshot = self.0.snapshot.load();
        let policies = self.0.listed.lock().expect("no holder panics");
        let mut missing = Vec::new();
        for key in &self.0.config.listed {
            let policy = policies.get(key).copied().unwrap_or_default();
            let is_held = snapshot.entry(key.id.as_str(), &key.selector).is_some();
            let failure = self.0.absent.last(key, now).map(|(error, _)| error);
            if !is_held && (!policy.ttl.is_zero() || failure.is_some()) {
                let (key, is_required) = (key.clone(), policy.is_required);
                missing.push(Missing { key, is_required, failure });
            }
        }
        missing
    }

    /// Returns those that are missing and that the agent is not ready without.
    pub fn missing_required(&self) -> Vec<Missing> {
        let missing = self.missing().into_iter();
        missing.filter(|missing| missing.is_required).collect()
    }

    /// Returns whether the agent is not ready without the listed secret `key`.
    fn is_required(&self, key: &Key) -> bool {
        let policies = self.0.listed.lock().expect("no holder panics");
        policies.get(key).is_some_and(|policy| policy.is_required)
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

    /// Lets it be known that the process was restored from a snapshot: nothing that is held is fresh
    /// any more, and what was read is fetched at once. Random draws begin anew, since every
    /// environment restored from one snapshot would draw the same.
    pub fn restored(&self) {
        self.0.epoch.restored();
        self.0.absent.forget_all();
        if self.0.config.seed.is_none() {
            let mut seed = [0; 8];
            // Without randomness the old draws go on: they only spread load.
            if getrandom::fill(&mut seed).is_ok() {
                self.0.draws.lock().expect("no holder panics").seed(u64::from_le_bytes(seed));
            }
        }
        self.0.changed.notify_waiters();
    }

    /// Returns how often the process has been restored up to `now`.
    fn epoch(&self, now: Moment) -> u64 {
        if self.0.epoch.is_news(now) {
            self.restored();
        }
        self.0.epoch.count()
    }

    /// Lets it be known which account the function runs in: who is there to know corrects whoever
    /// was told.
    pub fn learn_account(&self, account: &str) {
        if self.0.home.load().account.as_deref() != Some(account) {
            let region = self.0.home.load().region.clone();
            let home = Home { region, account: Some(account.into()) };
            *self.0.listed.lock().expect("no holder panics") =
                self.0.config.policies.of_references(&self.0.config.listed, &home);
            self.0.home.store(Arc::new(home));
        }
    }

    /// Remembers the policy that an answer to `key` turned out to have, if that is listed: from its
    /// reference alone it may not be told, and what is never held must not count as missing.
    fn learn_policy(&self, key: &Key, policy: Policy) {
        if let Some(known) = self.0.listed.lock().expect("no holder panics").get_mut(key) {
            *known = policy;
        }
    }

    /// Completes when an entry or a failure has changed since this was called.
    pub fn changed(&self) -> impl Future<Output = ()> {
        self.0.changed.notified()
    }

    /// Completes when an entry has grown since this last completed.
    async fn grown(&self) {
        self.0.grown.notified().await;
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
        for (held, entry) in self.0.snapshot.load().in_order() {
            let retry_in = entry.failure().map(|failure| failure.retry_in(now));
            let standing = entry.standing(now, self.epoch(now));
            // What is listed is made up for, however long it takes.
            let is_hopeless = plan::is_given_up(&entry.policy, &standing)
                && !self.0.limits.keeps(held, &entry.selector);
            let was_read = entry.was_read() && !is_hopeless;
            let next = plan::next(&entry.policy, &standing, was_read, retry_in);
            follow(&held.key(entry), next);
        }
        for Missing { key, .. } in self.missing() {
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

    /// Returns whether `SIDEKEY_ALLOW` covers a secret.
    pub fn is_allowed(&self, id: &SecretId) -> bool {
        // A cached secret was judged by the name in its answer.
        let is_cached = self.0.snapshot.load().held(id.as_str()).is_some();
        is_cached || self.0.config.scope.admits(id, &self.0.home.load())
    }

    fn check_scope(&self, key: &Key) -> Result<(), ReadError> {
        self.is_allowed(&key.id).then_some(()).ok_or(ReadError::OutOfScope)
    }

    /// Returns whether a call for `key` goes before those for names that were never read before.
    fn rank(&self, key: &Key) -> Rank {
        // By its label or version too: callers can invent as many of these as of names.
        let is_cached = self.0.snapshot.load().exact(key.id.as_str(), &key.selector).is_some();
        match is_cached || self.0.limits.listed.contains(key.id.as_str(), &key.selector) {
            true => Rank::Known,
            false => Rank::FirstTime,
        }
    }

    /// Joins the flight for `key`, or starts it as a task of its own: a reader who goes away does
    /// not take it along.
    fn board(&self, key: &Key) -> Result<(Flight, bool), FetchError> {
        let (flight, landing) = self.0.flights.board(key, self.rank(key))?;
        let is_joined = landing.is_none();
        if let Some(landing) = landing {
            self.0.tasks.spawn(self.clone().run_flight(landing));
        }
        Ok((flight, is_joined))
    }
}
