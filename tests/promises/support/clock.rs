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
    /// The time by which the wall clock is ahead of the monotonic clock, in addition to the start
    /// time.
    skipped: Mutex<Duration>,
}

impl ManualClock {
    /// Creates a clock that starts at the machine's current time. The AWS SDK compares credential
    /// expiries with the machine's time.
    #[expect(
        clippy::disallowed_methods,
        reason = "the machine's time is read once, as the start time"
    )]
    pub(crate) fn new() -> Arc<Self> {
        Self::at(SystemTime::now())
    }

    /// Creates a clock that starts at this time of day.
    pub(crate) fn at(started: SystemTime) -> Arc<Self> {
        let passed = watch::Sender::new(Duration::ZERO);
        Arc::new(Self { started, passed, skipped: Mutex::default() })
    }

    /// Advances both clocks and wakes the tasks whose sleep is over.
    pub(crate) fn advance(&self, span: Duration) {
        self.passed.send_modify(|passed| *passed += span);
    }

    /// Advances only the wall clock, as between a snapshot and its restore.
    pub(crate) fn advance_wall(&self, span: Duration) {
        *self.skipped.lock().expect("the lock is not poisoned") += span;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let passed = *self.passed.borrow();
        let skipped = *self.skipped.lock().expect("the lock is not poisoned");
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
