//! Reads the clocks and sleeps. All other code takes the time from this module.
//!
//! Lambda freezes the process between invocations, and SnapStart restores it on another machine
//! days later. No single clock is right in both cases. So a [`Moment`] has the readings of two
//! clocks. The wall clock can be set by an operator or by time synchronisation. The steady clock
//! cannot be set, but may not count the time between a snapshot and its restore.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

/// How far the wall clock may go back before Sidekey treats the ages of cached values as unknown.
///
/// Time synchronisation moves the clock only by milliseconds. A larger step means that an operator
/// set the clock.
pub(crate) const WALL_STEP_BACK_MAX: Duration = Duration::from_secs(1);

/// A point in time, as the readings of the wall clock and of the steady clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The reading of the wall clock: the date and the time of day. An operator or time
    /// synchronisation can set this clock.
    pub wall: SystemTime,
    /// The reading of the steady clock: the time since the process started. No operator can set
    /// this clock.
    pub steady: Duration,
}

impl Moment {
    /// Returns how much time passed from `earlier` to this moment.
    ///
    /// If the two clocks measured different times, the longer time counts. A clock that stood still
    /// must not make a cached value look younger.
    ///
    /// Returns `None` if the wall clock went back by more than [`WALL_STEP_BACK_MAX`], or if the
    /// steady clock went back at all.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let steady = self.steady.checked_sub(earlier.steady)?;
        match self.wall.duration_since(earlier.wall) {
            Ok(wall) => Some(wall.max(steady)),
            Err(back) if back.duration() <= WALL_STEP_BACK_MAX => Some(steady),
            Err(_) => None,
        }
    }

    /// Returns the moment that is `span` later on both clocks.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn after(self, span: Duration) -> Self {
        Self { wall: self.wall + span, steady: self.steady + span }
    }
}

/// A future that completes when a sleep is over.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock that tells the current time and can sleep. Tests replace the clock of the machine by a
/// clock that they control.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current readings of the wall clock and the steady clock.
    fn now(&self) -> Moment;
    /// Returns a future that completes when the time `span` has passed.
    fn sleep(&self, span: Duration) -> Sleep;
}

/// Runs `work` with the timeout `span`. Returns the result of `work`, or `None` after a timeout.
///
/// After a freeze of the process, `work` may be complete although the timeout has passed. The
/// result of `work` then counts.
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
    /// Makes a clock that reads the machine's clocks. The steady clock starts at zero.
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

/// A clock for tests. The clock follows the paused time of tokio, and a test can set the wall
/// clock.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct VirtualClock {
    started: tokio::time::Instant,
    wall: std::sync::Mutex<SystemTime>,
    steady_began: std::sync::Mutex<Duration>,
}

#[cfg(test)]
impl VirtualClock {
    /// Makes a test clock whose wall clock shows `wall` now. Needs a tokio runtime with paused
    /// time.
    #[expect(clippy::disallowed_methods, reason = "this test clock follows tokio's paused time")]
    pub(crate) fn starting_at(wall: SystemTime) -> Self {
        Self {
            started: tokio::time::Instant::now(),
            wall: std::sync::Mutex::new(wall),
            steady_began: std::sync::Mutex::default(),
        }
    }

    /// Sets the wall clock forward by `span`. The steady clock does not change.
    pub(crate) fn step_forward(&self, span: Duration) {
        *self.wall.lock().expect("no thread panics while it holds the lock") += span;
    }

    /// Restarts the steady clock at zero. This happens when a snapshot of the process is restored
    /// on another machine.
    pub(crate) fn restart_steady(&self) {
        *self.steady_began.lock().expect("no thread panics while it holds the lock") =
            self.started.elapsed();
    }

    /// Sets the wall clock back by `span`. The steady clock does not change.
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

    /// Checks [`Moment::since`] after the wall clock advanced by `wall` seconds and the steady
    /// clock by `steady` seconds.
    #[track_caller]
    fn check(wall: f64, steady: f64, expected: Option<f64>) {
        let hour = Duration::from_secs(3600);
        let earlier = Moment { wall: SystemTime::UNIX_EPOCH + hour, steady: hour };
        let now = Moment {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs_f64(3600.0 + wall),
            steady: Duration::from_secs_f64(3600.0 + steady),
        };
        assert_eq!(now.since(earlier), expected.map(Duration::from_secs_f64));
    }

    #[test]
    fn larger_elapsed_time_counts() {
        check(5.0, 5.0, Some(5.0));
        check(60.0, 5.0, Some(60.0));
        check(5.0, 60.0, Some(60.0));
    }

    #[test]
    fn small_step_back_of_the_wall_clock_is_ignored() {
        check(-1.0, 5.0, Some(5.0));
    }

    #[test]
    fn clock_that_went_back_makes_the_age_unknown() {
        check(-1.5, 5.0, None);
        check(5.0, -0.5, None);
    }
}
