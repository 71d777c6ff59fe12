//! Records all calls and reads of a simulation. The test checks the cache against this record.

use super::SECOND;
use super::identity::role;
use super::truth::Truth;
use crate::cache::entry::Entry;
use crate::cache::failover::{is_failure_of_region, is_outage};
use crate::cache::freshness::FAILING_MAX;
use crate::cache::rollback::AGREE_AFTER;
use crate::clock::Moment;
use crate::source::FetchErrorKind;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Returns the time from `then` to `now`. If the wall clock and the steady (monotonic) clock give
/// different times, returns the longer time.
pub(super) fn since(now: Moment, then: Moment) -> Duration {
    let steady = now.steady - then.steady;
    now.wall.duration_since(then.wall).map_or(steady, |wall| wall.max(steady))
}

#[derive(Clone, Debug)]
pub(super) enum Answered {
    Version { arn: Box<str>, id: Box<str>, is_lagging: bool },
    Failed(FetchErrorKind),
}

/// A call of the cache to the simulated AWS for one secret.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) secret: usize,
    /// Whether this is a call for the replica of the secret in the failover region.
    pub(super) is_replica: bool,
    /// Whether the cache called the replica although no call to the home region for this secret has
    /// failed before. It may do so if the home region did not respond to a call for another secret.
    pub(super) is_home_untried: bool,
    /// The number of the batch call to which this call belongs, if any.
    pub(super) batch: Option<usize>,
    /// Whether the call was a search for a pattern. If a search fails, the cache records no failure
    /// for a secret.
    pub(super) is_search: bool,
    pub(super) sent: Moment,
    /// The number of SnapStart restores of the simulated process before the call was sent.
    pub(super) epoch: u64,
    /// The total time for which the process had been frozen, and the number of changes of the wall
    /// clock, before the call was sent.
    pub(super) disturbed: (Duration, u32),
    pub(super) ended: Option<(Moment, Answered)>,
    /// The version of the secret that was cached when the call ended.
    pub(super) cached: Option<Arc<Entry>>,
    /// Whether the cache must ignore the answer to the call, for example because a freeze
    /// interrupted the call.
    pub(super) is_discarded: bool,
    /// Whether the answer to the call is an older version than the cached version. The cache must
    /// not use such an answer until a second call confirms it.
    pub(super) is_held_back: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) id: String,
    pub(super) secret: usize,
    pub(super) is_now: bool,
    pub(super) started: Moment,
    /// Whether the cache had to answer the read at once from a cached version.
    pub(super) need_not_wait: bool,
    /// The total time for which the process had been frozen, and the number of changes of the wall
    /// clock, before the read began.
    pub(super) disturbed: (Duration, u32),
}

/// The record of everything that has happened in one simulation.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) truths: Vec<Truth>,
    pub(super) calls: Vec<Call>,
    pub(super) readers: HashMap<u64, Reader>,
    /// The cached versions that readers got, each with the time of its first read on the steady
    /// (monotonic) clock.
    pub(super) reads: Vec<(Arc<Entry>, Duration)>,
    /// For each ARN, the version that was cached when the simulation last checked the cache.
    pub(super) seen: HashMap<Box<str>, Arc<Entry>>,
    /// The listed secrets that were cached by their names when the simulation last checked the
    /// cache.
    pub(super) listed: Vec<String>,
    /// For the index of each secret, the time at which the test last noticed that the cache had
    /// evicted the secret, on the steady (monotonic) clock.
    pub(super) lost: HashMap<usize, Duration>,
    /// For the index of each secret, the time at which a simulated read of this secret last ended,
    /// with a value or an error, on the steady (monotonic) clock.
    pub(super) left: HashMap<usize, Duration>,
    pub(super) epoch: u64,
    /// How many milliseconds the wall clock has been set forward in total, and how many of them
    /// before the last SnapStart restore.
    pub(super) offset_ms: (i64, i64),
    pub(super) disturbed: (Duration, u32),
    pub(super) versions: u32,
    pub(super) batches: usize,
    /// The failure of all searches, if they fail.
    pub(super) search_fault: Option<FetchErrorKind>,
    pub(super) searches: usize,
    pub(super) is_searching: bool,
    /// The time of the last check of the cached versions, on the steady (monotonic) clock.
    pub(super) observed: Duration,
    /// The log of the simulation. Two runs with the same random seed must produce the same lines.
    pub(super) trace: Vec<String>,
    /// The number of log lines when the cache first broke a rule, or `None` if the cache has broken
    /// no rule.
    pub(super) violated: Option<usize>,
}

impl Call {
    /// Returns the failure that the cache must have recorded for this call, and the time of the
    /// failure. Returns `None` if the cache must have recorded no failure.
    pub(super) fn failure(&self) -> Option<(FetchErrorKind, Moment)> {
        match self.ended.as_ref().filter(|_| !self.is_discarded && !self.is_search)? {
            (at, Answered::Failed(kind)) => Some((*kind, *at)),
            (at, Answered::Version { .. }) => {
                self.is_held_back.then_some((FetchErrorKind::Lagging, *at))
            }
        }
    }

    /// Returns the ARN and the version id that the simulated AWS returned, and when. Returns `None`
    /// if the call failed, or if the cache must ignore the answer.
    pub(super) fn version(&self) -> Option<(&str, &str, Moment)> {
        self.any_version().filter(|_| !self.is_discarded)
    }

    /// Returns the ARN and the version id that the simulated AWS returned, and when, even if the
    /// cache must ignore the answer. Returns `None` if the call failed.
    pub(super) fn any_version(&self) -> Option<(&str, &str, Moment)> {
        match self.ended.as_ref()? {
            (at, Answered::Version { arn, id, .. }) => Some((arn, id, *at)),
            _ => None,
        }
    }

    /// Returns the time since the call was sent. `epoch` is the current number of SnapStart
    /// restores.
    ///
    /// Returns `None` if the time is unknown, because the process was restored since the call, and
    /// the wall clock was set back by more than a second.
    pub(super) fn age(&self, now: Moment, epoch: u64) -> Option<Duration> {
        let back = self.sent.wall.duration_since(now.wall).unwrap_or_default();
        (self.epoch == epoch || back <= SECOND).then(|| since(now, self.sent))
    }

    pub(super) fn is_about(&self, entry: &Entry) -> bool {
        self.cached.as_ref().is_some_and(|cached| std::ptr::eq(&**cached, entry))
    }
}

impl State {
    /// Returns the kind and the time of each failed refresh of `entry`, in the order in which the
    /// calls were sent. If `entry` comes from a replica, the first item is the failure of the home
    /// region that made the cache read the replica.
    pub(super) fn failures<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> impl DoubleEndedIterator<Item = (FetchErrorKind, Moment)> + 'a {
        let of_home = entry.replica_region.as_ref().map(|_| (FetchErrorKind::Service, entry.sent));
        let refreshes = self.calls.iter().filter(|call| call.is_about(entry));
        of_home.into_iter().chain(refreshes.filter_map(Call::failure))
    }

    /// Returns whether a refresh of `entry` failed so recently that readers get an old value
    /// instead of waiting.
    pub(super) fn has_just_failed(&self, entry: &Entry, now: Moment) -> bool {
        let last = self.failures(entry).map(|(_, at)| at).max_by_key(|at| at.steady);
        last.is_some_and(|at| since(now, at) < FAILING_MAX)
    }

    /// Returns when a reader first read `entry`, as a time on the steady (monotonic) clock. Returns
    /// `None` if no reader has read it.
    pub(super) fn first_read(&self, entry: &Entry) -> Option<Duration> {
        // Search from the newest read, because `entry` is cached and so its reads are recent.
        let read = self.reads.iter().rev().find(|(read, _)| std::ptr::eq(&**read, entry));
        read.map(|(_, at)| *at)
    }

    /// Returns when the simulated AWS first answered a refresh of `entry` with a permanent error,
    /// such as denied access.
    pub(super) fn refused(&self, entry: &Entry) -> Option<Moment> {
        // The calls are in the order in which they were sent, but may end in another order.
        let refusals = self.failures(entry).filter(|(kind, _)| !kind.is_transient());
        refusals.map(|(_, at)| at).min_by_key(|at| at.steady)
    }

    /// Returns whether the cache may call the replica of `id`: the home region has just failed for
    /// `id`, or recently did not respond to the last call for any secret with a replica. If
    /// `is_at_once` is `false`, the call for the replica may have waited for other calls.
    pub(super) fn home_has_failed(&self, id: &str, is_at_once: bool, now: Moment) -> bool {
        let of_home = self
            .calls
            .iter()
            .filter(|call| !call.is_replica && !call.is_discarded && !call.is_search);
        let ended: Vec<(&str, Moment, &Answered)> = of_home
            .filter(|call| !call.id.contains("ssm"))
            .filter_map(|call| call.ended.as_ref().map(|(at, answer)| (&*call.id, *at, answer)))
            .collect();
        // Calls with a role say nothing about calls for other secrets.
        let without_role = ended.iter().filter(|(id, _, _)| role(id) == 0);
        let last = without_role.map(|(_, at, _)| at.steady).max();
        ended.iter().any(|(other, at, answer)| {
            let Answered::Failed(kind) = answer else { return false };
            let is_recent = since(now, *at) < FAILING_MAX;
            let is_last =
                Some(at.steady) == last && role(other) == 0 && is_outage(*kind) && is_recent;
            let is_now = at.steady == now.steady || !is_at_once;
            let is_own = *other == id && is_now && is_failure_of_region(*kind);
            is_last || is_own
        })
    }

    /// Returns whether the last answer of the home region to a call for `id` was a permanent error,
    /// such as denied access, and the home region has not returned the secret since, under any id.
    pub(super) fn is_refused(&self, id: &str, secret: usize, now: Moment) -> bool {
        let mut answers: Vec<&Call> = self
            .calls
            .iter()
            .filter(|call| !call.is_replica && !call.is_discarded && call.secret == secret)
            .filter(|call| call.epoch == self.epoch)
            .filter(|call| match &call.ended {
                Some((_, Answered::Version { .. })) => true,
                Some((at, Answered::Failed(kind))) => {
                    call.id == id && !kind.is_transient() && at.steady < now.steady
                }
                None => false,
            })
            .collect();
        answers.sort_by_key(|call| call.ended.as_ref().map(|(at, _)| at.steady));
        let last = answers.last().and_then(|call| call.ended.as_ref());
        matches!(last, Some((_, Answered::Failed(_))))
    }

    /// Returns the last failed call for `id` (a name or ARN) that the cache still remembers.
    /// `cached` is the cached version, if there is one.
    pub(super) fn last_failure(
        &self,
        id: &str,
        cached: Option<&Arc<Entry>>,
    ) -> Option<(FetchErrorKind, Moment)> {
        let mut own = self.calls.iter().filter(|call| call.id == id);
        match cached {
            Some(cached) => {
                let about = own.filter(|call| call.is_about(cached));
                about.filter_map(Call::failure).max_by_key(|(_, at)| at.steady)
            }
            None => own
                .rfind(|call| call.ended.is_some() && !call.is_discarded)
                .filter(|call| call.cached.is_none())
                .and_then(Call::failure),
        }
    }

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

    /// Returns whether the cache may replace `cached` by the older version `id`, because two calls,
    /// some time apart, have returned this version.
    pub(super) fn is_agreed(&self, cached: &Entry, id: &str, now: Moment) -> bool {
        let mut answers: Vec<_> = self
            .calls
            .iter()
            .filter(|call| call.is_held_back && call.is_about(cached))
            .filter_map(Call::version)
            .collect();
        answers.sort_by_key(|(_, _, at)| at.steady);
        let mut same = answers.iter().rev().take_while(|(_, other, _)| *other == id);
        same.any(|(_, _, at)| since(now, *at) >= AGREE_AFTER)
    }

    /// Returns whether a call for `id` (a name or ARN) that begins now repeats a call that a freeze
    /// or a restore interrupted.
    pub(super) fn is_retry(&self, id: &str, now: Moment) -> bool {
        let last = self.calls.iter().rev().find(|call| call.id == id && !call.is_search);
        last.is_some_and(|last| {
            let ended = last.ended.as_ref().map(|(at, _)| at.steady);
            last.is_discarded && ended == Some(now.steady)
        })
    }
}

/// Returns the number in the id of a simulated version, such as 7 for `v7`. Newer versions have
/// larger numbers.
pub(super) fn number(id: &str) -> u32 {
    let number = id.trim_start_matches('v');
    number.parse().expect("the id of a simulated version must contain a number")
}
