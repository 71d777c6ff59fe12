//! The state that the two handles on a cache, the reader's and the writer's, share.

use super::epoch::Epoch;
use super::flight::Flights;
use super::freshness::Policy;
use super::negative_cache::NegativeCache;
use super::policies::Policies;
use super::snapshot::{Limits, Snapshot};
use crate::clock::{Clock, Moment};
use crate::convention::Conventions;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::scope::{Home, Scope};
use crate::source::FetchError;
use crate::telemetry::metrics::Metrics;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// The panic message if a thread panicked while it held a lock.
const POISONED: &str = "no thread panics while it holds the lock";

/// The configuration of a cache.
#[derive(Debug)]
pub struct Config {
    /// The refresh policies: how old the value of each secret may get.
    pub policies: Policies,
    /// The maximum time that a reader waits for AWS.
    pub reader_wait: Duration,
    /// The maximum number of cached entries. Sidekey caches the secrets of `SIDEKEY_SECRETS` even
    /// above this number.
    pub entries_max: usize,
    /// The maximum number of bytes for cached values and the answers rendered from them. Sidekey
    /// caches the secrets of `SIDEKEY_SECRETS` even above this number.
    pub bytes_max: usize,
    /// The maximum number of concurrent calls to AWS. Values above
    /// [`FLIGHTS_MAX`](super::flight::FLIGHTS_MAX) have no effect.
    pub calls_max: usize,
    /// The listed secrets (`SIDEKEY_SECRETS`). The cache fetches them at start and never evicts
    /// them.
    pub listed: Vec<Key>,
    /// The secrets that callers may read (`SIDEKEY_ALLOW`).
    pub scope: Scope,
    /// The conventions: for each pattern of secret names, the fields that a value must have.
    pub conventions: Arc<Conventions>,
    /// Whether readers get an error instead of a value that breaks the convention for secrets of
    /// its name.
    pub is_strict: bool,
    /// Whether Lambda may restore the process from a SnapStart snapshot. If so, Sidekey takes a
    /// jump of the wall clock against the steady clock for a restore.
    pub is_snapshot: bool,
    /// The seed of the random numbers for jitter and back-off. Without a seed, the numbers differ
    /// from run to run.
    pub seed: Option<u64>,
}

/// A listed secret (of `SIDEKEY_SECRETS`) that is not cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The name or ARN of the listed secret, with the label or version id that the list asks for.
    pub key: Key,
    /// Whether the agent is not ready until the listed secret is cached.
    pub is_required: bool,
    /// Why the last attempt to fetch the listed secret failed. `None` if no attempt has failed.
    pub failure: Option<FetchError>,
}

/// The state that [`Cache`](super::Cache) and [`Writer`](super::Writer) share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) limits: Limits,
    /// All cached entries. Only [`Publisher`](super::publisher::Publisher) replaces this snapshot.
    pub(super) snapshot: ArcSwap<Snapshot>,
    pub(super) negative: NegativeCache,
    pub(super) flights: Flights,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) home: ArcSwap<Home>,
    pub(super) metrics: Arc<Metrics>,
    /// Wakes the refresh loop and long polls whenever an entry changes or a call fails.
    pub(super) changed: Notify,
    epoch: Epoch,
    /// The refresh policy of each secret of `SIDEKEY_SECRETS`: at first, the policy that matches
    /// the secret's name or ARN in the list; later, the policy that matches the answer of AWS.
    listed: Mutex<HashMap<Key, Policy>>,
    draws: Mutex<fastrand::Rng>,
}

impl State {
    /// Makes the shared state of an empty cache.
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

    /// Returns the number of restores from a SnapStart snapshot that Sidekey knows of.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.count()
    }

    /// Counts a restore if the clocks show at `now` that the process was restored from a SnapStart
    /// snapshot. Requests, timers and calls to AWS call this function before they call
    /// [`epoch`](Self::epoch). The function takes no lock unless there was a restore.
    pub(super) fn detect_restore(&self, now: Moment) {
        if self.epoch.detects_restore(now) {
            self.restore();
        }
    }

    /// Counts one more restore from a SnapStart snapshot. No cached entry counts as fresh
    /// afterwards, the negative cache is empty, and the refresh loop fetches every entry again that
    /// was read.
    pub(super) fn restore(&self) {
        self.epoch.increment();
        self.negative.forget_all();
        if self.config.seed.is_none() {
            let mut seed = [0; 8];
            // Draw a new seed: otherwise all environments that start from one snapshot would draw
            // the same numbers. If the system has no randomness, the old numbers continue, because
            // they only spread load.
            if getrandom::fill(&mut seed).is_ok() {
                self.draws.lock().expect(POISONED).seed(u64::from_le_bytes(seed));
            }
        }
        self.changed.notify_waiters();
    }

    /// Returns a random number from `[0, 1)`.
    pub(super) fn draw(&self) -> f64 {
        self.draws.lock().expect(POISONED).f64()
    }

    /// Returns whether `SIDEKEY_ALLOW` covers the secret `id`, or the secret is already cached.
    pub(super) fn is_allowed(&self, id: &SecretId) -> bool {
        // For a cached secret, `SIDEKEY_ALLOW` was checked against the name and ARN in the answer
        // of AWS.
        let is_cached = self.snapshot.load().secret(id.as_str()).is_some();
        is_cached || self.config.scope.admits(id, &self.home.load())
    }

    /// Returns the listed secrets (of `SIDEKEY_SECRETS`) that are not cached. A secret with a TTL
    /// of 0 is never cached, and counts as missing only while calls for it fail.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let now = self.clock.now();
        let snapshot = self.snapshot.load();
        let policies = self.listed.lock().expect(POISONED);
        let mut missing = Vec::new();
        for key in &self.config.listed {
            let policy = policies.get(key).copied().unwrap_or_default();
            let is_cached = snapshot.entry(key.id.as_str(), &key.selector).is_some();
            let failure = self.negative.last(key, now).map(|(error, _)| error);
            if !is_cached && (!policy.ttl.is_zero() || failure.is_some()) {
                let (key, is_required) = (key.clone(), policy.is_required);
                missing.push(Missing { key, is_required, failure });
            }
        }
        missing
    }

    /// Returns whether the agent is not ready until the secret `key` of `SIDEKEY_SECRETS` is
    /// cached.
    pub(super) fn is_required(&self, key: &Key) -> bool {
        let policies = self.listed.lock().expect(POISONED);
        policies.get(key).is_some_and(|policy| policy.is_required)
    }

    /// Sets the AWS account that the function runs in, as Lambda or an answer of AWS states it.
    /// This account overrides the configured account.
    pub(super) fn learn_account(&self, account: &str) {
        if self.home.load().account.as_deref() != Some(account) {
            let region = self.home.load().region.clone();
            let home = Home { region, account: Some(account.into()) };
            *self.listed.lock().expect(POISONED) =
                self.config.policies.of_references(&self.config.listed, &home);
            self.home.store(Arc::new(home));
        }
    }

    /// Sets the refresh policy of the listed secret `key`, as determined from the answer of AWS.
    /// Does nothing if `key` is not listed. This policy can differ from the policy for the list
    /// entry, because a rule may match only the ARN. Without this step, a secret with a TTL of 0
    /// could count as missing for ever.
    pub(super) fn learn_policy(&self, key: &Key, policy: Policy) {
        if let Some(known) = self.listed.lock().expect(POISONED).get_mut(key) {
            *known = policy;
        }
    }
}

#[cfg(test)]
mod tests;
