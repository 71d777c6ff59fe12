//! Describes a failed attempt to fetch a secret, and decides how long to wait before the next
//! attempt.

use super::{freshness, rollback};
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::source::{FetchError, FetchErrorKind};
use std::time::Duration;

/// The last failed attempt to fetch a secret, and how many attempts have failed in a row.
#[derive(Clone, Debug)]
pub struct Failure {
    pub(crate) error: FetchError,
    pub(crate) count: u32,
    /// When the fetch of the secret first failed with an error that is not transient, such as
    /// denied access. `None` if no such error has occurred since the last successful fetch.
    pub(crate) refused_since: Option<Moment>,
    /// When the last attempt to fetch the secret failed.
    pub at: Moment,
    /// How long the agent waits after a failed fetch of the secret before it tries again by itself.
    pub(crate) wait: Duration,
    /// How long the agent answers requests with the error of the failed fetch, without a new call
    /// to AWS.
    memory: Duration,
}

impl Failure {
    /// Describes an attempt to fetch a secret that has just failed. `previous` describes the
    /// attempt before it. It is `None` if that attempt succeeded, or if there was none.
    ///
    /// `most` is the longest wait after a transient failure. The random number `draw` from `[0, 1)`
    /// decides the length of the wait.
    pub fn after(
        previous: Option<&Self>,
        error: FetchError,
        now: Moment,
        most: Duration,
        draw: f64,
    ) -> Self {
        let count = previous.map_or(0, |previous| previous.count).saturating_add(1);
        let is_refusal = !error.kind.is_transient();
        let first = previous.and_then(|previous| previous.refused_since);
        let back_off_max = if is_refusal { freshness::BACK_OFF_MAX } else { most };
        let back_off = freshness::back_off(count, back_off_max, draw);
        // Remember a refusal for only a few seconds, so that requests succeed soon after an
        // operator has granted access.
        let (memory, wait) = match error.kind {
            FetchErrorKind::Lagging => (rollback::AGREE_AFTER, rollback::AGREE_AFTER),
            _ if is_refusal => (freshness::REFUSAL_MEMORY, back_off.max(freshness::REFUSAL_MEMORY)),
            // If no value is cached, requests must succeed soon after an outage has ended.
            _ => (back_off.min(freshness::EMPTY_BACK_OFF_MAX), back_off),
        };
        // A call by the secret's name and a call by its ARN may overlap. The failure of one call
        // must not shorten the wait after the refusal of the other call.
        let left = previous.map(|previous| (previous.memory_left(now), previous.retry_in(now)));
        let (memory_left, retry_in) = left.unwrap_or_default();
        Self {
            error,
            count,
            refused_since: first.or_else(|| is_refusal.then_some(now)),
            at: now,
            wait: wait.max(retry_in),
            memory: memory.max(memory_left),
        }
    }

    /// Limits to `most` both the time before the next attempt and the time for which requests get
    /// the error of this failure. For example, Sidekey reads no replica while the cached version is
    /// fresh. As soon as that version is no longer fresh, Sidekey must be able to make another
    /// attempt, which may read a replica.
    #[must_use]
    pub(crate) fn for_at_most(self, most: Duration) -> Self {
        let most = most.max(freshness::BACK_OFF_MIN);
        Self { wait: self.wait.min(most), memory: self.memory.min(most), ..self }
    }

    pub(crate) fn is_remembered(&self, now: Moment) -> bool {
        !self.memory_left(now).is_zero()
    }

    /// Returns how long after `now` the agent must wait before it fetches the secret again by
    /// itself. Returns zero if this time is unknown, because a SnapStart restore set the steady
    /// (monotonic) clock back.
    pub fn retry_in(&self, now: Moment) -> Duration {
        self.left(self.wait, now)
    }

    fn memory_left(&self, now: Moment) -> Duration {
        self.left(self.memory, now)
    }

    fn left(&self, span: Duration, now: Moment) -> Duration {
        now.since(self.at).map_or(Duration::ZERO, |since| span.saturating_sub(since))
    }
}

/// Returns `true` if AWS refused the call for `wanted`, but `key` asks for another staging label or
/// version id, to which the refusal does not apply.
pub(super) fn is_refusal_of_another(error: &FetchError, wanted: &Key, key: &Key) -> bool {
    wanted.selector != key.selector && !error.kind.is_transient()
}
