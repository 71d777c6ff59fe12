//! A clock that stands still until a test moves it.

use sidekey::clock::{Clock, Moment, Sleep};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// A clock that only [`pass`](Self::pass) moves. Sockets run on meanwhile, which they would not
/// under tokio's paused time.
#[derive(Debug)]
pub(crate) struct ManualClock {
    started: SystemTime,
    passed: watch::Sender<Duration>,
    /// How far the wall clock is ahead of the steady one, beyond where it started.
    skipped: Mutex<Duration>,
}

impl ManualClock {
    /// Starts at the machine's time of day, by which the AWS SDK judges credentials.
    #[expect(clippy::disallowed_methods, reason = "where the clock starts, no more")]
    pub(crate) fn new() -> Arc<Self> {
        Self::at(SystemTime::now())
    }

    /// Starts at a time of day.
    pub(crate) fn at(started: SystemTime) -> Arc<Self> {
        let passed = watch::Sender::new(Duration::ZERO);
        Arc::new(Self { started, passed, skipped: Mutex::default() })
    }

    /// Lets time pass, and wakes whoever slept until then.
    pub(crate) fn pass(&self, span: Duration) {
        self.passed.send_modify(|passed| *passed += span);
    }

    /// Lets time pass that only the wall clock knows of, as between a snapshot and a restore.
    pub(crate) fn skip(&self, span: Duration) {
        *self.skipped.lock().expect("no holder panics") += span;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let passed = *self.passed.borrow();
        let skipped = *self.skipped.lock().expect("no holder panics");
        Moment { wall: self.started + passed + skipped, steady: passed }
    }

    fn sleep(&self, span: Duration) -> Sleep {
        let mut passed = self.passed.subscribe();
        let end = *passed.borrow() + span;
        Box::pin(async move {
            // An error means that the clock is gone, and with it whoever slept by it.
            let _ = passed.wait_for(|passed| *passed >= end).await;
        })
    }
}
