//! The publisher: the only code that replaces the snapshot, the immutable map of all cached
//! entries.

use super::entry::Entry;
use super::snapshot::Snapshot;
use super::state::State;
use crate::secret::key::Key;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The panic message if a thread panicked while it replaced the snapshot.
const POISONED: &str = "no thread panics while it replaces the snapshot";

/// Replaces the snapshot of all cached entries in the shared state, one change at a time.
#[derive(Debug)]
pub(super) struct Publisher {
    state: Arc<State>,
    /// This lock is held from the read of the old snapshot until the new snapshot is stored, so
    /// that no concurrent change is lost.
    replacing: Mutex<()>,
    /// Whether the last snapshot exceeded the memory limit. Sidekey logs a warning only when this
    /// becomes `true`.
    was_over_limit: AtomicBool,
}

impl Publisher {
    /// Makes a publisher that replaces the snapshot in `state`.
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, replacing: Mutex::new(()), was_over_limit: AtomicBool::new(false) }
    }

    /// Adds `entry`, which was fetched for `key`, to the cache. Returns the entry that is cached
    /// afterwards. This is a newer entry than `entry` if the call for the newer entry was sent
    /// later.
    pub(super) fn publish(&self, key: &Key, entry: Arc<Entry>) -> Arc<Entry> {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        let (next, evicted) = snapshot.publish(key, entry.clone(), &self.state.limits);
        self.state.metrics.evictions.inc_by(evicted as u64);
        let cached = next.exact(&entry.version.arn, &key.selector).cloned();
        self.replace(next);
        cached.unwrap_or(entry)
    }

    /// Evicts entries if the cached entries exceed the memory limit. An entry takes more memory
    /// when a reader is the first to ask for a form or a field.
    pub(super) fn trim(&self) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        if snapshot.bytes() > self.state.limits.bytes_max {
            let (next, evicted) = snapshot.trimmed(&self.state.limits);
            self.state.metrics.evictions.inc_by(evicted as u64);
            self.replace(next);
        }
    }

    /// Removes the cached entry that has the same secret and selector as `entry`. Call this
    /// function if the policy says that the secret must not be cached. An older entry may be
    /// cached, because another policy seemed to apply before the account was known.
    pub(super) fn remove(&self, entry: &Entry) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        if snapshot.exact(&entry.version.arn, &entry.selector).is_some() {
            self.replace(snapshot.without(&entry.version.arn, &entry.selector));
        }
    }

    /// Stores `next` as the current snapshot. Call this function only while `replacing` is locked.
    fn replace(&self, next: Snapshot) {
        let entries = i64::try_from(next.entries().count()).unwrap_or(i64::MAX);
        self.state.metrics.entries.set(entries);
        self.warn_if_over_limit(next.bytes());
        self.state.snapshot.store(Arc::new(next));
    }

    /// Logs a warning when the listed secrets begin to exceed the memory limit. `bytes` is the
    /// memory of all cached entries.
    fn warn_if_over_limit(&self, bytes: usize) {
        let limit = self.state.limits.bytes_max;
        let is_over = bytes > limit;
        if is_over && !self.was_over_limit.load(Ordering::Relaxed) {
            tracing::warn!(
                bytes,
                limit,
                "the listed secrets take more memory than SIDEKEY_CACHE_BYTES allows, so no other \
                 secret is cached; raise SIDEKEY_CACHE_BYTES, or list fewer secrets"
            );
        }
        self.was_over_limit.store(is_over, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
