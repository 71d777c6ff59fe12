//! Tells the time and sleeps. Nothing else does either.
//!
//! Lambda freezes the process between invocations, and SnapStart restores it on another machine
//! days later. No one clock is right through both, so a [`Moment`] is read off two: the wall clock,
//! which can be set, and a steady one, which can lose the time spent in a snapshot.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

/// How far the wall clock may step back before an age counts as unknown.
///
/// Time synchronisation moves a clock by milliseconds; more than this is somebody setting it.
pub const WALL_STEP_BACK_MAX: Duration = Duration::from_secs(1);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day.
    pub wall: SystemTime,
    /// Time since the clock was made, which nobody sets.
    pub steady: Duration,
}

impl Moment {
    /// Returns how much time has passed since `earlier`, or `None` where that cannot be known.
    ///
    /// The larger of the two elapsed times counts, since a clock that stood still must not make a
    /// value look younger. A wall clock that ran backwards by more than [`WALL_STEP_BACK_MAX`], or
    /// a steady one that ran backwards at all, says nothing about the age.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let steady = self.steady.checked_sub(earlier.steady)?;
        match self.wall.duration_since(earlier.wall) {
            Ok(wall) => Some(wall.max(steady)),
            Err(back) if back.duration() <= WALL_STEP_BACK_MAX => Some(steady),
            Err(_) => None,
        }
    }

    /// Returns the moment `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self { wall: self.wall + span, steady: self.steady + span }
    }
}

/// A sleep under way.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time and sleeps.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the present moment.
    fn now(&self) -> Moment;
    /// Completes once `span` has passed.
    fn sleep(&self, span: Duration) -> Sleep;
}

/// Returns what `work` returns, or `None` where it takes longer than `span`.
///
/// Work that is ready when the span ends counts as done: after a freeze both are ready at once.
pub async fn within<T>(
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

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts the steady clock at zero.
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clocks")]
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
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clocks")]
    fn now(&self) -> Moment {
        Moment { wall: SystemTime::now(), steady: self.started.elapsed() }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A clock that runs on tokio's paused time and whose wall clock a test can move.
#[cfg(any(test, feature = "dev"))]
#[derive(Debug)]
pub struct VirtualClock {
    started: tokio::time::Instant,
    wall: std::sync::Mutex<SystemTime>,
    steady_began: std::sync::Mutex<Duration>,
}

#[cfg(any(test, feature = "dev"))]
impl VirtualClock {
    /// Starts a clock that says `wall` now. Needs a tokio runtime whose time is paused.
    #[expect(clippy::disallowed_methods, reason = "tokio's paused time is what drives this clock")]
    pub fn starting_at(wall: SystemTime) -> Self {
        Self {
            started: tokio::time::Instant::now(),
            wall: std::sync::Mutex::new(wall),
            steady_began: std::sync::Mutex::default(),
        }
    }

    /// Sets the wall clock forward by `span` while the steady clock stands still.
    pub fn step_forward(&self, span: Duration) {
        *self.wall.lock().expect("no holder panics") += span;
    }

    /// Has the steady clock begin anew, as on another machine after a restore.
    pub fn restart_steady(&self) {
        *self.steady_began.lock().expect("no holder panics") = self.started.elapsed();
    }

    /// Sets the wall clock back by `span`.
    pub fn step_back(&self, span: Duration) {
        *self.wall.lock().expect("no holder panics") -= span;
    }
}

#[cfg(any(test, feature = "dev"))]
impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        let elapsed = self.started.elapsed();
        Moment {
            wall: *self.wall.lock().expect("no holder panics") + elapsed,
            steady: elapsed - *self.steady_began.lock().expect("no holder panics"),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the age at clocks that stand `wall` and `steady` seconds after an earlier reading.
    #[track_caller]
    fn check(wall: f64, steady: f64, expected: Option<f64>) {
        let hour = Duration::from_secs(3600);
        let earlier = Moment { wall: SystemTime::UNIX_EPOCH + hour, steady: hour };
        let shift = |seconds: f64| Duration::from_secs_f64(3600.0 + seconds);
        let now = Moment { wall: SystemTime::UNIX_EPOCH + shift(wall), steady: shift(steady) };
        assert_eq!(now.since(earlier), expected.map(Duration::from_secs_f64));
    }

    #[test]
    fn the_larger_elapsed_time_counts() {
        check(5.0, 5.0, Some(5.0));
        check(60.0, 5.0, Some(60.0));
        check(5.0, 60.0, Some(60.0));
    }

    #[test]
    fn a_small_step_back_is_time_synchronisation() {
        check(-1.0, 5.0, Some(5.0));
    }

    #[test]
    fn a_clock_that_ran_backwards_makes_the_age_unknown() {
        check(-1.5, 5.0, None);
        check(5.0, -0.5, None);
    }
}
