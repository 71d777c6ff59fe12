//! A clock that advances only when a test says so.

use sidekey::clock::{Clock, Moment, Sleep};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// A clock that only [`advance`](Self::advance) moves. Unlike tokio's paused time, this clock
/// leaves socket operations in real time.
#[derive(Debug)]
pub(crate) struct ManualClock {
    started: SystemTime,
    passed: watch::Sender<Duration>,
    /// The time by which a test has advanced only the wall clock, and not the monotonic clock.
    skipped: Mutex<Duration>,
}

impl ManualClock {
    /// Creates a clock that starts at the current time, because the AWS SDK compares the expiry of
    /// credentials with the current time.
    #[expect(clippy::disallowed_methods, reason = "the clock of the test starts at the real time")]
    pub(crate) fn new() -> Arc<Self> {
        Self::at(SystemTime::now())
    }

    /// Creates a clock that starts at the time `started`.
    pub(crate) fn at(started: SystemTime) -> Arc<Self> {
        let passed = watch::Sender::new(Duration::ZERO);
        Arc::new(Self { started, passed, skipped: Mutex::default() })
    }

    /// Advances the wall clock and the monotonic clock, and wakes the tasks whose sleep is over.
    pub(crate) fn advance(&self, span: Duration) {
        self.passed.send_modify(|passed| *passed += span);
    }

    /// Advances only the wall clock, as when a Lambda snapshot is restored.
    pub(crate) fn advance_wall(&self, span: Duration) {
        *self.skipped.lock().expect("no thread may panic while it holds the lock") += span;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let passed = *self.passed.borrow();
        let skipped = *self.skipped.lock().expect("no thread may panic while it holds the lock");
        Moment { wall: self.started + passed + skipped, steady: passed }
    }

    fn sleep(&self, span: Duration) -> Sleep {
        let mut passed = self.passed.subscribe();
        let end = *passed.borrow() + span;
        Box::pin(async move {
            // An error means that the clock was dropped, so no task depends on this sleep.
            let _ = passed.wait_for(|passed| *passed >= end).await;
        })
    }
}
