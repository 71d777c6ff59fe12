//! Remembers failed calls for secrets that are not cached. Requests that are repeated in a loop, or
//! that ask for unknown secrets, then cause only a few calls to AWS.

use super::failure::Failure;
use super::freshness::EMPTY_BACK_OFF_MAX;
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::source::FetchError;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

/// The maximum number of secrets whose failed calls the agent remembers. Without this limit,
/// requests for invented names could exhaust the memory.
pub(super) const FAILURES_MAX: usize = 1000;

#[derive(Debug)]
pub(super) struct NegativeCache {
    /// The secrets in `SIDEKEY_SECRETS`. Their failures are remembered even if too many failures
    /// are stored, because the agent retries these secrets by itself.
    listed: HashSet<Key>,
    /// Boxes keep the table of the map small: with 1000 failures, the table would otherwise take
    /// 0.6 MB, and 0.9 MB while it grows.
    failures: Mutex<HashMap<Key, Box<Failure>>>,
}

impl NegativeCache {
    pub(super) fn new(listed: HashSet<Key>) -> Self {
        Self { listed, failures: Mutex::default() }
    }

    /// Returns the error of a recent failed call for the secret `key`. Returns `None` if a request
    /// for the secret may cause a new call to AWS.
    pub(super) fn error(&self, key: &Key, now: Moment) -> Option<FetchError> {
        let failures = self.failures.lock().expect("no thread may panic while it holds the lock");
        let failure = failures.get(key)?;
        failure.is_remembered(now).then(|| failure.error.clone())
    }

    /// Returns why the last call for the secret `key` failed, and how long the agent must wait
    /// before it retries by itself.
    pub(super) fn last(&self, key: &Key, now: Moment) -> Option<(FetchError, Duration)> {
        let failures = self.failures.lock().expect("no thread may panic while it holds the lock");
        failures.get(key).map(|failure| (failure.error.clone(), failure.retry_in(now)))
    }

    pub(super) fn failure(&self, key: &Key) -> Option<Failure> {
        let failures = self.failures.lock().expect("no thread may panic while it holds the lock");
        failures.get(key).map(|failure| (**failure).clone())
    }

    pub(super) fn failed_at(&self, key: &Key) -> Option<Moment> {
        let failures = self.failures.lock().expect("no thread may panic while it holds the lock");
        failures.get(key).map(|failure| failure.at)
    }

    /// Records a failed call for the secret `key`. The random number `draw` from `[0, 1)` decides
    /// how long the agent waits before it retries by itself.
    pub(super) fn record(&self, key: &Key, error: FetchError, now: Moment, draw: f64) {
        let mut failures =
            self.failures.lock().expect("no thread may panic while it holds the lock");
        let before = failures.get(key).map(|failure| &**failure);
        let failure = Failure::after(before, error, now, EMPTY_BACK_OFF_MAX, draw);
        failures.insert(key.clone(), Box::new(failure));
        if failures.len() > FAILURES_MAX {
            let unlisted = failures.iter().filter(|(key, _)| !self.listed.contains(key));
            let oldest = unlisted.min_by_key(|(_, failure)| failure.at.steady);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                failures.remove(&oldest);
            }
        }
    }

    /// Forgets all failed calls, because they may be days old after a SnapStart restore.
    pub(super) fn forget_all(&self) {
        self.failures.lock().expect("no thread may panic while it holds the lock").clear();
    }

    pub(super) fn forget(&self, key: &Key) {
        self.failures.lock().expect("no thread may panic while it holds the lock").remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::reference::SecretId;
    use crate::secret::selector::Selector;
    use crate::source::FetchErrorKind;
    use std::time::SystemTime;

    fn key(id: &str) -> Key {
        let id = SecretId::parse(id).expect("the name in the test must be valid");
        Key::own(id, Selector::current())
    }

    fn at(millis: u64) -> Moment {
        let span = Duration::from_millis(millis);
        Moment { wall: SystemTime::UNIX_EPOCH + span, steady: span }
    }

    fn error(kind: FetchErrorKind) -> FetchError {
        FetchError::new(kind, "Code", "message")
    }

    #[test]
    fn refusal_is_remembered_for_three_seconds_and_failure_for_its_back_off() {
        let cache = NegativeCache::new(HashSet::new());
        cache.record(&key("refused"), error(FetchErrorKind::NotFound), at(0), 0.5);
        cache.record(&key("failed"), error(FetchErrorKind::Service), at(0), 0.5);
        let remembered = |id, millis| cache.error(&key(id), at(millis)).is_some();
        assert!(remembered("refused", 2999) && !remembered("refused", 3000));
        assert!(remembered("failed", 99) && !remembered("failed", 100));
        assert!(
            cache.last(&key("failed"), at(100)).is_some(),
            "the failed call must still be remembered"
        );
        cache.forget(&key("failed"));
        assert!(cache.last(&key("failed"), at(100)).is_none());
    }

    #[test]
    fn failure_after_refusals_is_remembered_for_its_own_back_off() {
        let cache = NegativeCache::new(HashSet::new());
        for _ in 0..10 {
            cache.record(&key("x"), error(FetchErrorKind::NotFound), at(0), 0.99);
        }
        cache.record(&key("x"), error(FetchErrorKind::Timeout), at(3000), 0.5);
        // Half of the longest back-off is 2.5 s.
        assert!(cache.error(&key("x"), at(5499)).is_some());
        assert!(cache.error(&key("x"), at(5500)).is_none());
        let (_, wait) =
            cache.last(&key("x"), at(3000)).expect("the failed call must be remembered");
        assert!(
            wait > Duration::from_secs(20),
            "the agent must wait for more than 20 s, but it waits for {wait:?}"
        );
    }

    /// Transient failures are retried sooner than refusals such as denied access: AWS may soon work
    /// again, but a refusal rarely changes.
    #[test]
    fn failures_are_retried_sooner_than_refusals() {
        let cache = NegativeCache::new(HashSet::new());
        let mut waits = [Duration::ZERO; 2];
        for n in 0..12 {
            for (wait, (id, kind)) in waits
                .iter_mut()
                .zip([("failed", FetchErrorKind::Throttled), ("refused", FetchErrorKind::NotFound)])
            {
                let now = at(n * 60_000);
                cache.record(&key(id), error(kind), now, 0.99);
                *wait = cache.last(&key(id), now).expect("the failed call must be remembered").1;
            }
        }
        let expected = [5.0, 30.0].map(|seconds| Duration::from_secs_f64(seconds * 0.99));
        assert_eq!(waits, expected);
    }

    #[test]
    fn failures_of_invented_names_are_bounded() {
        let cache = NegativeCache::new(HashSet::from([key("listed")]));
        cache.record(&key("listed"), error(FetchErrorKind::NotFound), at(0), 0.0);
        for n in 0..FAILURES_MAX as u64 + 10 {
            cache.record(&key(&format!("x{n}")), error(FetchErrorKind::NotFound), at(n), 0.0);
        }
        assert_eq!(
            cache.failures.lock().expect("no thread may panic while it holds the lock").len(),
            FAILURES_MAX
        );
        assert!(cache.last(&key("x0"), at(0)).is_none());
        assert!(cache.last(&key("x1009"), at(0)).is_some());
        assert!(
            cache.last(&key("listed"), at(0)).is_some(),
            "a failed call for a secret in SIDEKEY_SECRETS must never be forgotten"
        );
    }
}
