//! Limits how much memory all concurrent `/resolve` requests may use together.
//!
//! The body of such a request can take 6 MiB. Without a limit, a few dozen concurrent requests
//! would use more memory than a small container has.

use super::body::{BODY_BYTES_MAX, BODY_TIME_MAX, MESSAGES_BYTES_MAX};
use super::problem::Problem;
use crate::clock::{Clock, within};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum memory of all concurrent small `/resolve` requests, in bytes. A request is small if
/// its body has at most 64 KiB. About 100 requests with a body of 2 KB fit.
const SMALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The maximum memory of all concurrent large `/resolve` requests, in bytes. A request is large if
/// its body has more than 64 KiB. The largest request takes 10 MiB: 6 MiB for its body, and 4 MiB
/// for other data.
const LARGE_BYTES_MAX: usize = 12 * 1024 * 1024;

/// The memory of a large `/resolve` request in addition to its body, in bytes. It is enough for the
/// names and ARNs of secrets, for one parsed message, or for the answer. These are not in memory at
/// the same time.
const LARGE_EXTRA_BYTES: usize = 4 * 1024 * 1024;

/// The fixed part of the memory that a small `/resolve` request reserves, in bytes. The variable
/// part is nine times the size of the request's body.
const SMALL_EXTRA_BYTES: usize = 16 * 1024;

/// The unit in which memory is reserved, in bytes. One permit of a semaphore stands for one unit.
const UNIT_BYTES: usize = 1024;

/// The memory that all concurrent `/resolve` requests may use together. Small requests have a
/// separate budget, so that they need not wait for large requests, which are slow.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// Memory that is reserved for one `/resolve` request, until this value is dropped.
#[derive(Debug)]
pub(crate) struct Reservation(
    #[expect(dead_code, reason = "dropping the permit frees the memory for other requests")]
    OwnedSemaphorePermit,
);

impl Default for MemoryBudget {
    fn default() -> Self {
        Self { small: pool(SMALL_BYTES_MAX), large: pool(LARGE_BYTES_MAX) }
    }
}

impl MemoryBudget {
    /// Reserves memory for a `/resolve` request whose body has `declared` bytes (`None` if the
    /// length is unknown). Waits until enough memory is free.
    ///
    /// # Errors
    ///
    /// Fails if not enough memory becomes free within [`BODY_TIME_MAX`].
    pub(crate) async fn reserve(
        &self,
        declared: Option<usize>,
        clock: &dyn Clock,
    ) -> Result<Reservation, Problem> {
        let body = declared.unwrap_or(MESSAGES_BYTES_MAX).min(MESSAGES_BYTES_MAX);
        match body <= BODY_BYTES_MAX {
            true => reserve_from(&self.small, small_bytes(body), clock).await,
            false => reserve_from(&self.large, body + LARGE_EXTRA_BYTES, clock).await,
        }
    }
}

/// Returns the memory that a small `/resolve` request reserves, in bytes: for its body of `body`
/// bytes, and for the names and ARNs of secrets, which take up to eight times as much.
fn small_bytes(body: usize) -> usize {
    9 * body + SMALL_EXTRA_BYTES
}

fn pool(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes / UNIT_BYTES))
}

async fn reserve_from(
    pool: &Arc<Semaphore>,
    bytes: usize,
    clock: &dyn Clock,
) -> Result<Reservation, Problem> {
    let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
    within(clock, BODY_TIME_MAX, pool.clone().acquire_many_owned(units))
        .await
        .and_then(Result::ok)
        .map(Reservation)
        .ok_or(Problem::Overloaded)
}

/// Checks during compilation that the memory for `/resolve` requests is enough for the largest
/// request. Otherwise such a request would always time out.
const _: () = assert!(
    MESSAGES_BYTES_MAX + LARGE_EXTRA_BYTES <= LARGE_BYTES_MAX
        && 9 * BODY_BYTES_MAX + SMALL_EXTRA_BYTES <= SMALL_BYTES_MAX
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use std::time::SystemTime;

    #[tokio::test(start_paused = true)]
    async fn large_requests_take_turns_and_do_not_delay_small_ones() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let memory = MemoryBudget::default();
        let largest = memory
            .reserve(None, &clock)
            .await
            .expect("the memory for large requests must be enough for the largest request");
        let late = memory.reserve(Some(MESSAGES_BYTES_MAX), &clock).await;
        assert_eq!(late.map(|_| ()), Err(Problem::Overloaded));
        assert_eq!(clock.now().steady, BODY_TIME_MAX);
        for _ in 0..100 {
            memory.reserve(Some(2000), &clock).await.expect(
                "a large request must not use the memory that is reserved for small requests",
            );
        }
        drop(largest);
        memory
            .reserve(Some(MESSAGES_BYTES_MAX), &clock)
            .await
            .expect("a finished request must free its memory for the next request");
        assert_eq!(clock.now().steady, BODY_TIME_MAX);
    }
}
