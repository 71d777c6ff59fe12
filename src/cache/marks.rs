//! The facts about a cached entry that change while the entry is cached: its reads, its failed
//! refreshes, and older answers of AWS that are not used yet.

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

/// The facts about a cached entry that change while it is cached: its reads, its failed refreshes,
/// and an older answer that is not confirmed yet. A cached read updates them without a lock.
#[derive(Debug)]
pub(crate) struct Marks {
    failure: ArcSwapOption<Failure>,
    held_back: Mutex<Option<HeldBack>>,
    /// The staging labels, such as `AWSPENDING`, that no version of the secret had when AWS was
    /// last asked.
    lacking: Mutex<Vec<&'static str>>,
    is_refreshing: AtomicBool,
    was_read: AtomicBool,
    /// When a reader last read the entry, in milliseconds of the steady clock.
    read_at_ms: AtomicU64,
}

/// An answer of AWS that is older than the cached version. The answer is not used until a second
/// call confirms it.
#[derive(Debug)]
struct HeldBack {
    /// The id of the older version with which AWS answered.
    version: Box<str>,
    /// When AWS first answered with this older version.
    since: Moment,
}

impl Marks {
    /// Makes the marks of a new entry, which has no reads and no failed refreshes yet. `sent` is
    /// when Sidekey sent the call to AWS that fetched the entry.
    pub(crate) fn new(sent: Moment) -> Self {
        Self {
            failure: ArcSwapOption::empty(),
            held_back: Mutex::new(None),
            lacking: Mutex::default(),
            is_refreshing: AtomicBool::new(false),
            was_read: AtomicBool::new(false),
            // The reader that waits for the entry has not read it yet. Until then the time of the
            // call counts as the last read, so that new entries are not evicted first.
            read_at_ms: AtomicU64::new(millis(sent)),
        }
    }

    /// Returns the last failed refresh of the entry. Returns `None` if no refresh has failed since
    /// the entry was fetched.
    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.load_full()
    }

    /// Returns whether AWS has refused the secret, for example denied access, since the entry was
    /// fetched.
    pub(crate) fn is_refused(&self) -> bool {
        self.failure.load().as_ref().is_some_and(|failure| failure.refused_since.is_some())
    }

    /// Returns for how long AWS has refused the secret, and how long ago the last refresh of the
    /// entry failed. Returns `None` if no refresh has failed since the entry was fetched.
    pub(crate) fn trouble(&self, now: Moment) -> Option<Trouble> {
        self.failure.load().as_deref().map(|failure| Trouble {
            // If the clocks cannot tell how long ago the refusal was, the grace period counts as
            // over.
            refused: failure.refused_since.map(|since| now.since(since).unwrap_or(Duration::MAX)),
            attempted: now.since(failure.at),
        })
    }

    /// Records one more failed refresh of the entry. Takes no lock, so two tasks must not call this
    /// function for one entry at the same time.
    pub(crate) fn fail(&self, error: FetchError, now: Moment, draw: f64) {
        let previous = self.failure.load();
        let failure = Failure::after(previous.as_deref(), error, now, BACK_OFF_MAX, draw);
        self.failure.store(Some(Arc::new(failure)));
    }

    /// Decides whether `answer`, a version that AWS returned, replaces the `cached` version. An
    /// older version replaces it only after a second call has confirmed the older version.
    /// `may_serve` says whether readers may get the cached version meanwhile.
    pub(crate) fn judge(
        &self,
        cached: &Version,
        answer: &Version,
        now: Moment,
        may_serve: bool,
    ) -> Verdict {
        let mut held_back =
            self.held_back.lock().expect("no thread panics while it decides about an answer");
        let same = held_back.as_ref().filter(|held_back| held_back.version == answer.id);
        // If the clocks cannot tell how long ago AWS first gave this answer, this answer counts as
        // the first.
        let seen = same.and_then(|held_back| now.since(held_back.since));
        let verdict = rollback::judge(cached, answer, seen, may_serve);
        if verdict == Verdict::HoldBack && seen.is_none() {
            *held_back = Some(HeldBack { version: answer.id.clone(), since: now });
        }
        verdict
    }

    /// Records that AWS refuses `label` (such as `AWSPENDING`), because no version of the secret has
    /// the label.
    pub(crate) fn add_lacking(&self, label: &'static str) {
        self.lacking.lock().expect("no thread panics while it holds the lock").push(label);
    }

    /// Returns whether no version of the secret had `label` (such as `AWSPENDING`) when AWS was last
    /// asked, since the entry was fetched.
    pub(crate) fn lacks(&self, label: &str) -> bool {
        self.lacking.lock().expect("no thread panics while it holds the lock").contains(&label)
    }

    pub(crate) fn touch(&self, now: Moment) {
        self.read_at_ms.store(millis(now), Ordering::Relaxed);
        self.was_read.store(true, Ordering::Relaxed);
    }

    /// Returns whether a reader has read the entry since the entry was fetched.
    pub(crate) fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Relaxed)
    }

    /// Returns when a reader last read the entry, in milliseconds of the steady clock. Before the
    /// first read, returns when Sidekey sent the call that fetched the entry.
    pub(crate) fn read_at_ms(&self) -> u64 {
        self.read_at_ms.load(Ordering::Relaxed)
    }

    /// Copies the time of the last read from `older`, the marks of the entry that this entry
    /// replaces. Otherwise the refresh would count as a read.
    pub(crate) fn inherit_last_read(&self, older: &Self) {
        self.read_at_ms.store(older.read_at_ms(), Ordering::Relaxed);
    }

    /// Returns `true` if the calling reader must start a refresh of the entry. Returns `false` if
    /// another reader has started a refresh that has not ended.
    pub(crate) fn claim_refresh(&self) -> bool {
        !self.is_refreshing.swap(true, Ordering::Relaxed)
    }

    /// Allows readers to start a refresh of this entry again. Call this function when a refresh has
    /// ended.
    pub(crate) fn release_refresh(&self) {
        self.is_refreshing.store(false, Ordering::Relaxed);
    }
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.steady.as_millis()).unwrap_or(u64::MAX)
}
