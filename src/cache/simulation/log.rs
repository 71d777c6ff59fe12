//! The log of the simulated world: its calls and readers, and their results.

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

/// Returns the larger elapsed time of the two clocks. Returns `None` if the wall clock was set back by
/// more than a second in between.
pub(super) fn since(now: Moment, then: Moment) -> Option<Duration> {
    let steady = now.steady - then.steady;
    match now.wall.duration_since(then.wall) {
        Ok(wall) => Some(wall.max(steady)),
        Err(back) => (back.duration() <= SECOND).then_some(steady),
    }
}

/// The answer of the world to a call.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    Version { arn: Box<str>, id: Box<str>, is_lagging: bool },
    Failed(FetchErrorKind),
}

/// A call of the cache to the world.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) secret: usize,
    pub(super) is_batch: bool,
    pub(super) sent: Moment,
    /// The number of restores before the call was sent.
    pub(super) epoch: u64,
    /// The total time of freezes, and the number of adjustments of the wall clock, until this moment.
    pub(super) disturbed: (Duration, u32),
    pub(super) ended: Option<(Moment, Answered)>,
    /// The entry that was cached for the id when the call ended.
    pub(super) cached: Option<Arc<Entry>>,
    /// Whether the answer does not count: a freeze interrupted the call, or the whole batch failed.
    pub(super) is_discarded: bool,
    /// Whether the answer was held back: it was older than the cached version, and unconfirmed.
    pub(super) is_held_back: bool,
}

/// A reader that waits for its result.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) id: String,
    pub(super) secret: usize,
    pub(super) is_now: bool,
    pub(super) started: Moment,
    /// Whether a cached entry could be served without a wait when the reader came.
    pub(super) need_not_wait: bool,
    /// The total time of freezes, and the number of adjustments of the wall clock, until this moment.
    pub(super) disturbed: (Duration, u32),
}

/// The knowledge of the model.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) truths: Vec<Truth>,
    pub(super) calls: Vec<Call>,
    pub(super) readers: HashMap<u64, Reader>,
    /// The entries that readers got, with the steady time of the first read.
    pub(super) reads: Vec<(Arc<Entry>, Duration)>,
    /// The cached entry of each ARN at the last observation.
    pub(super) seen: HashMap<Box<str>, Arc<Entry>>,
    /// The steady time at which each secret was last found to be evicted.
    pub(super) lost: HashMap<usize, Duration>,
    pub(super) epoch: u64,
    /// The total adjustment of the wall clock in milliseconds: until now, and until the last restore.
    pub(super) offset_ms: (i64, i64),
    pub(super) disturbed: (Duration, u32),
    pub(super) versions: u32,
    /// All events, one line each. Two runs of one seed must have the same trace.
    pub(super) trace: Vec<String>,
    /// The length of the trace at the first violation.
    pub(super) violated: Option<usize>,
}

impl Call {
    /// Returns the kind of failure that the cache should have recorded for the call, and its time.
    pub(super) fn failure(&self) -> Option<(FetchErrorKind, Moment)> {
        match self.ended.as_ref().filter(|_| !self.is_discarded)? {
            (at, Answered::Failed(kind)) => Some((*kind, *at)),
            (at, Answered::Version { .. }) => {
                self.is_held_back.then_some((FetchErrorKind::Lagging, *at))
            }
        }
    }

    /// Returns the ARN and version id of a successful answer that counts, and its time.
    pub(super) fn version(&self) -> Option<(&str, &str, Moment)> {
        self.any_version().filter(|_| !self.is_discarded)
    }

    /// Returns the ARN and version id of a successful answer, and its time, even if a freeze interrupted
    /// the call.
    pub(super) fn any_version(&self) -> Option<(&str, &str, Moment)> {
        match self.ended.as_ref()? {
            (at, Answered::Version { arn, id, .. }) => Some((arn, id, *at)),
            _ => None,
        }
    }

    pub(super) fn is_about(&self, entry: &Entry) -> bool {
        self.cached.as_ref().is_some_and(|cached| std::ptr::eq(&**cached, entry))
    }
}

impl State {
    /// Returns the failures recorded on `entry`, in the order of their calls.
    pub(super) fn failures<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> impl DoubleEndedIterator<Item = (FetchErrorKind, Moment)> + 'a {
        self.calls.iter().filter(|call| call.is_about(entry)).filter_map(Call::failure)
    }

    /// Returns whether an attempt to refresh `entry` has failed so recently that readers do not wait for
    /// the next attempt. Failures of unknown age do not count.
    pub(super) fn has_just_failed(&self, entry: &Entry, now: Moment) -> bool {
        let last = self.failures(entry).map(|(_, at)| at).max_by_key(|at| at.steady);
        last.and_then(|at| since(now, at)).is_some_and(|since| since < FAILING_MAX)
    }

    /// Returns the steady time of the first read of `entry`.
    pub(super) fn first_read(&self, entry: &Entry) -> Option<Duration> {
        // Searched from the newest read, because `entry` is cached and so recent.
        let read = self.reads.iter().rev().find(|(read, _)| std::ptr::eq(&**read, entry));
        read.map(|(_, at)| *at)
    }

    /// Returns the time of the first refusal while `entry` was cached.
    pub(super) fn refused(&self, entry: &Entry) -> Option<Moment> {
        // Calls are listed in the order of sending, and may end in another order.
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
        // A call by name and a call by ARN may have been sent at the same moment.
        matching.max_by_key(|call| call.ended.as_ref().map(|(at, _)| at.steady))
    }

    /// Returns whether an older answer with version `id` is confirmed and may replace `cached` at `now`.
    pub(super) fn is_agreed(&self, cached: &Entry, id: &str, now: Moment) -> bool {
        let mut answers: Vec<_> = self
            .calls
            .iter()
            .filter(|call| call.is_held_back && call.is_about(cached))
            .filter_map(Call::version)
            .collect();
        answers.sort_by_key(|(_, _, at)| at.steady);
        // If the age of the first such answer is unknown, a later one counts.
        let mut same = answers.iter().rev().take_while(|(_, other, _)| *other == id);
        same.any(|(_, _, at)| since(now, *at).is_some_and(|since| since >= AGREE_AFTER))
    }

    /// Returns whether a call for `id` that begins now repeats an interrupted call.
    pub(super) fn is_retry(&self, id: &str, now: Moment) -> bool {
        let last = self.calls.iter().rev().find(|call| call.id == id);
        last.is_some_and(|last| {
            let ended = last.ended.as_ref().map(|(at, _)| at.steady);
            last.is_discarded && ended == Some(now.steady)
        })
    }
}

/// Returns the number in the id of a version. Newer versions have larger numbers.
pub(super) fn number(id: &str) -> u32 {
    id[1..].parse().expect("a version's id ends with its number")
}
