//! Finds the versions of a secret that have a staging label of AWS, such as `AWSPREVIOUS`, for the
//! operation `DescribeSecret`.
//!
//! Sidekey finds each version by a call to `GetSecretValue` with the label, because many IAM roles
//! have no permission for `DescribeSecret`.

use super::entry::Entry;
use super::freshness::Freshness;
use super::reader::Cache;
use super::served::{How, Served};
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::selector::Selector;
use crate::secret::version::{AWSCURRENT, OTHER_LABELS};
use std::sync::Arc;

impl Cache {
    /// Returns the current version of the secret `key`, and all its versions with staging labels,
    /// to answer `DescribeSecret`. `current` is the cached current version. The request began at
    /// `started`.
    ///
    /// Calls AWS for labels that are not cached. If `current` is stale, AWS may be failing, so this
    /// function makes no call. Without a call, or if a call fails, returns the cached versions.
    pub(crate) async fn labelled_versions(
        &self,
        key: &Key,
        current: Served,
        started: Moment,
    ) -> (Served, Vec<Arc<Entry>>) {
        if matches!(current.how, How::Stale(_)) {
            let versions = self.servable_entries(&current.entry, true);
            return (current, versions);
        }
        let wait = self.state.config.reader_wait;
        let learn = async { Ok(self.learn(key, &current).await) };
        let learning = self.within_wait(wait, started, learn);
        let (learned, newer) = learning.await.unwrap_or_default();
        let current = newer.unwrap_or(current);
        let mut versions = self.servable_entries(&current.entry, false);
        for entry in learned.into_iter().flatten() {
            if !versions.iter().any(|own| Arc::ptr_eq(own, &entry)) {
                versions.push(entry);
            }
        }
        (current, versions)
    }

    /// Fetches the versions whose staging labels are not cached. Also fetches the new current
    /// version if the answers show that AWS has moved `AWSCURRENT`.
    async fn learn(
        &self,
        key: &Key,
        current: &Served,
    ) -> ([Option<Arc<Entry>>; OTHER_LABELS.len()], Option<Served>) {
        let [previous, pending] =
            OTHER_LABELS.map(|label| self.learn_label(key, &current.entry, label));
        let (previous, pending) = tokio::join!(previous, pending);
        let learned = [previous, pending];
        let version = &current.entry.version;
        let cached = self.servable_entries(&current.entry, false);
        let has_moved = cached.iter().chain(learned.iter().flatten()).any(|other| {
            let is_later = other.asked_at() > current.entry.asked_at();
            is_later && other.version.id == version.id && !other.version.carries(AWSCURRENT)
        });
        // If a call for the current version failed recently, AWS may be throttling or failing.
        let is_paused = current.entry.marks.is_paused(self.state.clock.now())
            || self.remembered_error(key).is_some();
        let newer = if has_moved && !is_paused { self.fetch(key).await.ok() } else { None };
        (learned, newer.map(|entry| self.serve(entry, How::Miss)))
    }

    /// Fetches the version of a secret with the staging label `label`. `current` is the cached
    /// current version.
    ///
    /// Returns `None` if no version has the label, if the call fails, or if a version with the
    /// label is already cached.
    async fn learn_label(
        &self,
        key: &Key,
        current: &Arc<Entry>,
        label: &'static str,
    ) -> Option<Arc<Entry>> {
        if current.version.carries(label) || current.marks.lacks(label) {
            return None;
        }
        let selector = Selector::new(Some(label), None);
        let snapshot = self.state.snapshot.load_full();
        let secret = snapshot.secret(current.key());
        let cached = secret.and_then(|secret| secret.exact(&selector)).filter(|entry| {
            let freshness = entry.freshness(self.state.clock.now(), self.state.epoch());
            entry.asked_at() >= current.asked_at() && freshness != Freshness::Expired
        });
        let id = secret.map_or(&key.id, |secret| &secret.fetch_id);
        let wanted = Key { role: key.role.clone(), id: id.clone(), selector };
        if cached.is_some() || self.remembered_error(&wanted).is_some() {
            return None;
        }
        match self.fetch(&wanted).await {
            Ok(entry) => Some(entry),
            Err(error) => {
                if !error.kind.is_transient() {
                    current.marks.add_lacking(label);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cache::fixture::{Answer, Fixture, LATENCY, SECOND, Setup, arn, key};
    use crate::cache::freshness::{Policy, Refresh};
    use crate::cache::refresh;
    use crate::clock::Clock;
    use crate::secret::key::Key;
    use crate::secret::selector::Selector;
    use crate::source::FetchErrorKind;
    use std::time::Duration;

    async fn describe(fixture: &Fixture) -> (String, Vec<String>) {
        let (cache, key) = (&fixture.cache, key("app"));
        let started = fixture.clock.now();
        let current = cache.read(key.clone()).await.unwrap();
        let (current, versions) = cache.labelled_versions(&key, current, started).await;
        let mut versions: Vec<String> = versions
            .iter()
            .map(|entry| format!("{} {}", entry.version.id, entry.version.labels().join(" ")))
            .collect();
        versions.sort();
        (current.entry.version.id.to_string(), versions)
    }

    fn described(current: &str, versions: &[&str]) -> (String, Vec<String>) {
        (current.to_owned(), versions.iter().map(|version| (*version).to_owned()).collect())
    }

    const FIRST: Answer = Answer::Stages(&[(1, &["AWSCURRENT"])]);
    const ROTATED: Answer = Answer::Stages(&[(1, &["AWSPREVIOUS"]), (2, &["AWSCURRENT"])]);
    const ROTATING: Answer =
        Answer::Stages(&[(1, &["AWSPREVIOUS"]), (2, &["AWSCURRENT"]), (3, &["AWSPENDING"])]);

    #[tokio::test(start_paused = true)]
    async fn labels_are_found_by_calls_that_are_cached() {
        let fixture = Setup::default().build();
        fixture.script("app", ROTATING);
        let all = described("v2", &["v1 AWSPREVIOUS", "v2 AWSCURRENT", "v3 AWSPENDING"]);
        for _ in 0..3 {
            assert_eq!(describe(&fixture).await, all);
        }
        assert_eq!(fixture.calls(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn missing_label_is_asked_for_once_for_each_fetch_of_the_current_version() {
        let fixture = Setup::default().build();
        fixture.script("app", FIRST);
        for calls in [3, 3, 6] {
            if calls == 6 {
                fixture.pass(101 * SECOND).await;
            }
            assert_eq!(describe(&fixture).await, described("v1", &["v1 AWSCURRENT"]));
            fixture.pass(10 * SECOND).await;
            assert_eq!(fixture.calls(), calls);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn current_version_is_fetched_again_if_a_label_shows_that_it_is_the_previous_one() {
        for ttl in [100 * SECOND, Duration::ZERO] {
            let policy = Policy { ttl, ..Policy::default() };
            let fixture = Setup { policy, ..Setup::default() }.build();
            fixture.script("app", FIRST);
            fixture.cache.read(key("app")).await.unwrap();
            fixture.pass(LATENCY).await;
            fixture.script("app", ROTATED);
            let found = describe(&fixture).await;
            assert_eq!(found.0, "v2");
            assert!(found.1.contains(&"v1 AWSPREVIOUS".to_owned()), "{found:?}");
        }
    }

    /// AWS has moved `AWSCURRENT`, but the call for the new current version fails. Later requests
    /// make no further call until the back-off is over.
    #[tokio::test(start_paused = true)]
    async fn failed_fetch_of_the_moved_current_version_is_not_repeated_at_once() {
        for ttl in [100 * SECOND, Duration::ZERO] {
            let policy = Policy { ttl, ..Policy::default() };
            let fixture = Setup { policy, ..Setup::default() }.build();
            fixture.script("app", FIRST);
            let current = fixture.cache.read(key("app")).await.unwrap();
            fixture.pass(LATENCY).await;
            fixture.script("app", ROTATED);
            let previous = Key { selector: Selector::new(Some("AWSPREVIOUS"), None), ..key("app") };
            fixture.cache.read(previous).await.unwrap();
            fixture.script("app", Answer::Fail(FetchErrorKind::Throttled));
            let mut calls = Vec::new();
            for _ in 0..3 {
                let now = fixture.clock.now();
                fixture.cache.labelled_versions(&key("app"), current.clone(), now).await;
                calls.push(fixture.calls());
            }
            assert!(calls[1] == calls[0] && calls[2] == calls[0], "{ttl:?}: {calls:?}");
        }
    }

    /// Under the policy `always`, the agent refreshes the current version even without reads, but
    /// not the versions that it fetched only for `DescribeSecret`.
    #[tokio::test(start_paused = true)]
    async fn found_labels_are_not_refreshed_without_readers() {
        let policy = Policy { ttl: 100 * SECOND, refresh: Refresh::Always, ..Policy::default() };
        let fixture = Setup { policy, ..Setup::default() }.build();
        fixture.script("app", ROTATING);
        describe(&fixture).await;
        assert_eq!(fixture.calls(), 3);
        let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
        fixture.pass(1000 * SECOND).await;
        let refreshed = fixture.calls() - 3;
        assert!(
            (11..=15).contains(&refreshed),
            "the cache must make 11 to 15 calls in 1,000 s, but made {refreshed}"
        );
        refreshing.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn labels_follow_a_rotation_after_the_current_version_was_fetched() {
        let fixture = Setup::default().build();
        fixture.script("app", Answer::Stages(&[(0, &["AWSPREVIOUS"]), (1, &["AWSCURRENT"])]));
        let first = described("v1", &["v0 AWSPREVIOUS", "v1 AWSCURRENT"]);
        assert_eq!(describe(&fixture).await, first);
        fixture.script("app", ROTATED);
        fixture.pass(2 * SECOND).await;
        fixture.cache.read_now(key("app")).await.unwrap();
        let second = described("v2", &["v1 AWSPREVIOUS", "v2 AWSCURRENT"]);
        assert_eq!(describe(&fixture).await, second);
    }

    #[tokio::test(start_paused = true)]
    async fn outage_leaves_the_cached_labels() {
        let fixture = Setup::default().build();
        fixture.script("app", ROTATED);
        let all = described("v2", &["v1 AWSPREVIOUS", "v2 AWSCURRENT"]);
        assert_eq!(describe(&fixture).await, all);
        fixture.script("app", Answer::Fail(FetchErrorKind::Service));
        fixture.pass(101 * SECOND).await;
        let calls = fixture.calls();
        for _ in 0..2 {
            assert_eq!(describe(&fixture).await, all);
            assert_eq!(fixture.calls(), calls + 1, "only the current version must be fetched");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn removed_label_is_not_described() {
        let fixture = Setup::default().build();
        fixture.script("app", ROTATING);
        describe(&fixture).await;
        fixture.script("app", ROTATED);
        fixture.pass(2 * SECOND).await;
        fixture.cache.read_now(key(&arn("app"))).await.unwrap();
        let remaining = described("v2", &["v1 AWSPREVIOUS", "v2 AWSCURRENT"]);
        assert_eq!(describe(&fixture).await, remaining);
    }
}
