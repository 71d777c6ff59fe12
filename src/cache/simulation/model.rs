//! What must hold, from the world's own log: at each call, at each answer to a reader, and in
//! between.
//!
//! Where the wall clock was set back, the cache cannot know an age, and neither does the model: what
//! is fresh must have a known age, and whoever was refused is let pass.

use super::world::{Answered, Call, DEADLINE, Reader, State, World};
use crate::cache::entry::Entry;
use crate::cache::flight::FLIGHTS_MAX;
use crate::cache::freshness::{BACK_OFF_MAX, BACK_OFF_MIN, JITTER, REFUSAL_MEMORY, Reason};
use crate::cache::rollback::AGREE_AFTER;
use crate::cache::{How, ReadError, Served};
use crate::clock::Moment;
use crate::source::FetchErrorKind;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// How coarse timers are.
const TICK: Duration = Duration::from_millis(2);

/// Returns the larger time that either clock says has passed, where the wall clock was not set back
/// in between.
fn since(now: Moment, then: Moment) -> Option<Duration> {
    let steady = now.steady - then.steady;
    match now.wall.duration_since(then.wall) {
        Ok(wall) => Some(wall.max(steady)),
        Err(back) => (back.duration() <= SECOND).then_some(steady),
    }
}

impl Call {
    /// Returns why the call failed, as the cache should have seen it, and when.
    fn failure(&self) -> Option<(FetchErrorKind, Moment)> {
        match self.ended.as_ref().filter(|_| !self.is_discarded)? {
            (at, Answered::Failed(kind)) => Some((*kind, *at)),
            (at, Answered::Version { .. }) => {
                self.is_held_back.then_some((FetchErrorKind::Lagging, *at))
            }
        }
    }

    /// Returns the ARN and version id of an answer, and when it came.
    fn version(&self) -> Option<(&str, &str, Moment)> {
        self.any_version().filter(|_| !self.is_discarded)
    }

    /// Returns the same where a freeze may have cut the call.
    fn any_version(&self) -> Option<(&str, &str, Moment)> {
        match self.ended.as_ref()? {
            (at, Answered::Version { arn, id, .. }) => Some((arn, id, *at)),
            _ => None,
        }
    }

    fn is_about(&self, entry: &Arc<Entry>) -> bool {
        self.held.as_ref().is_some_and(|held| Arc::ptr_eq(held, entry))
    }
}

impl State {
    /// Returns the failures noted on `entry`, in their order.
    fn failures<'a>(
        &'a self,
        entry: &'a Arc<Entry>,
    ) -> impl DoubleEndedIterator<Item = (FetchErrorKind, Moment)> + 'a {
        self.calls.iter().filter(|call| call.is_about(entry)).filter_map(Call::failure)
    }

    /// Returns when upstream first refused while `entry` was held.
    fn refused(&self, entry: &Arc<Entry>) -> Option<Moment> {
        // Calls are in the order in which they were sent, and may end in another.
        let refusals = self.failures(entry).filter(|(kind, _)| !kind.is_transient());
        refusals.map(|(_, at)| at).min_by_key(|at| at.steady)
    }

    /// Returns the call that fetched `entry`.
    fn fetched(&self, entry: &Entry) -> Option<&Call> {
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
    fn is_agreed(&self, held: &Arc<Entry>, id: &str, now: Moment) -> bool {
        let mut answers: Vec<_> = self
            .calls
            .iter()
            .filter(|call| call.is_held_back && call.is_about(held))
            .filter_map(Call::version)
            .collect();
        answers.sort_by_key(|(_, _, at)| at.steady);
        let same = answers.iter().rev().take_while(|(_, other, _)| *other == id);
        same.last().is_some_and(|(_, _, first)| {
            since(now, *first).is_some_and(|since| since >= AGREE_AFTER)
        })
    }
}

impl World {
    /// Notes what does not hold.
    pub(super) fn hold(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let now = self.now();
            let what = format!("at {:?}: {}", now.steady, what());
            self.state().violations.push(what);
        }
    }

    /// Ends the test if something did not hold.
    pub(super) fn check(&self, seed: u64, when: &str) {
        self.observe();
        let violations = self.state().violations.join("\n");
        assert!(violations.is_empty(), "seed {seed}, {when}, {:?}:\n{violations}", self.setup);
    }

    pub(super) fn waiting(&self) -> usize {
        self.state().readers.len()
    }

    /// Returns what is held for `id`.
    fn held(&self, id: &str) -> Option<Arc<Entry>> {
        let snapshot = self.cache()?.snapshot();
        snapshot.held(id)?.select(&super::world::key(id).selector).cloned()
    }

    /// Notes the start of a call, and judges whether anybody needed it.
    pub(super) fn begin(&self, id: &str, is_batch: bool) -> usize {
        self.observe();
        let now = self.now();
        let held = self.held(id);
        let secret = super::world::secret(id);
        let problem = {
            let state = self.state();
            let aloft = state.calls.iter().filter(|call| call.ended.is_none());
            let others = aloft.clone().filter(|call| call.id == id).count();
            if others > 0 {
                Some(format!("a second call for {id} is under way"))
            } else if !is_batch && aloft.count() >= FLIGHTS_MAX {
                Some("too many calls at once".to_owned())
            } else {
                self.needless(&state, id, held.as_ref(), now)
            }
        };
        self.hold(problem.is_none(), || problem.unwrap_or_default());
        let mut state = self.state();
        let is_retry = state.is_retry(id, now);
        let epoch = state.epoch;
        state.calls.push(Call {
            id: id.to_owned(),
            secret,
            sent: now,
            epoch,
            ended: None,
            held: None,
            is_discarded: false,
            is_retry,
            is_held_back: false,
        });
        state.calls.len() - 1
    }

    /// Returns why nobody needed the call for `id` that begins now.
    fn needless(
        &self,
        state: &State,
        id: &str,
        held: Option<&Arc<Entry>>,
        now: Moment,
    ) -> Option<String> {
        let secret = super::world::secret(id);
        let of_it = || state.readers.values().filter(|reader| reader.secret == secret);
        if state.is_retry(id, now) || of_it().any(|reader| reader.is_now) {
            return None;
        }
        let last = match held {
            Some(held) => {
                let own = state.calls.iter().filter(|call| call.id == id && call.is_about(held));
                own.filter_map(Call::failure).max_by_key(|(_, at)| at.steady)
            }
            None => {
                let mut own = state.calls.iter().filter(|call| call.id == id && !call.is_discarded);
                own.rfind(|call| call.ended.is_some())
                    .filter(|call| call.held.is_none())
                    .and_then(Call::failure)
            }
        };
        // What is held for a name changes where the secret was made anew, or was pushed out: there
        // the model does not say which entry a failure was noted on.
        let truth = &state.truths[secret];
        // A flight that waits for its turn may outlast its reader.
        let is_at_once = self.setup.secrets <= FLIGHTS_MAX;
        let is_simple = is_at_once
            && truth.generation == 0
            && !truth.is_deleted
            && self.setup.entries_max >= 100;
        if let Some((kind, at)) = last.filter(|_| is_simple) {
            let wait = match kind {
                FetchErrorKind::Lagging => AGREE_AFTER,
                kind if kind.is_transient() => BACK_OFF_MIN,
                _ => REFUSAL_MEMORY,
            };
            // Failures of what is not held are forgotten at a restore.
            let is_forgotten = held.is_none() && state.epoch > 0;
            if !is_forgotten && since(now, at).is_some_and(|since| since < wait) {
                return Some(format!("a call for {id} within {wait:?} of {kind:?}"));
            }
        }
        if of_it().next().is_some() {
            return None;
        }
        let ttl = self.setup.policy.ttl;
        let Some(held) = held else {
            let is_listed = self.setup.listed.iter().any(|own| own == id);
            if state.lost.get(&secret) == Some(&now.steady) {
                // It was pushed out after the call was decided on, and before it was sent.
                return None;
            }
            // The prefetch, or the timers after it failed: the back-off bounds these.
            return (!is_listed).then(|| format!("nobody waits for {id}"));
        };
        if !state.was_read.iter().any(|read| Arc::ptr_eq(read, held)) {
            return Some(format!("nobody read {id} since it was fetched"));
        }
        let is_restored = state.fetched(held).is_none_or(|call| call.epoch != state.epoch);
        let is_due = since(now, held.sent).is_none_or(|age| age >= ttl.mul_f64(1.0 - JITTER.end));
        let has_failed = state.failures(held).next().is_some();
        (!is_due && !is_restored && !has_failed).then(|| format!("{id} is not due"))
    }

    /// Notes the end of a call. A batch that `fails` as a whole says nothing of its secrets.
    pub(super) fn end(&self, call: usize, answered: Answered, fails: bool) {
        self.observe();
        let now = self.now();
        let mut state = self.state();
        let id = state.calls[call].id.clone();
        let held = match &answered {
            // A name that did not lead there yet does from now on.
            Answered::Version { arn, .. } => self.held(arn),
            Answered::Failed(_) => self.held(&id),
        };
        let took = since(now, state.calls[call].sent);
        let is_cut = took.is_none_or(|took| took >= DEADLINE + SECOND);
        let is_held_back = match (&answered, &held) {
            (Answered::Version { arn, id, .. }, Some(held)) if *held.version.arn == **arn => {
                let is_older = self.setup.is_dated && number(id) < number(&held.version.id);
                is_older && !state.is_agreed(held, id, now)
            }
            _ => false,
        };
        let ended = &mut state.calls[call];
        ended.is_discarded = fails || (is_cut && !ended.is_retry);
        ended.is_held_back = is_held_back && !ended.is_discarded;
        ended.held = held;
        ended.ended = Some((now, answered));
    }

    /// Judges what a reader got.
    pub(super) fn judge(&self, reader: &Reader, read: &Result<Served, ReadError>) {
        self.observe();
        let now = self.now();
        let problem = {
            let state = self.state();
            let late = self.late(&state, reader, now);
            late.or_else(|| match read {
                Ok(served) => self.too_old(&state, reader, served, now),
                Err(error) => self.refused(&state, reader, error, now),
            })
        };
        self.hold(problem.is_none(), || {
            let what = read.as_ref().map(|served| (&served.entry.version.id, served.how));
            format!("{}: {reader:?} got {what:?}", problem.unwrap_or_default())
        });
        if let Ok(served) = read {
            self.state().was_read.push(served.entry.clone());
        }
    }

    fn late(&self, state: &State, reader: &Reader, now: Moment) -> Option<String> {
        let wait = self.setup.reader_wait;
        let frozen = state.disturbed.0 - reader.disturbed.0;
        // A wait that a freeze cut is begun again once.
        let most = if state.disturbed == reader.disturbed { wait } else { 2 * wait };
        let took = now.steady - reader.started.steady;
        (took > most + frozen + 2 * TICK).then(|| format!("an answer after {took:?}"))
    }

    /// Returns why `served` should not have been.
    fn too_old(
        &self,
        state: &State,
        reader: &Reader,
        served: &Served,
        now: Moment,
    ) -> Option<String> {
        let policy = self.setup.policy;
        let entry = &served.entry;
        let Some(call) = state.fetched(entry) else {
            return Some("no call was answered with this".to_owned());
        };
        let (arn, id, ended) = call.any_version().expect("it was answered");
        if reader.id.starts_with("arn:") && reader.id != arn {
            return Some("an ARN led elsewhere".to_owned());
        }
        let age = since(now, call.sent);
        let below = |bound: Duration| age.is_some_and(|age| age < bound);
        let is_present = call.epoch == state.epoch;
        let refused = state.refused(entry);
        let is_held = self.held(&reader.id).is_some_and(|held| Arc::ptr_eq(&held, entry));
        let has_waited = now.steady - reader.started.steady >= self.setup.reader_wait;
        let has_failed = state.failures(entry).any(|(_, at)| {
            // Where it cannot be said how long ago it was, it does not count.
            since(now, at).is_some_and(|since| since < BACK_OFF_MAX)
        });
        let is_allowed = match served.how {
            How::Hit => below(policy.ttl) && is_present && refused.is_none(),
            How::Stale(Reason::Revalidating) => {
                below(policy.ttl + policy.stale_while_revalidate) && is_present && refused.is_none()
            }
            How::Stale(Reason::Failing) => {
                let bound = policy.ttl + policy.stale_if_error;
                below(bound) && refused.is_none() && (has_failed || has_waited)
            }
            How::Stale(Reason::Refused) => refused.is_some_and(|refused| {
                since(now, refused).is_some_and(|since| since < policy.denied_grace)
            }),
            How::RefreshLimited => below(SECOND),
            How::Miss => ended.steady >= reader.started.steady,
            // What is held is the newest there is where the answer was held back.
            How::Refreshed => {
                let is_kept = state.failures(entry).any(|(kind, at)| {
                    kind == FetchErrorKind::Lagging && at.steady >= reader.started.steady
                });
                ended.steady >= reader.started.steady || is_kept
            }
        };
        if !is_allowed {
            return Some(format!("too old: {age:?}, refused {refused:?}, held {is_held}"));
        }
        let is_passed_off = matches!(served.how, How::Hit | How::Stale(_)) && policy.ttl.is_zero();
        if is_passed_off {
            return Some("a cache without a TTL holds nothing".to_owned());
        }
        self.outlived(state, call, arn, id, now)
    }

    /// Returns whether the version was replaced too long ago, though upstream answered ever since.
    fn outlived(
        &self,
        state: &State,
        call: &Call,
        arn: &str,
        id: &str,
        now: Moment,
    ) -> Option<String> {
        let policy = self.setup.policy;
        let truth = &state.truths[call.secret];
        // A secret that was made anew has another history.
        if truth.arn() != arn || truth.is_deleted {
            return None;
        }
        let at = truth.history.iter().rposition(|(_, version)| *version == number(id))?;
        let (replaced, _) = truth.history.get(at + 1)?;
        let bound = policy.ttl + policy.stale_while_revalidate;
        let is_well = state.calls.iter().filter(|other| other.secret == call.secret).all(|other| {
            // A call under way may hang, and what was sent before may have been answered by then.
            let Some((ended, answered)) = &other.ended else { return false };
            let is_lagging = matches!(answered, Answered::Version { is_lagging: true, .. });
            let is_good = other.failure().is_none() && !is_lagging && !other.is_discarded;
            is_good || ended.steady < *replaced
        });
        // A call may take its time, and be cut and made again.
        let most = bound.max(2 * DEADLINE + SECOND);
        let is_frozen = since(call.ended.as_ref()?.0, call.sent)? >= DEADLINE;
        (is_well && !is_frozen && now.steady - *replaced >= most)
            .then(|| format!("replaced at {replaced:?}"))
    }

    /// Returns why the reader should not have got this error.
    fn refused(
        &self,
        state: &State,
        reader: &Reader,
        error: &ReadError,
        now: Moment,
    ) -> Option<String> {
        let policy = self.setup.policy;
        match error {
            ReadError::OutOfScope => return Some("everything is in scope".to_owned()),
            ReadError::WaitOver(wait) if now.steady - reader.started.steady < *wait => {
                return Some("the wait was not over".to_owned());
            }
            ReadError::WaitOver(_) => {}
            ReadError::Upstream(error) => {
                let is_cause = |call: &&Call| {
                    call.secret == reader.secret
                        && call.failure().is_some_and(|(kind, at)| {
                            kind == error.kind
                                && since(now, at).is_none_or(|since| {
                                    since <= BACK_OFF_MAX || at.steady >= reader.started.steady
                                })
                        })
                };
                if !state.calls.iter().any(|call| is_cause(&call)) {
                    return Some("nothing failed so".to_owned());
                }
            }
        }
        if reader.is_now || policy.ttl.is_zero() {
            return None;
        }
        let held = self.held(&reader.id)?;
        let call = state.fetched(&held)?;
        let age = since(now, call.sent)?;
        let is_present = call.epoch == state.epoch;
        let is_allowed = match state.refused(&held) {
            Some(refused) => since(now, refused)? < policy.denied_grace,
            None => {
                let is_fresh = is_present && age < policy.ttl + policy.stale_while_revalidate;
                let has_failed = state
                    .failures(&held)
                    .any(|(_, at)| since(now, at).is_some_and(|since| since < BACK_OFF_MAX));
                let is_in_need = has_failed || matches!(error, ReadError::WaitOver(_));
                is_fresh || (is_in_need && age < policy.ttl + policy.stale_if_error)
            }
        };
        is_allowed.then(|| format!("refused what is held, of age {age:?}"))
    }

    /// Looks at what is held, and judges what has changed since the last look.
    pub(super) fn observe(&self) {
        let Some(cache) = self.cache() else { return };
        let snapshot = cache.snapshot();
        let mut problem = None;
        {
            let mut state = self.state();
            let mut seen = std::mem::take(&mut state.seen);
            for (_, entry) in snapshot.entries() {
                let older = seen.get(&entry.version.arn);
                let older = older.filter(|older| !Arc::ptr_eq(older, entry));
                if let Some(older) = older
                    && self.setup.is_dated
                    && number(&entry.version.id) < number(&older.version.id)
                    && !state
                        .fetched(entry)
                        .and_then(Call::version)
                        .is_some_and(|(_, id, at)| state.is_agreed(older, id, at))
                {
                    let (from, to) = (&older.version.id, &entry.version.id);
                    problem = Some(format!("{} went back from {from} to {to}", entry.version.arn));
                }
            }
            let now = self.now().steady;
            for arn in seen.keys().filter(|arn| snapshot.held(arn).is_none()) {
                state.lost.insert(super::world::secret(arn), now);
            }
            seen.clear();
            seen.extend(
                snapshot.entries().map(|(_, entry)| (entry.version.arn.clone(), entry.clone())),
            );
            state.seen = seen;
        }
        self.hold(problem.is_none(), || problem.unwrap_or_default());
    }
}

impl State {
    /// Returns whether a call for `id` that begins now makes up for one that a freeze cut.
    fn is_retry(&self, id: &str, now: Moment) -> bool {
        let last = self.calls.iter().rev().find(|call| call.id == id);
        last.is_some_and(|last| {
            let ended = last.ended.as_ref().map(|(at, _)| at.steady);
            last.is_discarded && ended == Some(now.steady)
        })
    }
}

/// Returns the number of a version, by which they are ordered.
fn number(id: &str) -> u32 {
    id[1..].parse().expect("a version's id ends with its number")
}
