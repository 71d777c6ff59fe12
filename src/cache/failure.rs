//! A failed attempt to fetch a secret, and how long to wait before the next attempt.

use super::{freshness, rollback};
use crate::clock::Moment;
use crate::source::{FetchError, FetchErrorKind};
use std::time::Duration;

/// The last failed attempt to fetch a secret, and how many attempts have failed in a row.
#[derive(Clone, Debug)]
pub struct Failure {
    pub(crate) error: FetchError,
    /// How many attempts to fetch the secret have failed in a row.
    pub(crate) count: u32,
    /// When AWS first refused the secret since the last success, for example denied access to it.
    /// `None` if AWS has not refused the secret.
    pub(crate) refused_since: Option<Moment>,
    /// When the last attempt to fetch the secret ended.
    pub at: Moment,
    /// The back-off: how long the agent waits after the last failed attempt before it retries by
    /// itself.
    pub(crate) wait: Duration,
    /// How long after the last failed attempt a reader gets the error at once. After this time, a
    /// reader causes a new attempt.
    memory: Duration,
}

impl Failure {
    /// Makes the record of an attempt that has just failed. `previous` is the record of the
    /// attempts that failed before in a row. `most` is the longest back-off after a transient
    /// failure. `draw` is a random number from `[0, 1)`. It decides the length of the back-off.
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
        // Readers get a remembered refusal for only a few seconds, even after many refusals: an
        // operator who has just granted access must not wait for long.
        let (memory, wait) = match error.kind {
            FetchErrorKind::Lagging => (rollback::AGREE_AFTER, rollback::AGREE_AFTER),
            _ if is_refusal => (freshness::REFUSAL_MEMORY, back_off.max(freshness::REFUSAL_MEMORY)),
            // If no value is cached, readers must soon notice that an outage is over.
            _ => (back_off.min(freshness::EMPTY_BACK_OFF_MAX), back_off),
        };
        // Two calls for one secret, by its name and by its ARN, may overlap. If one call is refused
        // and then the other call fails transiently, the failure must not shorten the wait that the
        // refusal set.
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

    /// Returns whether readers at `now` get this error at once, without a new attempt.
    pub(crate) fn is_remembered(&self, now: Moment) -> bool {
        !self.memory_left(now).is_zero()
    }

    /// Returns how long after `now` the agent must still wait before it retries by itself. Returns
    /// zero if a SnapStart restore set the steady clock back, because the remaining time is then
    /// unknown.
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
