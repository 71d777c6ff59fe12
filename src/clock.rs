//! Reads the clocks of the machine, and sleeps. All other modules get the time from this module.
//!
//! A [`Moment`] contains the readings of two clocks, because neither clock alone is reliable:
//!
//! - The wall clock can be set by an operator or by time synchronisation.
//! - The steady clock (a monotonic clock) cannot be set. But it may not count the time for which
//!   Lambda freezes the process, or for which Lambda SnapStart keeps the process in a snapshot.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

/// How far the wall clock may go back before Sidekey treats the ages of cached secrets as unknown.
///
/// Time synchronisation moves the clock by milliseconds only. After a larger step back, Sidekey
/// assumes that an operator has set the clock.
pub(crate) const WALL_STEP_BACK_MAX: Duration = Duration::from_secs(1);

/// A point in time, as the readings of the wall clock and of the steady clock (a monotonic clock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The date and the time of day, from the wall clock. An operator or time synchronisation can
    /// set the wall clock.
    pub wall: SystemTime,
    /// The time since the process started, from the steady clock: a monotonic clock, which cannot
    /// be set.
    pub steady: Duration,
}

impl Moment {
    /// Returns how much time passed from `earlier` to this moment.
    ///
    /// If the wall clock and the steady clock disagree, the longer time counts. One of the clocks
    /// may have stood still, and a cached secret must not look younger than it is.
    ///
    /// Returns `None` if the passed time is unknown: the wall clock went back by more than
    /// [`WALL_STEP_BACK_MAX`], or the steady clock went back at all.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let steady = self.steady.checked_sub(earlier.steady)?;
        match self.wall.duration_since(earlier.wall) {
            Ok(wall) => Some(wall.max(steady)),
            Err(back) if back.duration() <= WALL_STEP_BACK_MAX => Some(steady),
            Err(_) => None,
        }
    }

    #[cfg(test)]
    #[must_use]
    pub(crate) fn after(self, span: Duration) -> Self {
        Self { wall: self.wall + span, steady: self.steady + span }
    }
}

/// A future that completes when the requested time has passed.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of the current time that can also sleep. In tests, a clock that the test controls
/// replaces the clock of the machine.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time of both the wall clock and the steady clock.
    fn now(&self) -> Moment;
    /// Returns a future that completes when the time `span` has passed.
    fn sleep(&self, span: Duration) -> Sleep;
}

/// Runs `work` for at most the time `span`. Returns the result of `work`, or `None` if `work` took
/// too long.
///
/// If the process was frozen, `work` may complete although `span` has also passed. The function
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

/// The real clocks of the machine: its wall clock and its steady (monotonic) clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Creates a clock whose steady clock counts from this call.
    #[expect(
        clippy::disallowed_methods,
        reason = "only this type reads the machine's clocks for all other code"
    )]
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
    #[expect(
        clippy::disallowed_methods,
        reason = "only this type reads the machine's clocks for all other code"
    )]
    fn now(&self) -> Moment {
        Moment { wall: SystemTime::now(), steady: self.started.elapsed() }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "only implementations of the trait Clock may sleep"
    )]
    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A test clock that follows tokio's paused time, so that sleeps take no real time. A test can also
/// set the wall clock.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct VirtualClock {
    started: tokio::time::Instant,
    wall: std::sync::Mutex<SystemTime>,
    steady_began: std::sync::Mutex<Duration>,
}

#[cfg(test)]
impl VirtualClock {
    /// Creates a test clock whose wall clock shows `wall`. The test must use a tokio runtime with
    /// paused time.
    #[expect(
        clippy::disallowed_methods,
        reason = "this test clock must follow the paused time of tokio"
    )]
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

    /// Restarts the steady clock at zero, as if Lambda SnapStart had resumed the process on another
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

    #[expect(
        clippy::disallowed_methods,
        reason = "only implementations of the trait Clock may sleep"
    )]
    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Advances the wall clock by `wall` seconds and the steady clock by `steady` seconds. Checks
    /// that [`Moment::since`] then returns `expected` seconds.
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
