//! The reads of one request, a few of them at once.

use crate::cache::flight::FLIGHTS_MAX;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::fmt;
use std::pin::Pin;

/// The most reads of one request that wait for AWS at once: a quarter of all calls, so that a request
/// with many unknown names leaves room for others.
const READS_MAX: usize = FLIGHTS_MAX / 4;

/// A read that ends with the number by which it was started.
type Numbered<'f, T> = Pin<Box<dyn Future<Output = (usize, T)> + Send + 'f>>;

/// Reads under way. Each finished read is handed to `take`, with the number by which it was started.
pub(super) struct Few<'f, T, F> {
    running: FuturesUnordered<Numbered<'f, T>>,
    started: usize,
    take: F,
}

impl<'f, T: 'f, F: FnMut(usize, T)> Few<'f, T, F> {
    /// Starts with no read.
    pub(super) fn new(take: F) -> Self {
        Self { running: FuturesUnordered::new(), started: 0, take }
    }

    /// Starts a read, once fewer than [`READS_MAX`] others run.
    pub(super) async fn start(&mut self, read: impl Future<Output = T> + Send + 'f) {
        while self.running.len() >= READS_MAX {
            self.end_one().await;
        }
        let number = self.started;
        self.started += 1;
        self.running.push(Box::pin(async move { (number, read.await) }));
    }

    /// Waits for all reads.
    pub(super) async fn finish(mut self) {
        while !self.running.is_empty() {
            self.end_one().await;
        }
    }

    async fn end_one(&mut self) {
        if let Some((number, outcome)) = self.running.next().await {
            (self.take)(number, outcome);
        }
    }
}

/// Shows no outcome.
impl<T, F> fmt::Debug for Few<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Few").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, VirtualClock};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, SystemTime};

    async fn sleep(clock: &VirtualClock, seconds: u64) -> u64 {
        clock.sleep(Duration::from_secs(seconds)).await;
        seconds
    }

    #[tokio::test(start_paused = true)]
    async fn reads_run_together_and_keep_their_numbers() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let mut done = Vec::new();
        let mut reads = Few::new(|number, seconds| done.push((number, seconds)));
        for seconds in [3, 1, 0, 2] {
            reads.start(sleep(&clock, seconds)).await;
        }
        reads.finish().await;
        assert_eq!(done, [(2, 0), (1, 1), (3, 2), (0, 3)]);
        assert_eq!(clock.now().steady, Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_few_run_at_once_and_a_slow_one_holds_up_no_other() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let read = async |seconds| {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(&clock, seconds).await;
            running.fetch_sub(1, Ordering::Relaxed);
        };
        let mut done = 0;
        let mut reads = Few::new(|_, ()| done += 1);
        reads.start(read(100)).await;
        for _ in 0..70 {
            reads.start(read(1)).await;
        }
        assert_eq!(clock.now().steady, Duration::from_secs(9), "seven a second run beside it");
        reads.finish().await;
        assert_eq!(done, 71);
        assert_eq!(most.load(Ordering::Relaxed), READS_MAX);
    }
}
