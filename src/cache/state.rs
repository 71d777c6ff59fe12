//! The state of the cache, which is shared by [`Cache`](super::Cache), the handle that reads
//! secrets, and [`Writer`](super::Writer), the handle that calls AWS.

use super::discovery::{self, Discovery};
use super::epoch::Epoch;
use super::failure::Failure;
use super::flight::Flights;
use super::freshness::Policy;
use super::limits::Limits;
use super::negative_cache::NegativeCache;
use super::policies::Policies;
use super::snapshot::Snapshot;
use super::withheld::UseOnly;
use crate::clock::{Clock, Moment};
use crate::convention::Conventions;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::role::RoleArn;
use crate::secret::scope::{Home, Scope};
use crate::source::FetchError;
use crate::telemetry::metrics::Metrics;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

const POISONED: &str = "no thread may panic while it holds the lock";

/// The configuration of the cache.
#[derive(Debug)]
pub struct Config {
    /// How old the cached value of each secret may get, and when the agent refreshes it.
    pub policies: Policies,
    /// The maximum time that a request waits for AWS.
    pub reader_wait: Duration,
    /// The maximum number of cached versions of secrets. The secrets in `SIDEKEY_SECRETS` are
    /// cached even if this maximum is exceeded.
    pub entries_max: usize,
    /// The maximum memory for cached values and the HTTP responses rendered from them, in bytes.
    /// The secrets in `SIDEKEY_SECRETS` are cached even if this maximum is exceeded.
    pub bytes_max: usize,
    /// The maximum number of concurrent calls to AWS. Values above
    /// [`FLIGHTS_MAX`](super::flight::FLIGHTS_MAX) have no effect.
    pub calls_max: usize,
    /// The secrets in `SIDEKEY_SECRETS`. The agent fetches them at start, and never evicts them.
    pub listed: Vec<Key>,
    /// The patterns in `SIDEKEY_SECRETS`, and how often the agent searches for them.
    pub discovery: discovery::Config,
    /// The secrets that clients may read, from `SIDEKEY_ALLOW`.
    pub scope: Scope,
    /// The secrets that no client can read, because the agent only inserts them into calls to
    /// external APIs. `None` if `SIDEKEY_USE_ONLY` is unset.
    pub use_only: Option<UseOnly>,
    /// The rules for the values of secrets. Each set of rules applies to the secrets whose names
    /// match a pattern.
    pub conventions: Arc<Conventions>,
    /// Whether the agent returns an error instead of a secret's value that breaks the rules in
    /// `conventions`.
    pub is_strict: bool,
    /// Whether SnapStart may restore the process from a snapshot. If so, the agent compares the
    /// wall clock with the steady (monotonic) clock to detect a restore.
    pub is_snapshot: bool,
    /// The seed of the random numbers that spread refreshes and retries over time. If the seed is
    /// `None`, the numbers differ in each run.
    pub seed: Option<u64>,
}

/// A secret in `SIDEKEY_SECRETS` that is not cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The name or ARN from `SIDEKEY_SECRETS`, and the label or id of the version to cache.
    pub key: Key,
    /// Whether `/ready` answers 503 until the agent has fetched this secret.
    pub is_required: bool,
    /// Why the last attempt to fetch the secret failed. `None` if no attempt has failed.
    pub failure: Option<FetchError>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) limits: Limits,
    /// All cached secrets. Only [`Publisher`](super::publisher::Publisher) replaces this map.
    pub(super) snapshot: ArcSwap<Snapshot>,
    pub(super) negative: NegativeCache,
    pub(super) flights: Flights,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) home: ArcSwap<Home>,
    pub(super) metrics: Arc<Metrics>,
    /// Notified when a cached secret has changed or a call to AWS has failed.
    pub(super) changed: Notify,
    epoch: Epoch,
    /// The refresh policy of each secret in `SIDEKEY_SECRETS`. The first answer of AWS can change
    /// the policy: the configuration may list the secret by its name but have a policy for its ARN,
    /// and the answer contains both.
    listed: Mutex<HashMap<Key, Policy>>,
    draws: Mutex<fastrand::Rng>,
    discovery: Mutex<Discovery>,
}

impl State {
    pub(super) fn new(
        config: Config,
        home: Home,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let limits = Limits {
            entries_max: config.entries_max,
            bytes_max: config.bytes_max,
            listed: config.listed.iter().collect(),
        };
        Self {
            limits,
            snapshot: ArcSwap::default(),
            discovery: Mutex::new(Discovery::new(&config.discovery, &config.listed, clock.now())),
            negative: NegativeCache::new(config.listed.iter().cloned().collect()),
            flights: Flights::new(config.calls_max),
            epoch: Epoch::new(config.is_snapshot, clock.now()),
            listed: Mutex::new(config.policies.of_references(&config.listed, &home)),
            draws: Mutex::new(
                config.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            ),
            clock,
            home: ArcSwap::from_pointee(home),
            metrics,
            changed: Notify::new(),
            config,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.count()
    }

    /// Counts a SnapStart restore if the clocks show a new restore. Call this function before
    /// [`epoch`](Self::epoch), which returns the number of restores.
    pub(super) fn detect_restore(&self, now: Moment) {
        if self.epoch.detects_restore(now) {
            self.restore();
        }
    }

    /// Handles a restore of the process by SnapStart: no cached secret is fresh any more, and
    /// failed calls are forgotten.
    pub(super) fn restore(&self) {
        self.epoch.increment();
        self.negative.forget_all();
        if self.config.seed.is_none() {
            let mut seed = [0; 8];
            // Draw a new seed. Otherwise all environments that start from one snapshot would draw
            // the same numbers. If this fails, the old numbers continue, because they only spread
            // load.
            if getrandom::fill(&mut seed).is_ok() {
                self.draws.lock().expect(POISONED).seed(u64::from_le_bytes(seed));
            }
        }
        self.changed.notify_waiters();
    }

    pub(super) fn draw(&self) -> f64 {
        self.draws.lock().expect(POISONED).f64()
    }

    /// Locks and returns the searches for the patterns in `SIDEKEY_SECRETS`. Reads of cached
    /// secrets do not take this lock.
    pub(super) fn discovery(&self) -> MutexGuard<'_, Discovery> {
        self.discovery.lock().expect(POISONED)
    }

    /// Waits until the first search for each pattern in `SIDEKEY_SECRETS` has ended.
    pub(super) async fn discovered(&self) {
        loop {
            let changed = self.changed.notified();
            if self.discovery().is_attempted() {
                return;
            }
            changed.await;
        }
    }

    /// Returns whether `SIDEKEY_ALLOW` allows the secret `id`, read with `role`. A cached secret is
    /// allowed, because the agent checked it before.
    pub(super) fn is_allowed(&self, role: Option<&RoleArn>, id: &SecretId) -> bool {
        // For a cached secret, `SIDEKEY_ALLOW` was checked against the name and ARN in the answer
        // of AWS.
        let is_cached = self.snapshot.load().contains(role, id.as_str());
        is_cached || self.config.scope.admits(id, &self.home.load().of_role(role))
    }

    /// Returns the secrets in `SIDEKEY_SECRETS` that are not cached. A secret with a TTL of 0 is
    /// never cached, so it counts as missing only while calls for it fail.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let now = self.clock.now();
        let snapshot = self.snapshot.load();
        let policies = self.listed.lock().expect(POISONED);
        let mut missing = Vec::new();
        for key in &self.config.listed {
            let policy = policies.get(key).copied().unwrap_or_default();
            let is_cached = snapshot.entry(key).is_some();
            let failure = self.negative.last(key, now).map(|(error, _)| error);
            if !is_cached && (!policy.ttl.is_zero() || failure.is_some()) {
                let (key, is_required) = (key.clone(), policy.is_required);
                missing.push(Missing { key, is_required, failure });
            }
        }
        missing
    }

    /// Returns the last failed call for the secret `key`, if the calls have failed since the secret
    /// was last fetched.
    pub(super) fn failure(&self, key: &Key) -> Option<Arc<Failure>> {
        match self.snapshot.load().exact(key) {
            Some(entry) => entry.marks.failure(),
            None => self.negative.failure(key).map(Arc::new),
        }
    }

    /// Returns whether `/ready` answers 503 until the agent has fetched the secret `key`.
    pub(super) fn is_required(&self, key: &Key) -> bool {
        let policies = self.listed.lock().expect(POISONED);
        policies.get(key).is_some_and(|policy| policy.is_required)
    }

    /// Stores the id of the Lambda function's AWS account, as reported by Lambda or AWS. It
    /// overrides the configured account.
    pub(super) fn learn_account(&self, account: &str) {
        if self.home.load().account.as_deref() != Some(account) {
            let region = self.home.load().region.clone();
            let home = Home { region, account: Some(account.into()) };
            *self.listed.lock().expect(POISONED) =
                self.config.policies.of_references(&self.config.listed, &home);
            self.home.store(Arc::new(home));
        }
    }

    /// Stores the refresh policy of `key`, a secret in `SIDEKEY_SECRETS`, after AWS has answered.
    /// Only then does the agent know both the name and the ARN, so that all rules can apply.
    pub(super) fn learn_policy(&self, key: &Key, policy: Policy) {
        if let Some(known) = self.listed.lock().expect(POISONED).get_mut(key) {
            *known = policy;
        }
    }
}

#[cfg(test)]
mod tests;
