//! What must hold of calls: somebody needs each, and no two are for one secret at once.

use super::SECOND;
use super::log::{Answered, Call, State, number, since};
use super::world::{DEADLINE, World, secret};
use crate::cache::entry::Entry;
use crate::cache::flight::FLIGHTS_MAX;
use crate::cache::freshness::{BACK_OFF_MIN, JITTER, REFUSAL_MEMORY, Refresh};
use crate::cache::reader::REFRESH_NOW_INTERVAL;
use crate::cache::rollback::AGREE_AFTER;
use crate::clock::Moment;
use crate::source::FetchErrorKind;
use std::sync::Arc;

impl World {
    /// Notes the start of a call, and judges whether anybody needed it.
    pub(super) fn begin(&self, id: &str, is_batch: bool) -> usize {
        self.observe();
        self.note(&format!("a call for {id}"));
        let now = self.now();
        let held = self.held(id);
        let secret = secret(id);
        let problem = {
            let state = self.state();
            let aloft = || state.calls.iter().filter(|call| call.ended.is_none());
            // Those of a batch are one call, and there is one batch at a time.
            let calls = aloft().filter(|call| !call.is_batch).count()
                + usize::from(aloft().any(|call| call.is_batch));
            if aloft().any(|call| call.id == id) {
                Some(format!("a second call for {id} is under way"))
            } else if !is_batch && calls >= FLIGHTS_MAX {
                Some("too many calls at once".to_owned())
            } else {
                self.needless(&state, id, held.as_ref(), now)
            }
        };
        self.hold(problem.is_none(), || problem.unwrap_or_default());
        let mut state = self.state();
        let (epoch, disturbed) = (state.epoch, state.disturbed);
        state.calls.push(Call {
            id: id.to_owned(),
            secret,
            is_batch,
            sent: now,
            epoch,
            disturbed,
            ended: None,
            held: None,
            is_discarded: false,
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
        if state.is_retry(id, now) {
            return None;
        }
        let secret = secret(id);
        let readers = || state.readers.values().filter(|reader| reader.secret == secret);
        let is_read = readers().any(|reader| !reader.is_now);
        let is_asked_anew = readers().any(|reader| reader.is_now);
        // A flight that waits for its turn may outlast its need.
        let is_at_once = self.setup.secrets <= FLIGHTS_MAX;
        // What is held for a name changes where the secret was made anew, or was pushed out: there
        // the model does not say which entry a failure was noted on.
        let truth = &state.truths[secret];
        let is_simple = is_at_once
            && self.setup.entries_max >= 100
            && truth.generation == 0
            && !truth.is_deleted;
        if is_simple
            && !is_asked_anew
            && let Some(early) = too_early(state, id, held, now)
        {
            return Some(early);
        }
        if is_read {
            return None;
        }
        let Some(held) = held else {
            let is_listed = self.setup.listed.iter().any(|own| own == id);
            // It was pushed out after the call was decided on, and before it was sent.
            let is_lost = state.lost.get(&secret) == Some(&now.steady);
            // The prefetch, or the timers after it failed: the back-off bounds these.
            let is_needed = is_asked_anew || is_listed || is_lost;
            return (!is_needed).then(|| format!("nobody waits for {id}"));
        };
        let useless = self.useless(state, secret, held, now).filter(|_| is_at_once);
        if !is_asked_anew || useless.is_none() {
            return useless.map(|why| format!("{id}: {why}"));
        }
        let sent = state.calls.iter().filter(|call| call.id == id && !call.is_discarded);
        let is_again = sent
            .filter(|call| call.ended.is_some())
            .any(|call| since(now, call.sent).is_some_and(|since| since < REFRESH_NOW_INTERVAL));
        (is_simple && is_again).then(|| format!("{id} was asked for within the second"))
    }

    /// Returns why timers, and readers who do not wait, have no use for a call for what is held.
    fn useless(
        &self,
        state: &State,
        secret: usize,
        held: &Arc<Entry>,
        now: Moment,
    ) -> Option<&'static str> {
        let policy = &self.setup.policies[secret];
        if state.first_read(held).is_none() && policy.refresh == Refresh::WhenRead {
            return Some("nobody read it since it was fetched");
        }
        let is_restored = state.fetched(held).is_none_or(|call| call.epoch != state.epoch);
        let due = policy.ttl.mul_f64(1.0 - JITTER.end);
        let is_due = since(now, held.sent).is_none_or(|age| age >= due);
        let has_failed = state.failures(held).next().is_some();
        (!is_due && !is_restored && !has_failed).then_some("it is not due")
    }

    /// Notes the end of a call. A batch that `fails` as a whole says nothing of its secrets.
    pub(super) fn end(&self, call: usize, answered: Answered, fails: bool) {
        self.observe();
        self.note(&format!("an answer to call {call}: {answered:?}"));
        let now = self.now();
        let mut state = self.state();
        let id = state.calls[call].id.clone();
        let held = match &answered {
            // A name that did not lead there yet does from now on.
            Answered::Version { arn, .. } => self.held(arn),
            Answered::Failed(_) => self.held(&id),
        };
        let took = since(now, state.calls[call].sent);
        // What was sent before a restore is from another life.
        let is_cut = took.is_none_or(|took| took >= DEADLINE + SECOND)
            || state.calls[call].epoch != state.epoch;
        let is_held_back = match (&answered, &held) {
            (Answered::Version { arn, id, .. }, Some(held)) if *held.version.arn == **arn => {
                let is_older = self.setup.is_dated && number(id) < number(&held.version.id);
                let may_serve = self.may_be_served(&state, held, true, now).unwrap_or(false);
                is_older && may_serve && !state.is_agreed(held, id, now)
            }
            _ => false,
        };
        let ended = &mut state.calls[call];
        ended.is_discarded = fails || is_cut;
        ended.is_held_back = is_held_back && !ended.is_discarded;
        ended.held = held;
        ended.ended = Some((now, answered));
    }
}

/// Returns why a call for `id` follows too soon on one that failed.
fn too_early(state: &State, id: &str, held: Option<&Arc<Entry>>, now: Moment) -> Option<String> {
    let mut own = state.calls.iter().filter(|call| call.id == id);
    let (kind, at) = match held {
        Some(held) => {
            let about = own.filter(|call| call.is_about(held));
            about.filter_map(Call::failure).max_by_key(|(_, at)| at.steady)
        }
        None => own
            .rfind(|call| call.ended.is_some() && !call.is_discarded)
            .filter(|call| call.held.is_none())
            .and_then(Call::failure),
    }?;
    let wait = match kind {
        FetchErrorKind::Lagging => AGREE_AFTER,
        kind if kind.is_transient() => BACK_OFF_MIN,
        _ => REFUSAL_MEMORY,
    };
    // Failures of what is not held are forgotten at a restore.
    let is_forgotten = held.is_none() && state.epoch > 0;
    let is_early = !is_forgotten && since(now, at).is_some_and(|since| since < wait);
    is_early.then(|| format!("a call for {id} within {wait:?} of {kind:?}"))
}
