//! Refreshes the agent's AWS credentials if a request has an unknown session token.
//!
//! When AWS issues new credentials, a caller may receive them before the agent does. After the
//! refresh, the agent accepts the new session token too.

use crate::clock::{Clock, Moment, within};
use crate::tokens::Renew;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The minimum time between two refreshes of the agent's AWS credentials because of unknown session
/// tokens. Without this limit, callers with a wrong token could overload the source of the
/// credentials.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum time that a request with an unknown session token waits for a refresh of the agent's
/// AWS credentials.
const RENEWAL_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Renewal {
    source: Option<Arc<dyn Renew>>,
    /// When the last refresh of the AWS credentials ended, or when it started if it was cancelled.
    ///
    /// The mutex stays locked during a refresh, so that other requests wait for this refresh.
    last: Mutex<Option<Moment>>,
}

impl Renewal {
    /// Creates a `Renewal` that obtains new AWS credentials from `source`. If `source` is `None`,
    /// the credentials are never refreshed.
    pub(crate) fn new(source: Option<Arc<dyn Renew>>) -> Self {
        Self { source, last: Mutex::new(None) }
    }

    /// Refreshes the agent's AWS credentials, unless the last refresh was less than
    /// [`RENEWAL_INTERVAL`] ago. If a refresh is already running, only waits until it ends.
    pub(super) async fn renew(&self, clock: &dyn Clock) {
        let Some(source) = &self.source else { return };
        let mut last = self.last.lock().await;
        let ago = last.and_then(|last| clock.now().since(last));
        if ago.is_some_and(|ago| ago < RENEWAL_INTERVAL) {
            return;
        }
        // The start time is stored first. If the caller disconnects, this future is cancelled, and
        // the code after the refresh never runs.
        *last = Some(clock.now());
        if within(clock, RENEWAL_MAX, source.renew()).await.is_none() {
            tracing::warn!(
                "Sidekey could not refresh its AWS credentials within {RENEWAL_MAX:?}: check the source of the credentials"
            );
        }
        *last = Some(clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::SystemTime;

    #[derive(Debug)]
    struct SlowSource {
        clock: VirtualClock,
        takes: Duration,
        refreshes: AtomicU32,
    }

    impl Renew for SlowSource {
        fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            self.refreshes.fetch_add(1, Ordering::Relaxed);
            self.clock.sleep(self.takes)
        }
    }

    fn slow(takes: Duration) -> (Renewal, Arc<SlowSource>) {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let source = Arc::new(SlowSource { clock, takes, refreshes: AtomicU32::new(0) });
        (Renewal::new(Some(source.clone())), source)
    }

    impl SlowSource {
        fn refreshes(&self) -> u32 {
            self.refreshes.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_share_one_refresh_and_soon_ones_cause_none() {
        let (renewal, source) = slow(Duration::from_millis(1500));
        let clock = &source.clock;
        tokio::join!(renewal.renew(clock), renewal.renew(clock), renewal.renew(clock));
        assert_eq!((source.refreshes(), clock.now().steady), (1, Duration::from_millis(1500)));
        clock.sleep(RENEWAL_INTERVAL - Duration::from_millis(1)).await;
        renewal.renew(clock).await;
        assert_eq!(source.refreshes(), 1);
        clock.sleep(Duration::from_millis(1)).await;
        renewal.renew(clock).await;
        assert_eq!(source.refreshes(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn wait_is_bounded_and_cancelled_request_counts_as_refresh() {
        let (renewal, source) = slow(Duration::from_secs(3600));
        let clock = &source.clock;
        renewal.renew(clock).await;
        assert_eq!((source.refreshes(), clock.now().steady), (1, RENEWAL_MAX));
        clock.sleep(RENEWAL_INTERVAL).await;
        let gone = within(clock, Duration::from_millis(1), renewal.renew(clock)).await;
        assert_eq!((gone, source.refreshes()), (None, 2));
        renewal.renew(clock).await;
        assert_eq!(source.refreshes(), 2);
    }
}
