//! Replaces the map of all cached secrets. The map is immutable, and no other code replaces it.

use super::entry::Entry;
use super::snapshot::Snapshot;
use super::state::State;
use crate::secret::key::Key;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const POISONED: &str = "no thread panics while it holds the lock";

#[derive(Debug)]
pub(super) struct Publisher {
    state: Arc<State>,
    /// Each change holds this lock while it makes a new map of cached secrets from the old map and
    /// stores the new map. Otherwise one of two concurrent changes would be lost.
    replacing: Mutex<()>,
    /// Whether the cached secrets exceeded the memory limit after the last change. Sidekey logs a
    /// warning only when this becomes `true`.
    was_over_limit: AtomicBool,
}

impl Publisher {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, replacing: Mutex::new(()), was_over_limit: AtomicBool::new(false) }
    }

    /// Caches `entry`, which was fetched for `key`. Returns the entry that is cached afterwards.
    /// This is the previous entry if its call to AWS was sent later than the call for `entry`.
    pub(super) fn publish(&self, key: &Key, entry: Arc<Entry>) -> Arc<Entry> {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        let (next, evicted) = snapshot.publish(key, entry.clone(), &self.state.limits);
        self.state.metrics.evictions.inc_by(evicted as u64);
        let cached = next.exact(&entry.version.arn, &key.selector).cloned();
        self.replace(next);
        cached.unwrap_or(entry)
    }

    /// Evicts cached secrets if they exceed the memory limit. A cached secret grows when Sidekey
    /// renders it in a further response format or parses its fields.
    pub(super) fn trim(&self) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        if snapshot.bytes() > self.state.limits.bytes_max {
            let (next, evicted) = snapshot.trimmed(&self.state.limits);
            self.state.metrics.evictions.inc_by(evicted as u64);
            self.replace(next);
        }
    }

    /// Removes the cached version of a secret whose TTL is 0. An older version can be cached,
    /// because another policy seemed to apply before the agent knew its AWS account.
    pub(super) fn remove(&self, entry: &Entry) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        if snapshot.exact(&entry.version.arn, &entry.selector).is_some() {
            self.replace(snapshot.without(&entry.version.arn, &entry.selector));
        }
    }

    /// Stores `next` as the map of all cached secrets. The caller must hold the lock `replacing`.
    fn replace(&self, next: Snapshot) {
        let entries = i64::try_from(next.entries().count()).unwrap_or(i64::MAX);
        self.state.metrics.entries.set(entries);
        self.warn_if_over_limit(next.bytes());
        self.state.snapshot.store(Arc::new(next));
    }

    /// Logs a warning when the cached secrets begin to exceed the memory limit. This can happen
    /// because the secrets in `SIDEKEY_SECRETS` are never evicted. `bytes` is the memory of all
    /// cached secrets.
    fn warn_if_over_limit(&self, bytes: usize) {
        let limit = self.state.limits.bytes_max;
        let is_over = bytes > limit;
        if is_over && !self.was_over_limit.load(Ordering::Relaxed) {
            tracing::warn!(
                bytes,
                limit,
                "the secrets of SIDEKEY_SECRETS take more memory than SIDEKEY_CACHE_BYTES allows, \
                 so Sidekey caches no other secret; raise SIDEKEY_CACHE_BYTES, \
                 or remove secrets from SIDEKEY_SECRETS"
            );
        }
        self.was_over_limit.store(is_over, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
