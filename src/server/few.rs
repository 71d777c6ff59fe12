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

/// Reads under way, and the outcomes of finished reads.
pub(super) struct Few<'f, T> {
    running: FuturesUnordered<Numbered<'f, T>>,
    done: Vec<Option<T>>,
}

impl<'f, T: 'f> Few<'f, T> {
    /// Starts with no read.
    pub(super) fn new() -> Self {
        Self { running: FuturesUnordered::new(), done: Vec::new() }
    }

    /// Starts a read, once fewer than [`READS_MAX`] others run.
    pub(super) async fn start(&mut self, read: impl Future<Output = T> + Send + 'f) {
        while self.running.len() >= READS_MAX {
            self.end_one().await;
        }
        let number = self.done.len();
        self.done.push(None);
        self.running.push(Box::pin(async move { (number, read.await) }));
    }

    /// Waits for all reads, and returns the outcomes, in the order in which the reads were started.
    pub(super) async fn all(mut self) -> Vec<T> {
        while !self.running.is_empty() {
            self.end_one().await;
        }
        self.done.into_iter().flatten().collect()
    }

    async fn end_one(&mut self) {
        if let Some((number, outcome)) = self.running.next().await {
            self.done[number] = Some(outcome);
        }
    }
}

/// Shows no outcome.
impl<T> fmt::Debug for Few<'_, T> {
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
    async fn reads_run_together_and_come_back_in_order() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let mut reads = Few::new();
        for seconds in [3, 1, 0, 2] {
            reads.start(sleep(&clock, seconds)).await;
        }
        assert_eq!(reads.all().await, [3, 1, 0, 2]);
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
        let mut reads = Few::new();
        reads.start(read(100)).await;
        for _ in 0..70 {
            reads.start(read(1)).await;
        }
        assert_eq!(clock.now().steady, Duration::from_secs(9), "seven a second run beside it");
        assert_eq!(reads.all().await.len(), 71);
        assert_eq!(most.load(Ordering::Relaxed), READS_MAX);
    }
}
