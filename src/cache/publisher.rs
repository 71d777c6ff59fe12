//! Replaces the immutable map of all cached secrets. No other code replaces this map.

use super::entry::Entry;
use super::snapshot::Snapshot;
use super::state::State;
use crate::secret::key::Key;
use crate::secret::role::ROLES_MAX;
use crate::telemetry::log_limiter::LogLimiter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const POISONED: &str = "no thread may panic while it holds the lock";

#[derive(Debug)]
pub(super) struct Publisher {
    state: Arc<State>,
    /// Held while a change makes a new map of cached secrets from the old map and stores it.
    /// Without this lock, one of two concurrent changes would be lost.
    replacing: Mutex<()>,
    /// Whether the cached secrets exceeded the memory limit after the last change. Sidekey logs a
    /// warning only when this becomes `true`.
    was_over_limit: AtomicBool,
    /// Limits the rate of log lines about evicted roles, because requests can name any roles.
    evictions_logged: LogLimiter,
}

impl Publisher {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self {
            state,
            replacing: Mutex::new(()),
            was_over_limit: AtomicBool::new(false),
            evictions_logged: LogLimiter::default(),
        }
    }

    /// Caches `entry`, a version of the secret `key`, and returns the version that is then cached.
    /// The existing version stays if Sidekey requested it from AWS later than `entry`.
    pub(super) fn publish(&self, key: &Key, entry: Arc<Entry>) -> Arc<Entry> {
        let cached = self.publish_all(&[(key.clone(), entry.clone())]);
        cached.into_iter().next().unwrap_or(entry)
    }

    /// Caches `entries` as [`publish`](Self::publish) does. One change for many entries copies the
    /// map of cached secrets only once.
    pub(super) fn publish_all(&self, entries: &[(Key, Arc<Entry>)]) -> Vec<Arc<Entry>> {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        let (next, evicted) = snapshot.publish_all(entries, &self.state.limits);
        self.state.metrics.evictions.inc_by(evicted as u64);
        self.log_evicted_roles(&snapshot, &next);
        let cached =
            |(_, entry): &(Key, Arc<Entry>)| next.exact(entry.key()).unwrap_or(entry).clone();
        let cached = entries.iter().map(cached).collect();
        self.replace(next);
        cached
    }

    /// Caches those of `entries` for which there is room, and evicts nothing. Returns the number of
    /// entries without room.
    pub(super) fn publish_in_free_room(&self, entries: &[(Key, Arc<Entry>)]) -> usize {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        let (next, without_room) = snapshot.publish_in_free_room(entries, &self.state.limits);
        self.replace(next);
        without_room
    }

    /// Removes the secrets and parameters `gone` from the cache, unless `SIDEKEY_SECRETS`
    /// lists them by name or ARN.
    pub(super) fn remove_gone(&self, gone: &[Key]) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let next = self.state.snapshot.load().without_gone(gone, &self.state.limits);
        self.replace(next);
    }

    /// Logs a warning for each role whose secrets were all evicted because there are too many
    /// roles.
    fn log_evicted_roles(&self, before: &Snapshot, after: &Snapshot) {
        // With fewer roles, only the limits of entries and memory can have evicted secrets.
        if after.roles().count() < ROLES_MAX {
            return;
        }
        for role in before.roles().filter(|role| after.roles().all(|other| other != *role)) {
            match self.evictions_logged.pass(self.state.clock.now()) {
                Some(left_out) => tracing::warn!(
                    role = role.as_str(),
                    left_out,
                    "Sidekey reads secrets with more than {ROLES_MAX} roles, so it evicted all secrets \
                     of the role that was unused longest; read with fewer roles, or limit them with \
                     SIDEKEY_ROLES"
                ),
                None => self.state.metrics.log_lines_dropped.inc(),
            }
        }
    }

    /// Evicts secrets if the cache exceeds its memory limit. Cached secrets grow when Sidekey
    /// renders them in another response format or parses their fields.
    pub(super) fn trim(&self) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        if snapshot.bytes() > self.state.limits.bytes_max {
            let (next, evicted) = snapshot.trimmed(&self.state.limits);
            self.state.metrics.evictions.inc_by(evicted as u64);
            self.replace(next);
        }
    }

    /// Removes the cached version of a secret whose TTL is 0. Such a version can be cached if
    /// another rule seemed to apply before the agent knew its AWS account.
    pub(super) fn remove(&self, entry: &Entry) {
        let _replacing = self.replacing.lock().expect(POISONED);
        let snapshot = self.state.snapshot.load();
        if snapshot.exact(entry.key()).is_some() {
            self.replace(snapshot.without(entry.key()));
        }
    }

    /// Stores `next` as the map of all cached secrets. The caller must hold the lock `replacing`.
    fn replace(&self, next: Snapshot) {
        let entries = i64::try_from(next.entries().count()).unwrap_or(i64::MAX);
        self.state.metrics.entries.set(entries);
        self.warn_if_over_limit(next.bytes());
        self.state.snapshot.store(Arc::new(next));
    }

    /// Logs a warning when the memory of all cached secrets (`bytes`) begins to exceed the limit.
    /// This can happen because the secrets in `SIDEKEY_SECRETS` are never evicted.
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
