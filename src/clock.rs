//! Reads the clocks and sleeps. All other code takes the time from this module.
//!
//! Lambda freezes the process between invocations. SnapStart may resume it from a snapshot on
//! another machine days later. No single clock is right after both. So a [`Moment`] contains the
//! readings of two clocks.
//!
//! The wall clock can be set by an operator or by time synchronisation. The steady clock cannot be
//! set, but it may not count the time between a snapshot and the resumption. So the steady clock
//! decides after the wall clock was set back, except across a resumption.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

/// How far the wall clock may go back across a SnapStart restore before the elapsed time is unknown.
/// Time synchronisation moves the wall clock by milliseconds only.
pub(crate) const WALL_STEP_BACK_MAX: Duration = Duration::from_secs(1);

/// A point in time, as the readings of the wall clock and of the steady clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The date and the time of day, from the wall clock. An operator or time synchronisation can
    /// set this clock.
    pub wall: SystemTime,
    /// The time since the process started, from the steady clock. This clock cannot be set.
    pub steady: Duration,
}

impl Moment {
    /// Returns how much time passed from `earlier` to this moment.
    ///
    /// If the two clocks disagree, the longer time counts: one clock may have stood still, and a
    /// cached value must not look younger than it is. If the wall clock was set back, the steady
    /// clock alone decides.
    ///
    /// Returns `None` if the steady clock went back, because the passed time is then unknown. Only a
    /// SnapStart restore sets the steady clock back.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let steady = self.steady.checked_sub(earlier.steady)?;
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        Some(wall.max(steady))
    }

    /// Returns how much time passed from `earlier` to this moment if SnapStart restored the process
    /// in between. The steady clock may not have counted the time until the restore, so the wall
    /// clock must show that time.
    ///
    /// Returns `None` if the wall clock went back by more than [`WALL_STEP_BACK_MAX`], or if the
    /// steady clock went back at all. The passed time is then unknown.
    pub(crate) fn since_before_restore(self, earlier: Self) -> Option<Duration> {
        match self.wall.duration_since(earlier.wall) {
            Err(back) if back.duration() > WALL_STEP_BACK_MAX => None,
            _ => self.since(earlier),
        }
    }

    #[cfg(test)]
    #[must_use]
    pub(crate) fn after(self, span: Duration) -> Self {
        Self { wall: self.wall + span, steady: self.steady + span }
    }
}

/// A future that completes when the sleep is over.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of the current time that can also sleep. In tests, a clock that the test controls
/// replaces the clock of the machine.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time of both the wall clock and the steady clock.
    fn now(&self) -> Moment;
    /// Returns a future that completes when the time `span` has passed.
    fn sleep(&self, span: Duration) -> Sleep;
}

/// Runs `work` for at most the time `span`. Returns its result, or `None` if it did not complete in
/// time.
///
/// If the process was frozen, both the work and the timeout may be over afterwards. The function
/// then returns the result.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    span: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = clock.sleep(span) => None,
    }
}

/// The real clocks of the machine.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Creates a clock whose steady clock starts at zero.
    #[expect(clippy::disallowed_methods, reason = "all other code reads the time from this clock")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "all other code reads the time from this clock")]
    fn now(&self) -> Moment {
        Moment { wall: SystemTime::now(), steady: self.started.elapsed() }
    }

    #[expect(clippy::disallowed_methods, reason = "all other code sleeps through this clock")]
    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A clock for tests. It follows tokio's paused time, so sleeps take no real time. A test can also
/// set its wall clock.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct VirtualClock {
    started: tokio::time::Instant,
    wall: std::sync::Mutex<SystemTime>,
    steady_began: std::sync::Mutex<Duration>,
}

#[cfg(test)]
impl VirtualClock {
    /// Creates a test clock whose wall clock shows `wall`. Needs a tokio runtime with paused time.
    #[expect(clippy::disallowed_methods, reason = "this test clock follows tokio's paused time")]
    pub(crate) fn starting_at(wall: SystemTime) -> Self {
        Self {
            started: tokio::time::Instant::now(),
            wall: std::sync::Mutex::new(wall),
            steady_began: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn step_forward(&self, span: Duration) {
        *self.wall.lock().expect("no thread panics while it holds the lock") += span;
    }

    /// Restarts the steady clock at zero, as if the process was resumed from a snapshot on another
    /// machine.
    pub(crate) fn restart_steady(&self) {
        *self.steady_began.lock().expect("no thread panics while it holds the lock") =
            self.started.elapsed();
    }

    pub(crate) fn step_back(&self, span: Duration) {
        *self.wall.lock().expect("no thread panics while it holds the lock") -= span;
    }
}

#[cfg(test)]
impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        let elapsed = self.started.elapsed();
        Moment {
            wall: *self.wall.lock().expect("no thread panics while it holds the lock") + elapsed,
            steady: elapsed
                - *self.steady_began.lock().expect("no thread panics while it holds the lock"),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "all other code sleeps through this clock")]
    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3600.0;

    /// Advances the wall clock by `wall` seconds and the steady clock by `steady` seconds. The time
    /// that passed must then be `expected`, or `across_restore` if SnapStart restored the process
    /// meanwhile.
    #[track_caller]
    fn check(wall: f64, steady: f64, expected: Option<f64>, across_restore: Option<f64>) {
        let at = |wall, steady| Moment {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs_f64(wall),
            steady: Duration::from_secs_f64(steady),
        };
        let (earlier, now) = (at(2.0 * HOUR, HOUR), at(2.0 * HOUR + wall, HOUR + steady));
        assert_eq!(now.since(earlier), expected.map(Duration::from_secs_f64));
        let found = now.since_before_restore(earlier);
        assert_eq!(found, across_restore.map(Duration::from_secs_f64));
    }

    #[test]
    fn larger_elapsed_time_counts() {
        check(5.0, 5.0, Some(5.0), Some(5.0));
        check(60.0, 5.0, Some(60.0), Some(60.0));
        check(5.0, 60.0, Some(60.0), Some(60.0));
    }

    #[test]
    fn small_step_back_of_the_wall_clock_is_ignored() {
        check(-1.0, 5.0, Some(5.0), Some(5.0));
    }

    #[test]
    fn steady_clock_decides_if_the_wall_clock_was_set_back() {
        check(-1.5, 5.0, Some(5.0), None);
        check(-HOUR, 0.0, Some(0.0), None);
        check(-HOUR, HOUR / 2.0, Some(HOUR / 2.0), None);
    }

    #[test]
    fn steady_clock_that_went_back_makes_the_age_unknown() {
        check(5.0, -0.5, None, None);
    }
}
