//! What the world has seen: calls, readers, and what of them is known to have come of it.

use super::SECOND;
use super::truth::Truth;
use crate::cache::entry::Entry;
use crate::cache::freshness::FAILING_MAX;
use crate::cache::rollback::AGREE_AFTER;
use crate::clock::Moment;
use crate::source::FetchErrorKind;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Returns the larger time that either clock says has passed, where the wall clock was not set back
/// in between.
pub(super) fn since(now: Moment, then: Moment) -> Option<Duration> {
    let steady = now.steady - then.steady;
    match now.wall.duration_since(then.wall) {
        Ok(wall) => Some(wall.max(steady)),
        Err(back) => (back.duration() <= SECOND).then_some(steady),
    }
}

/// What the world answered.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    Version { arn: Box<str>, id: Box<str>, is_lagging: bool },
    Failed(FetchErrorKind),
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) secret: usize,
    pub(super) is_batch: bool,
    pub(super) sent: Moment,
    /// How often the process had been restored when it was sent.
    pub(super) epoch: u64,
    /// How long everything had stood still, and how often the wall clock had been set, by then.
    pub(super) disturbed: (Duration, u32),
    pub(super) ended: Option<(Moment, Answered)>,
    /// What was held for the id when it ended.
    pub(super) held: Option<Arc<Entry>>,
    /// A freeze cut it, so that its answer does not count; or its batch failed as a whole.
    pub(super) is_discarded: bool,
    /// The answer was older than what was held, and nothing had confirmed it.
    pub(super) is_held_back: bool,
}

/// A reader who waits.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) id: String,
    pub(super) secret: usize,
    pub(super) is_now: bool,
    pub(super) started: Moment,
    /// Whether what was held when it came could be served without a wait.
    pub(super) need_not_wait: bool,
    /// How long everything had stood still, and how often the wall clock had been set, by then.
    pub(super) disturbed: (Duration, u32),
}

/// What the model knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) truths: Vec<Truth>,
    pub(super) calls: Vec<Call>,
    pub(super) readers: HashMap<u64, Reader>,
    /// The entries that were handed to somebody, and when first by the steady clock.
    pub(super) reads: Vec<(Arc<Entry>, Duration)>,
    /// What was held of each ARN when somebody last looked.
    pub(super) seen: HashMap<Box<str>, Arc<Entry>>,
    /// When a secret was last seen to be held no more.
    pub(super) lost: HashMap<usize, Duration>,
    pub(super) epoch: u64,
    /// By how much the wall clock was set in all, and at the last restore, in milliseconds.
    pub(super) offset_ms: (i64, i64),
    pub(super) disturbed: (Duration, u32),
    pub(super) versions: u32,
    /// What has happened, a line each: two runs of one seed must not differ in it.
    pub(super) trace: Vec<String>,
    /// How long the trace was when something first did not hold.
    pub(super) violated: Option<usize>,
}

impl Call {
    /// Returns why the call failed, as the cache should have seen it, and when.
    pub(super) fn failure(&self) -> Option<(FetchErrorKind, Moment)> {
        match self.ended.as_ref().filter(|_| !self.is_discarded)? {
            (at, Answered::Failed(kind)) => Some((*kind, *at)),
            (at, Answered::Version { .. }) => {
                self.is_held_back.then_some((FetchErrorKind::Lagging, *at))
            }
        }
    }

    /// Returns the ARN and version id of an answer, and when it came.
    pub(super) fn version(&self) -> Option<(&str, &str, Moment)> {
        self.any_version().filter(|_| !self.is_discarded)
    }

    /// Returns the same where a freeze may have cut the call.
    pub(super) fn any_version(&self) -> Option<(&str, &str, Moment)> {
        match self.ended.as_ref()? {
            (at, Answered::Version { arn, id, .. }) => Some((arn, id, *at)),
            _ => None,
        }
    }

    pub(super) fn is_about(&self, entry: &Entry) -> bool {
        self.held.as_ref().is_some_and(|held| std::ptr::eq(&**held, entry))
    }
}

impl State {
    /// Returns the failures noted on `entry`, in their order.
    pub(super) fn failures<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> impl DoubleEndedIterator<Item = (FetchErrorKind, Moment)> + 'a {
        self.calls.iter().filter(|call| call.is_about(entry)).filter_map(Call::failure)
    }

    /// Returns whether an attempt for `entry` has failed so lately that readers do not wait for the
    /// next. Where it cannot be said how long ago it was, it does not count.
    pub(super) fn has_just_failed(&self, entry: &Entry, now: Moment) -> bool {
        let last = self.failures(entry).map(|(_, at)| at).max_by_key(|at| at.steady);
        last.and_then(|at| since(now, at)).is_some_and(|since| since < FAILING_MAX)
    }

    /// Returns when somebody first read `entry`, by the steady clock.
    pub(super) fn first_read(&self, entry: &Entry) -> Option<Duration> {
        // Newest first: what is asked about is held.
        let read = self.reads.iter().rev().find(|(read, _)| std::ptr::eq(&**read, entry));
        read.map(|(_, at)| *at)
    }

    /// Returns when upstream first refused while `entry` was held.
    pub(super) fn refused(&self, entry: &Entry) -> Option<Moment> {
        // Calls are in the order in which they were sent, and may end in another.
        let refusals = self.failures(entry).filter(|(kind, _)| !kind.is_transient());
        refusals.map(|(_, at)| at).min_by_key(|at| at.steady)
    }

    /// Returns the call that fetched `entry`.
    pub(super) fn fetched(&self, entry: &Entry) -> Option<&Call> {
        let matching = self.calls.iter().rev().filter(|call| {
            call.sent == entry.sent
                && call.any_version().is_some_and(|(arn, id, _)| {
                    *arn == *entry.version.arn && *id == *entry.version.id
                })
        });
        // A call by name and one by ARN may have been sent at once.
        matching.max_by_key(|call| call.ended.as_ref().map(|(at, _)| at.steady))
    }

    /// Returns whether an older answer with this version id should replace `held` now.
    pub(super) fn is_agreed(&self, held: &Entry, id: &str, now: Moment) -> bool {
        let mut answers: Vec<_> = self
            .calls
            .iter()
            .filter(|call| call.is_held_back && call.is_about(held))
            .filter_map(Call::version)
            .collect();
        answers.sort_by_key(|(_, _, at)| at.steady);
        // Where the clocks cannot say how long ago the first was, a later one counts.
        let mut same = answers.iter().rev().take_while(|(_, other, _)| *other == id);
        same.any(|(_, _, at)| since(now, *at).is_some_and(|since| since >= AGREE_AFTER))
    }

    /// Returns whether a call for `id` that begins now makes up for one that a freeze cut.
    pub(super) fn is_retry(&self, id: &str, now: Moment) -> bool {
        let last = self.calls.iter().rev().find(|call| call.id == id);
        last.is_some_and(|last| {
            let ended = last.ended.as_ref().map(|(at, _)| at.steady);
            last.is_discarded && ended == Some(now.steady)
        })
    }
}

/// Returns the number of a version, by which they are ordered.
pub(super) fn number(id: &str) -> u32 {
    id[1..].parse().expect("a version's id ends with its number")
}
