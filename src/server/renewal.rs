//! Asks for the agent's credentials to be got anew, where a session token is shown that nobody knows.

use crate::clock::{Clock, Moment, within};
use crate::tokens::Renew;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How often credentials are got anew at most: a caller with a wrong token must not make Sidekey
/// hammer whoever hands them out.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// How long whoever showed the token waits for it.
const RENEWAL_MAX: Duration = Duration::from_secs(2);

/// Who gets credentials, and when they were last got on request.
#[derive(Debug)]
pub struct Renewal {
    source: Option<Arc<dyn Renew>>,
    last: Mutex<Option<Moment>>,
}

impl Renewal {
    /// Asks `source`, if there is one.
    pub fn new(source: Option<Arc<dyn Renew>>) -> Self {
        Self { source, last: Mutex::new(None) }
    }

    /// Has credentials got anew, unless they were within the last [`RENEWAL_INTERVAL`]. Whoever asks
    /// meanwhile waits for the same: after a rotation many callers come at once.
    pub(super) async fn renew(&self, clock: &dyn Clock) {
        let Some(source) = &self.source else { return };
        let mut last = self.last.lock().await;
        let ago = last.and_then(|last| clock.now().since(last));
        if ago.is_some_and(|ago| ago < RENEWAL_INTERVAL) {
            return;
        }
        // Before it begins, too: whoever asks may go away in the middle.
        *last = Some(clock.now());
        if within(clock, RENEWAL_MAX, source.renew()).await.is_none() {
            tracing::warn!("credentials could not be got anew in time");
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

    /// Counts how often it is asked, and takes its time.
    #[derive(Debug)]
    struct Slow {
        clock: VirtualClock,
        takes: Duration,
        asked: AtomicU32,
    }

    impl Renew for Slow {
        fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.clock.sleep(self.takes)
        }
    }

    fn slow(takes: Duration) -> (Renewal, Arc<Slow>) {
        let clock = VirtualClock::starting_at(SystemTime::UNIX_EPOCH);
        let source = Arc::new(Slow { clock, takes, asked: AtomicU32::new(0) });
        (Renewal::new(Some(source.clone())), source)
    }

    impl Slow {
        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_meanwhile_waits_for_the_same_and_who_comes_soon_for_none() {
        let (renewal, source) = slow(Duration::from_millis(1500));
        let clock = &source.clock;
        tokio::join!(renewal.renew(clock), renewal.renew(clock), renewal.renew(clock));
        assert_eq!((source.asked(), clock.now().steady), (1, Duration::from_millis(1500)));
        clock.sleep(RENEWAL_INTERVAL - Duration::from_millis(1)).await;
        renewal.renew(clock).await;
        assert_eq!(source.asked(), 1);
        clock.sleep(Duration::from_millis(1)).await;
        renewal.renew(clock).await;
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_is_bounded_and_who_leaves_asks_for_no_second() {
        let (renewal, source) = slow(Duration::from_secs(3600));
        let clock = &source.clock;
        renewal.renew(clock).await;
        assert_eq!((source.asked(), clock.now().steady), (1, RENEWAL_MAX));
        clock.sleep(RENEWAL_INTERVAL).await;
        let gone = within(clock, Duration::from_millis(1), renewal.renew(clock)).await;
        assert_eq!((gone, source.asked()), (None, 2));
        renewal.renew(clock).await;
        assert_eq!(source.asked(), 2);
    }
}
