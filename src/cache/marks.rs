//! What changes about a cached entry: its reads, its failed refreshes, and answers held back.

use super::failure::Failure;
use super::freshness::{BACK_OFF_MAX, Trouble};
use super::rollback::{self, Verdict};
use crate::clock::Moment;
use crate::secret::version::Version;
use crate::source::FetchError;
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The mutable part of an entry. Readers update it without a lock.
#[derive(Debug)]
pub struct Marks {
    failure: ArcSwapOption<Failure>,
    held_back: Mutex<Option<HeldBack>>,
    is_refreshing: AtomicBool,
    was_read: AtomicBool,
    /// The steady time of the last read, in milliseconds.
    read_at_ms: AtomicU64,
}

/// An older version that AWS answered while a newer version was cached.
#[derive(Debug)]
struct HeldBack {
    /// The id of the older version.
    version: Box<str>,
    /// When AWS first answered with the older version.
    since: Moment,
}

impl Marks {
    /// Makes the marks of an unread entry whose call was sent at `sent`.
    pub fn new(sent: Moment) -> Self {
        Self {
            failure: ArcSwapOption::empty(),
            held_back: Mutex::new(None),
            is_refreshing: AtomicBool::new(false),
            was_read: AtomicBool::new(false),
            // The reader that the entry is fetched for has yet to read it. Until then the time of
            // the call counts, so that eviction does not take new entries first.
            read_at_ms: AtomicU64::new(millis(sent)),
        }
    }

    /// Returns the last failed attempt to refresh the entry, if the last attempt failed.
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.load_full()
    }

    /// Returns whether AWS has refused a refresh since the entry was fetched.
    pub fn is_refused(&self) -> bool {
        self.failure.load().as_ref().is_some_and(|failure| failure.refused_since.is_some())
    }

    /// Returns how long ago refreshes of the entry failed, if the last attempt failed.
    pub fn trouble(&self, now: Moment) -> Option<Trouble> {
        self.failure.load().as_deref().map(|failure| Trouble {
            // If the clocks cannot tell how long ago the refusal was, the grace period is over.
            refused: failure.refused_since.map(|since| now.since(since).unwrap_or(Duration::MAX)),
            attempted: now.since(failure.at),
        })
    }

    /// Records one more failed attempt to refresh the entry. Only the flight that refreshes the
    /// entry calls this function.
    pub fn fail(&self, error: FetchError, now: Moment, draw: f64) {
        let previous = self.failure.load();
        let failure = Failure::after(previous.as_deref(), error, now, BACK_OFF_MAX, draw);
        self.failure.store(Some(Arc::new(failure)));
    }

    /// Decides whether `answer` replaces the `cached` version, and remembers an answer that is held
    /// back. `may_serve` is whether readers may get the cached version meanwhile.
    pub fn judge(
        &self,
        cached: &Version,
        answer: &Version,
        now: Moment,
        may_serve: bool,
    ) -> Verdict {
        let mut held_back = self.held_back.lock().expect("no thread panics while it judges");
        let same = held_back.as_ref().filter(|held_back| held_back.version == answer.id);
        // If the clocks cannot tell how long ago the first such answer came, this one is the first.
        let seen = same.and_then(|held_back| now.since(held_back.since));
        let verdict = rollback::judge(cached, answer, seen, may_serve);
        if verdict == Verdict::HoldBack && seen.is_none() {
            *held_back = Some(HeldBack { version: answer.id.clone(), since: now });
        }
        verdict
    }

    /// Records a read at `now`.
    pub fn touch(&self, now: Moment) {
        self.read_at_ms.store(millis(now), Ordering::Relaxed);
        self.was_read.store(true, Ordering::Relaxed);
    }

    /// Returns whether a reader got the entry since it was fetched.
    pub fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Relaxed)
    }

    /// Returns the steady time of the last read of the secret, in milliseconds. Before the first
    /// read, returns the time when the call for the secret was sent.
    pub fn read_at_ms(&self) -> u64 {
        self.read_at_ms.load(Ordering::Relaxed)
    }

    /// Copies the time of the last read from `older`, the marks of the entry that this entry
    /// replaces: a refresh does not count as a read.
    pub fn inherit_last_read(&self, older: &Self) {
        self.read_at_ms.store(older.read_at_ms(), Ordering::Relaxed);
    }

    /// Claims the next refresh. Returns `false` if another reader claimed it since the last refresh
    /// ended.
    pub fn claim_refresh(&self) -> bool {
        !self.is_refreshing.swap(true, Ordering::Relaxed)
    }

    /// Allows readers to claim a refresh again.
    pub fn release_refresh(&self) {
        self.is_refreshing.store(false, Ordering::Relaxed);
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.steady.as_millis()).unwrap_or(u64::MAX)
}
