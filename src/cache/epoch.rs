//! Counts how often SnapStart has restored this process from a snapshot. This count is named
//! *epoch*.
//!
//! Lambda starts many environments from one snapshot, perhaps days after it was taken, and does not
//! notify extensions. The agent learns of a restore from the function's after-restore hook, if
//! there is one. Otherwise the clocks show the restore: the wall clock counts the time between
//! snapshot and restore, but the steady (monotonic) clock does not.

use crate::clock::Moment;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The minimum drift between the wall clock and the steady (monotonic) clock that shows a SnapStart
/// restore. A freeze of the process causes no drift, and time synchronisation causes a drift of
/// only milliseconds.
pub(super) const DRIFT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Epoch {
    count: AtomicU64,
    /// The wall-clock time minus the steady (monotonic) time, in milliseconds, at the start of the
    /// process or at the last SnapStart restore. `None` if the agent does not detect restores by
    /// the clocks.
    offset_ms: Option<AtomicI64>,
}

impl Epoch {
    pub(super) fn new(watches_clocks: bool, now: Moment) -> Self {
        let offset_ms = watches_clocks.then(|| AtomicI64::new(offset_ms(now)));
        Self { count: AtomicU64::new(0), offset_ms }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns `true` if the clocks show a SnapStart restore that was not reported before. Only one
    /// caller gets `true` for each restore.
    pub(super) fn detects_restore(&self, now: Moment) -> bool {
        let Some(known) = &self.offset_ms else { return false };
        let (offset, before) = (offset_ms(now), known.load(Ordering::Relaxed));
        u128::from(offset.abs_diff(before)) >= DRIFT.as_millis()
            && known.compare_exchange(before, offset, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn increment(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

fn offset_ms(now: Moment) -> i64 {
    let wall = now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    millis(wall).saturating_sub(millis(now.steady))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall_ms: u64, steady_ms: u64) -> Moment {
        let steady = Duration::from_millis(steady_ms);
        Moment { wall: SystemTime::UNIX_EPOCH + Duration::from_millis(wall_ms), steady }
    }

    #[test]
    fn restore_is_detected_once_when_the_clocks_drift_apart() {
        let epoch = Epoch::new(true, moment(10_000, 0));
        assert!(
            !epoch.detects_restore(moment(13_600_000, 13_590_000)),
            "a freeze must not count as a restore, because both clocks run on"
        );
        assert!(
            !epoch.detects_restore(moment(13_600_999, 13_590_000)),
            "time synchronisation must not count as a restore"
        );
        assert!(
            epoch.detects_restore(moment(99_000_000, 13_590_100)),
            "a wall clock that is a day ahead must count as a restore"
        );
        assert!(!epoch.detects_restore(moment(99_000_500, 13_590_600)));
        assert!(
            epoch.detects_restore(moment(99_000_600, 0)),
            "a steady clock that restarts at zero must count as a restore"
        );
    }

    #[test]
    fn reported_restore_counts_even_if_the_clocks_are_not_watched() {
        let epoch = Epoch::new(false, moment(0, 0));
        assert!(!epoch.detects_restore(moment(99_000_000, 0)));
        epoch.increment();
        assert_eq!(epoch.count(), 1);
    }
}
