//! The clock that a test passes to the fake, and the timers that delay responses.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::Sleep;

/// A function that returns the current time. The fake uses this time for creation dates, expiries
/// and rate limits. Delays of responses use real time instead.
pub type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// How late a tokio timer may fire. Tokio timers have a resolution of one millisecond and round up
/// twice, so a latency of 20 ms would become 21 ms to 22 ms.
const TIMER_LATENESS: Duration = Duration::from_millis(2);

/// Returns a future that completes after `span`, up to 2 ms late.
#[expect(clippy::disallowed_methods, reason = "the fake delays its responses on purpose")]
pub(crate) fn wait(span: Duration) -> Sleep {
    tokio::time::sleep(span)
}

/// Waits for `span`, and returns at most about 0.1 ms late. The function sleeps for most of `span`,
/// and polls the clock during the last 2 ms.
#[expect(clippy::disallowed_methods, reason = "the fake delays its responses on purpose")]
pub(crate) async fn wait_precisely(span: Duration) {
    let started = Instant::now();
    if let Some(most) = span.checked_sub(TIMER_LATENESS) {
        wait(most).await;
    }
    while started.elapsed() < span {
        tokio::task::yield_now().await;
    }
}
