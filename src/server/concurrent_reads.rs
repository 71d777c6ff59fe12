//! Reads the secrets of one HTTP request concurrently, with a limit on the number of concurrent
//! reads.

use crate::cache::flight::FLIGHTS_MAX;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::fmt;
use std::pin::Pin;

/// The maximum number of concurrent reads of secrets for one HTTP request.
///
/// This is a quarter of the limit on the agent's concurrent calls to AWS. So one request for many
/// uncached secrets cannot use up all these calls.
const READS_MAX: usize = FLIGHTS_MAX / 4;

/// A running read of one secret. Its result is the index of the read (0 for the first read of the
/// HTTP request), and the secret or an error.
type Numbered<'f, T> = Pin<Box<dyn Future<Output = (usize, T)> + Send + 'f>>;

/// The running reads of secrets for one HTTP request, at most [`READS_MAX`] at the same time.
pub(super) struct ConcurrentReads<'f, T, F> {
    running: FuturesUnordered<Numbered<'f, T>>,
    started: usize,
    on_outcome: F,
}

impl<'f, T: 'f, F: FnMut(usize, T)> ConcurrentReads<'f, T, F> {
    /// Creates an empty set of reads. When a read ends, `on_outcome` is called with the index of
    /// the read (0 for the first read) and its result.
    pub(super) fn new(on_outcome: F) -> Self {
        Self { running: FuturesUnordered::new(), started: 0, on_outcome }
    }

    /// Starts a read of a secret. If [`READS_MAX`] reads are already running, first waits until one
    /// of them has ended.
    pub(super) async fn start(&mut self, read: impl Future<Output = T> + Send + 'f) {
        while self.running.len() >= READS_MAX {
            self.await_one().await;
        }
        let number = self.started;
        self.started += 1;
        self.running.push(Box::pin(async move { (number, read.await) }));
    }

    pub(super) async fn finish(mut self) {
        while !self.running.is_empty() {
            self.await_one().await;
        }
    }

    async fn await_one(&mut self) {
        if let Some((number, outcome)) = self.running.next().await {
            (self.on_outcome)(number, outcome);
        }
    }
}

/// Runs all reads concurrently, within the limit of [`READS_MAX`]. Returns their results in the
/// order of `reads`.
pub(super) async fn read_all<'f, T: 'f, R>(reads: Vec<R>) -> Vec<T>
where
    R: Future<Output = T> + Send + 'f,
{
    let mut outcomes = Vec::new();
    let mut running = ConcurrentReads::new(|number: usize, read| outcomes.push((number, read)));
    for read in reads {
        running.start(read).await;
    }
    running.finish().await;
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, read)| read).collect()
}

/// Prints only the number of running reads, because the result of a read may contain a secret.
impl<T, F> fmt::Debug for ConcurrentReads<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrentReads")
            .field("running", &self.running.len())
            .finish_non_exhaustive()
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
    async fn reads_run_concurrently_and_keep_their_numbers() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let mut done = Vec::new();
        let mut reads = ConcurrentReads::new(|number, seconds| done.push((number, seconds)));
        for seconds in [3, 1, 0, 2] {
            reads.start(sleep(&clock, seconds)).await;
        }
        reads.finish().await;
        assert_eq!(done, [(2, 0), (1, 1), (3, 2), (0, 3)]);
        assert_eq!(clock.now().steady, Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn results_of_all_reads_have_the_order_of_the_reads() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let results =
            read_all(vec![sleep(&clock, 3), sleep(&clock, 1), sleep(&clock, 0), sleep(&clock, 2)])
                .await;
        assert_eq!(results, [3, 1, 0, 2]);
        assert_eq!(clock.now().steady, Duration::from_secs(3), "the reads must run concurrently");
    }

    #[tokio::test(start_paused = true)]
    async fn running_reads_are_limited_and_slow_one_delays_no_other() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let read = async |seconds| {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(&clock, seconds).await;
            running.fetch_sub(1, Ordering::Relaxed);
        };
        let mut done = 0;
        let mut reads = ConcurrentReads::new(|_, ()| done += 1);
        reads.start(read(100)).await;
        for _ in 0..70 {
            reads.start(read(1)).await;
        }
        assert_eq!(
            clock.now().steady,
            Duration::from_secs(9),
            "while the slow read runs, seven short reads must run concurrently"
        );
        reads.finish().await;
        assert_eq!(done, 71);
        assert_eq!(most.load(Ordering::Relaxed), READS_MAX);
    }
}
