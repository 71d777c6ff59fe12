//! The time of day that a fake is given, and its timers.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::Sleep;

/// A function that returns the current time of day. Creation dates, expiries and rate limits use
/// this time; latencies use real time.
pub type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// How late a timer of tokio may fire. Timers tick in milliseconds and are rounded up twice, so a
/// latency of 20 ms would become 21 ms to 22 ms.
const TIMER_LATENESS: Duration = Duration::from_millis(2);

/// Completes after `span`, up to 2 ms late.
#[expect(clippy::disallowed_methods, reason = "the fake delays its responses on purpose")]
pub(crate) fn wait(span: Duration) -> Sleep {
    tokio::time::sleep(span)
}

/// Completes after `span`, at most about 0.1 ms late. The function sleeps for most of `span` and
/// polls the clock for the last 2 ms.
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
