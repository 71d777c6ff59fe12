//! Memory for requests with messages in them: how much of it is in use at once.
//!
//! A body of messages has up to 6 MiB, and so does its answer. Without a bound, a few dozen at once
//! would take more memory than a small container has. An answer counts until it is handed over: a caller
//! that reads it slowly must not hold up others.

use super::body::{BODY_BYTES_MAX, BODY_TIME_MAX, MESSAGES_BYTES_MAX};
use super::problem::Problem;
use crate::clock::{Clock, within};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most memory for small requests together: some hundred of a usual size.
const SMALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most memory for large requests together: one of the largest, or several others.
const LARGE_BYTES_MAX: usize = 12 * 1024 * 1024;

/// What a large request takes beside its body: the references found in it, one message, or the answer.
const LARGE_EXTRA_BYTES: usize = 4 * 1024 * 1024;

/// What a small request takes beside its body: references take some eight times their text.
const SMALL_EXTRA_BYTES: usize = 16 * 1024;

/// Memory is counted in units of this size.
const UNIT_BYTES: usize = 1024;

/// The memory that requests with messages may take. Small ones have a part of their own, so that large
/// ones, which are slow, do not hold them up.
#[derive(Debug)]
pub struct InHand {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A part of that memory, given back when this is dropped.
#[derive(Debug)]
pub struct Hold(
    #[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit,
);

/// Starts with nothing in use.
impl Default for InHand {
    fn default() -> Self {
        let pool = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT_BYTES));
        Self { small: pool(SMALL_BYTES_MAX), large: pool(LARGE_BYTES_MAX) }
    }
}

impl InHand {
    /// Waits until there is memory for a body, of `announced` bytes if that is known, and for what is
    /// found in it.
    ///
    /// # Errors
    ///
    /// If other requests keep the memory for too long.
    pub async fn hold(&self, announced: Option<usize>, clock: &dyn Clock) -> Result<Hold, Problem> {
        let body = announced.unwrap_or(MESSAGES_BYTES_MAX).min(MESSAGES_BYTES_MAX);
        match body <= BODY_BYTES_MAX {
            true => take(&self.small, small_bytes(body), clock).await,
            false => take(&self.large, body + LARGE_EXTRA_BYTES, clock).await,
        }
    }
}

fn small_bytes(body: usize) -> usize {
    9 * body + SMALL_EXTRA_BYTES
}

async fn take(pool: &Arc<Semaphore>, bytes: usize, clock: &dyn Clock) -> Result<Hold, Problem> {
    let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
    let permit = within(clock, BODY_TIME_MAX, pool.clone().acquire_many_owned(units)).await;
    let permit = permit.and_then(Result::ok).ok_or(Problem::TooManyBodies)?;
    Ok(Hold(permit))
}

/// Every request fits by itself.
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
    async fn large_requests_take_turns_and_do_not_hold_up_small_ones() {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let in_hand = InHand::default();
        let largest = in_hand.hold(None, &clock).await.expect("there is memory");
        let late = in_hand.hold(Some(MESSAGES_BYTES_MAX), &clock).await;
        assert_eq!(late.map(|_| ()), Err(Problem::TooManyBodies));
        assert_eq!(clock.now().steady, BODY_TIME_MAX);
        for _ in 0..100 {
            in_hand.hold(Some(2000), &clock).await.expect("small ones have their own part");
        }
        drop(largest);
        in_hand.hold(Some(MESSAGES_BYTES_MAX), &clock).await.expect("it is given back");
        assert_eq!(clock.now().steady, BODY_TIME_MAX);
    }
}
