//! Virtual time, and what is to happen in it.

use sidekey::clock::Moment;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime};

/// Microseconds since the simulation began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Micros(pub(crate) u64);

impl Micros {
    /// Returns the first time that is `span` later: a wait that is not over is not cut short.
    pub(crate) fn after(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span))
    }

    /// Returns the time since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns the reading of both clocks at this time.
    pub(crate) fn moment(self) -> Moment {
        let span = Duration::from_micros(self.0);
        Moment { wall: SystemTime::UNIX_EPOCH + span, steady: span }
    }
}

/// What is to happen, the earliest first; of what happens at the same time, what was put first.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Micros, u64, T)>>,
    put: u64,
}

impl<T: Ord> Queue<T> {
    /// Makes an empty queue.
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), put: 0 }
    }

    /// Puts what happens at `at`.
    pub(crate) fn put(&mut self, at: Micros, event: T) {
        self.put += 1;
        self.heap.push(Reverse((at, self.put, event)));
    }

    /// Takes what happens next.
    pub(crate) fn take(&mut self) -> Option<(Micros, T)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}
