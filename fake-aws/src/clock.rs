//! The clock that a test passes to the fake AWS server, and the timers that delay the server's
//! responses.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::Sleep;

/// A function that returns the current time. The fake AWS server uses this time for creation dates,
/// expiry times and rate limits, but not for delays of responses.
pub type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The maximum lateness of a tokio timer: a timer of 20 ms can fire after 22 ms, because tokio
/// rounds up to whole milliseconds twice.
const TIMER_LATENESS: Duration = Duration::from_millis(2);

/// Returns a future that completes after `span`, or up to 2 ms later.
#[expect(clippy::disallowed_methods, reason = "the fake AWS server delays responses, as AWS does")]
pub(crate) fn wait(span: Duration) -> Sleep {
    tokio::time::sleep(span)
}

/// Waits for `span`, and returns at most about 0.1 ms late. The function sleeps for most of the
/// time, and then polls the clock for the last 2 ms.
#[expect(clippy::disallowed_methods, reason = "the fake AWS server delays responses, as AWS does")]
pub(crate) async fn wait_precisely(span: Duration) {
    let started = Instant::now();
    if let Some(most) = span.checked_sub(TIMER_LATENESS) {
        wait(most).await;
    }
    while started.elapsed() < span {
        tokio::task::yield_now().await;
    }
}
