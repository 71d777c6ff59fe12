//! Counts the restores of a SnapStart snapshot.
//!
//! Lambda takes a snapshot of the environment once it is up, and starts others from it, days later
//! and many at once. Nothing tells an extension: the function's after-restore code may, and the
//! clocks do, since only the wall clock knows of the time in between.

use crate::clock::Moment;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// By how much the two clocks must have come apart for the process to have been restored. Through a
/// freeze both run on; time synchronisation moves the wall clock by milliseconds.
pub(super) const DRIFT: Duration = Duration::from_secs(1);

/// How often the process has been restored, as far as it knows.
#[derive(Debug)]
pub(super) struct Epoch {
    count: AtomicU64,
    /// How far the wall clock was ahead of the steady one, in milliseconds, where that is watched.
    offset_ms: Option<AtomicI64>,
}

impl Epoch {
    /// Begins with none. With `watches`, clocks that come apart count as a restore.
    pub(super) fn new(watches: bool, now: Moment) -> Self {
        let offset_ms = watches.then(|| AtomicI64::new(offset_ms(now)));
        Self { count: AtomicU64::new(0), offset_ms }
    }

    /// Returns the number of restores that are known. It takes no lock.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns whether the clocks tell of a restore at `now` that is not known: to the first who asks,
    /// and to nobody else. It takes no lock.
    pub(super) fn detects_restore(&self, now: Moment) -> bool {
        let Some(known) = &self.offset_ms else { return false };
        let (offset, before) = (offset_ms(now), known.load(Ordering::Relaxed));
        u128::from(offset.abs_diff(before)) >= DRIFT.as_millis()
            && known.compare_exchange(before, offset, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Counts a restore.
    pub(super) fn increment(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

fn offset_ms(now: Moment) -> i64 {
    let wall = now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    millis(wall).saturating_sub(millis(now.steady))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall_ms: u64, steady_ms: u64) -> Moment {
        let steady = Duration::from_millis(steady_ms);
        Moment { wall: SystemTime::UNIX_EPOCH + Duration::from_millis(wall_ms), steady }
    }

    #[test]
    fn clocks_that_come_apart_are_news_once() {
        let epoch = Epoch::new(true, moment(10_000, 0));
        assert!(!epoch.detects_restore(moment(13_600_000, 13_590_000)), "a freeze: both ran on");
        assert!(!epoch.detects_restore(moment(13_600_999, 13_590_000)), "time synchronisation");
        assert!(epoch.detects_restore(moment(99_000_000, 13_590_100)), "a restore a day later");
        assert!(!epoch.detects_restore(moment(99_000_500, 13_590_600)));
        assert!(epoch.detects_restore(moment(99_000_600, 0)), "a steady clock that began anew");
    }

    #[test]
    fn unwatched_clocks_are_no_news_and_a_word_counts_always() {
        let epoch = Epoch::new(false, moment(0, 0));
        assert!(!epoch.detects_restore(moment(99_000_000, 0)));
        epoch.increment();
        assert_eq!(epoch.count(), 1);
    }
}
