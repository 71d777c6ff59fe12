//! Virtual time and the queue of future events.

use sidekey::clock::Moment;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime};

/// Microseconds since the start of the simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Micros(pub(crate) u64);

impl Micros {
    /// Returns the first time that is at least `span` later. The time is rounded up, so that a wait
    /// never ends early.
    pub(crate) fn after(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns what the wall clock and the monotonic clock show at this time.
    pub(crate) fn moment(self) -> Moment {
        let span = Duration::from_micros(self.0);
        Moment { wall: SystemTime::UNIX_EPOCH + span, steady: span }
    }
}

/// The future events of a simulation, in order of time. Events at the same time keep the order in
/// which they were added.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Micros, u64, T)>>,
    put: u64,
}

impl<T: Ord> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), put: 0 }
    }

    /// Adds an event that happens at the time `at`.
    pub(crate) fn put(&mut self, at: Micros, event: T) {
        self.put += 1;
        self.heap.push(Reverse((at, self.put, event)));
    }

    /// Removes the next event. Returns the event and its time.
    pub(crate) fn take(&mut self) -> Option<(Micros, T)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}
