//! The one place that replaces the snapshot.

use super::entry::Entry;
use super::snapshot::Snapshot;
use super::state::State;
use crate::secret::key::Key;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The panic message of a poisoned lock.
const POISONED: &str = "no thread panics while it replaces the snapshot";

/// Replaces the snapshot in a state, one change at a time.
#[derive(Debug)]
pub(super) struct Publisher {
    state: Arc<State>,
    /// Locked from the read of the old snapshot until the new one is stored, so that no concurrent
    /// change is lost.
    replacing: Mutex<()>,
    /// Whether the last snapshot exceeded the memory limit, which was logged then.
    was_over_limit: AtomicBool,
}

impl Publisher {
    /// Publishes to the readers of `state`.
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, replacing: Mutex::new(()), was_over_limit: AtomicBool::new(false) }
    }

    /// Adds an entry that was fetched for `key`. Returns the entry that is cached now: a newer one
    /// than `entry` if the call for the newer one was sent later.
    pub(super) fn publish(&self, key: &Key, entry: Arc<Entry>) -> Arc<Entry> {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        let (next, evicted) = snapshot.publish(key, entry.clone(), &self.state.limits);
        self.state.metrics.evictions.inc_by(evicted as u64);
        let cached = next.exact(&entry.version.arn, &key.selector).cloned();
        self.replace(next);
        cached.unwrap_or(entry)
    }

    /// Evicts entries if they exceed the memory limit. Entries grow when a reader is the first to
    /// ask for a form or a field.
    pub(super) fn trim(&self) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        if snapshot.bytes() > self.state.limits.bytes_max {
            let (next, evicted) = snapshot.trimmed(&self.state.limits);
            self.state.metrics.evictions.inc_by(evicted as u64);
            self.replace(next);
        }
    }

    /// Removes the cached entry that has the same secret and selector as `entry`. The policy says that
    /// the secret must not be cached, but an older entry may be cached: another policy seemed to apply
    /// before the account was known.
    pub(super) fn remove(&self, entry: &Entry) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        if snapshot.exact(&entry.version.arn, &entry.selector).is_some() {
            self.replace(snapshot.without(&entry.version.arn, &entry.selector));
        }
    }

    /// Stores the next snapshot. Call this function only while `replacing` is locked.
    fn replace(&self, next: Snapshot) {
        let entries = i64::try_from(next.entries().count()).unwrap_or(i64::MAX);
        self.state.metrics.entries.set(entries);
        self.warn_if_over_limit(next.bytes());
        self.state.snapshot.store(Arc::new(next));
    }

    /// Logs a warning when listed secrets begin to exceed the memory limit.
    fn warn_if_over_limit(&self, bytes: usize) {
        let limit = self.state.limits.bytes_max;
        let is_over = bytes > limit;
        if is_over && !self.was_over_limit.load(Ordering::Relaxed) {
            tracing::warn!(
                bytes,
                limit,
                "the listed secrets take more memory than SIDEKEY_CACHE_BYTES, so no other secret is \
                 cached; raise SIDEKEY_CACHE_BYTES, or list fewer secrets"
            );
        }
        self.was_over_limit.store(is_over, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
