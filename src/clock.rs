//! Reads the clocks of the machine, and sleeps. All other modules get the time from this module.
//!
//! A [`Moment`] has the times of two clocks, because neither clock alone is reliable:
//!
//! - An operator or time synchronisation can set the wall clock.
//! - The steady clock (a monotonic clock) cannot be set. But it may not count the time for which
//!   Lambda SnapStart keeps the process in a snapshot.

pub mod freeze;

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant, SystemTime};

/// How far the wall clock may go back between the SnapStart snapshot of a process and its restore.
/// If the clock goes back further, the passed time is unknown.
///
/// Time synchronisation moves the wall clock by milliseconds only.
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
    /// If the wall clock and the steady clock show different times, the longer time counts, so that
    /// a cached secret never looks younger than it is.
    ///
    /// Returns `None` if the steady clock went back, because the passed time is then unknown. Only
    /// a SnapStart restore sets the steady clock back.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let steady = self.steady.checked_sub(earlier.steady)?;
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        Some(wall.max(steady))
    }

    /// Returns how much time passed from `earlier` to this moment if SnapStart restored the process
    /// in between.
    ///
    /// Returns `None` if the passed time is unknown: if the wall clock went back by more than
    /// [`WALL_STEP_BACK_MAX`], or if the steady clock went back at all.
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

/// A future that completes when the requested time has passed.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of the current time that can also sleep. In tests, a clock that the test controls
/// replaces the clock of the machine.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time of the wall clock and of the steady (monotonic) clock.
    fn now(&self) -> Moment;
    /// Returns the current time of the steady clock, without reading the wall clock.
    fn steady(&self) -> Duration {
        self.now().steady
    }
    /// Returns a future that completes when the time `span` has passed.
    fn sleep(&self, span: Duration) -> Sleep;
}

/// Runs `work` for at most the time `span`. Returns the result of `work`, or `None` if `work` took
/// too long.
///
/// If both `work` and `span` have ended, for example after a freeze of the process, the result is
/// returned.
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

/// Runs `work` to its end. Calls `announce` once if `work` takes longer than `patience`, for
/// example to tell the user why the program waits.
pub(crate) async fn announced<T>(
    clock: &dyn Clock,
    patience: Duration,
    announce: impl FnOnce(),
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    if let Some(done) = within(clock, patience, work.as_mut()).await {
        return done;
    }
    announce();
    work.await
}

/// The real clocks of the machine: its wall clock and its steady (monotonic) clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Creates a clock of the machine. Its steady (monotonic) time is counted from this call.
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
        Moment { wall: SystemTime::now(), steady: self.steady() }
    }

    fn steady(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "only implementations of the trait Clock may sleep"
    )]
    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A test clock that follows the paused time of the async runtime tokio, so that sleeps take no
/// real time. A test can also set the wall clock.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct VirtualClock {
    started: tokio::time::Instant,
    wall: std::sync::Mutex<SystemTime>,
    steady_began: std::sync::Mutex<Duration>,
}

#[cfg(test)]
impl VirtualClock {
    /// Creates a test clock whose wall clock shows `wall`. The test must pause the time of the
    /// async runtime tokio.
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
        *self.wall.lock().expect("no thread may panic while it holds the lock") += span;
    }

    /// Restarts the steady clock at zero, as if Lambda SnapStart had resumed the process on another
    /// machine.
    pub(crate) fn restart_steady(&self) {
        *self.steady_began.lock().expect("no thread may panic while it holds the lock") =
            self.started.elapsed();
    }

    pub(crate) fn step_back(&self, span: Duration) {
        *self.wall.lock().expect("no thread may panic while it holds the lock") -= span;
    }
}

#[cfg(test)]
impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        let elapsed = self.started.elapsed();
        Moment {
            wall: *self.wall.lock().expect("no thread may panic while it holds the lock") + elapsed,
            steady: elapsed
                - *self.steady_began.lock().expect("no thread may panic while it holds the lock"),
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

    const HOUR: f64 = 3600.0;

    /// Checks that the time `expected` passes if the wall clock advances by `wall` seconds and the
    /// steady clock by `steady` seconds. `across_restore` is the passed time if SnapStart restored
    /// the process in between.
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

    #[tokio::test(start_paused = true)]
    async fn only_long_work_is_announced() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        for (millis, expected) in [(999, 0), (1_001, 1), (60_000, 1)] {
            let mut count = 0;
            let work = clock.sleep(Duration::from_millis(millis));
            announced(&clock, Duration::from_secs(1), || count += 1, work).await;
            assert_eq!(count, expected, "work of {millis} ms");
        }
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
