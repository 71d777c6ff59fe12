//! Records what happens to a cached secret between two fetches: reads, failed refreshes, and older
//! versions that AWS returned.

use super::failure::Failure;
use super::freshness::Trouble;
use super::rollback::{self, Verdict};
use crate::clock::Moment;
use crate::secret::version::Version;
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What has happened to a cached secret since its last fetch, such as reads and failed refreshes.
/// Recording a read takes no lock.
#[derive(Debug)]
pub(crate) struct Marks {
    failure: ArcSwapOption<Failure>,
    held_back: Mutex<Option<HeldBack>>,
    /// The staging labels, such as `AWSPENDING`, that no version of the secret has, according to
    /// AWS.
    lacking: Mutex<Vec<&'static str>>,
    is_refreshing: AtomicBool,
    /// The number of reads of the cached secret since its last fetch.
    reads: AtomicU64,
    /// The number of reads of the cached secret before its last fetch.
    earlier_reads: AtomicU64,
    /// When a request last read the cached secret, in milliseconds on the steady (monotonic) clock.
    read_at_ms: AtomicU64,
    /// When a request last read the cached secret, in milliseconds since 1970. The time on the
    /// steady clock is not enough, because this clock may stop while Lambda freezes the process.
    read_at_unix_ms: AtomicU64,
}

/// A version that AWS returned although a newer version of the secret is cached. Sidekey uses this
/// older version only if AWS returns it again.
#[derive(Debug)]
struct HeldBack {
    version: Box<str>,
    /// When AWS first returned this older version of the secret.
    since: Moment,
}

impl Marks {
    pub(crate) fn new(sent: Moment) -> Self {
        Self {
            failure: ArcSwapOption::empty(),
            held_back: Mutex::new(None),
            lacking: Mutex::default(),
            is_refreshing: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            earlier_reads: AtomicU64::new(0),
            // No request has read the new entry yet. The time of its fetch counts as its last read,
            // so that new entries are not evicted first.
            read_at_ms: AtomicU64::new(millis(sent)),
            read_at_unix_ms: AtomicU64::new(0),
        }
    }

    /// Makes the entry the least recently read of the cache, so that it is evicted first.
    pub(crate) fn set_unread(&self) {
        self.read_at_ms.store(0, Ordering::Relaxed);
    }

    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.load_full()
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.failure.load().as_ref().is_some_and(|failure| failure.refused_since.is_some())
    }

    pub(crate) fn trouble(&self, now: Moment) -> Option<Trouble> {
        self.failure.load().as_deref().map(|failure| Trouble {
            // If the time since the refusal is unknown, the grace period counts as over.
            refused: failure.refused_since.map(|since| now.since(since).unwrap_or(Duration::MAX)),
            attempted: now.since(failure.at),
        })
    }

    /// Records that a refresh of the cached secret has failed. Takes no lock, so only one task at a
    /// time may call this function for a secret.
    pub(crate) fn set_failure(&self, failure: Failure) {
        self.failure.store(Some(Arc::new(failure)));
    }

    /// Decides whether `answer`, a version that AWS returned, replaces the `cached` version. An
    /// older version replaces it only after AWS has returned the older version twice, or if the
    /// agent may not return the cached version (`may_serve` is `false`).
    pub(crate) fn judge(
        &self,
        cached: &Version,
        answer: &Version,
        now: Moment,
        may_serve: bool,
    ) -> Verdict {
        let mut held_back =
            self.held_back.lock().expect("no thread may panic while it holds the lock");
        let same = held_back.as_ref().filter(|held_back| held_back.version == answer.id);
        // If the time since AWS first gave this answer is unknown, this answer counts as the first.
        let seen = same.and_then(|held_back| now.since(held_back.since));
        let verdict = rollback::judge(cached, answer, seen, may_serve);
        if verdict == Verdict::HoldBack && seen.is_none() {
            *held_back = Some(HeldBack { version: answer.id.clone(), since: now });
        }
        verdict
    }

    /// Returns whether the back-off after a failed refresh of the cached secret still lasts.
    pub(crate) fn is_paused(&self, now: Moment) -> bool {
        self.failure().is_some_and(|failure| !failure.retry_in(now).is_zero())
    }

    pub(crate) fn add_lacking(&self, label: &'static str) {
        self.lacking.lock().expect("no thread may panic while it holds the lock").push(label);
    }

    /// Returns whether AWS has reported that no version of the secret has the staging label
    /// `label`.
    pub(crate) fn lacks(&self, label: &str) -> bool {
        self.lacking.lock().expect("no thread may panic while it holds the lock").contains(&label)
    }

    pub(crate) fn touch(&self, now: Moment) {
        self.read_at_ms.store(millis(now), Ordering::Relaxed);
        self.read_at_unix_ms.store(unix_millis(now.wall), Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn was_read(&self) -> bool {
        self.reads.load(Ordering::Relaxed) > 0
    }

    /// Returns how many reads the cached secret has answered since the agent first cached it.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed) + self.earlier_reads.load(Ordering::Relaxed)
    }

    /// Returns when a request last read the cached secret, in milliseconds on the steady
    /// (monotonic) clock. For an unread secret, returns the time of its fetch.
    pub(crate) fn read_at_ms(&self) -> u64 {
        self.read_at_ms.load(Ordering::Relaxed)
    }

    /// Returns when a request last read this entry. Returns `None` if no request has read it.
    pub(crate) fn last_read(&self) -> Option<SystemTime> {
        let millis = Duration::from_millis(self.read_at_unix_ms.load(Ordering::Relaxed));
        self.was_read().then(|| UNIX_EPOCH + millis)
    }

    /// Copies the time of the last read and the number of reads from `older`, which belongs to the
    /// version that a refresh has replaced. Without this copy, the time of the refresh would count
    /// as the secret's last read, so the cache would evict unread secrets too late.
    pub(crate) fn inherit_last_read(&self, older: &Self) {
        self.read_at_ms.store(older.read_at_ms(), Ordering::Relaxed);
        self.earlier_reads.store(older.reads(), Ordering::Relaxed);
    }

    /// Returns `true` if the caller must start a refresh of the cached secret, because no other
    /// refresh is running.
    pub(crate) fn claim_refresh(&self) -> bool {
        !self.is_refreshing.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn release_refresh(&self) {
        self.is_refreshing.store(false, Ordering::Relaxed);
    }
}

/// Converts a time of the wall clock to milliseconds since 1970.
pub(super) fn unix_millis(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_secs().saturating_mul(1000) + u64::from(since_1970.subsec_millis())
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.steady.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_keeps_the_number_of_reads() {
        let now = Moment { wall: SystemTime::UNIX_EPOCH, steady: Duration::from_secs(9) };
        let (older, newer) = (Marks::new(now), Marks::new(now));
        older.touch(now);
        older.touch(now);
        newer.inherit_last_read(&older);
        assert_eq!((newer.was_read(), newer.reads()), (false, 2));
        newer.touch(now);
        assert_eq!((newer.was_read(), newer.reads()), (true, 3));
    }
}
