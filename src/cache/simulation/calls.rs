//! Checks each call that the cache makes to the simulated AWS: the call must be needed, and no call
//! for the same name or ARN may be running.

use super::SECOND;
use super::identity::secret;
use super::log::{Answered, Call, State, number, since};
use super::world::{DEADLINE, World};
use crate::cache::entry::Entry;
use crate::cache::flight::FLIGHTS_MAX;
use crate::cache::freshness::{BACK_OFF_MIN, JITTER, REFUSAL_MEMORY, Refresh};
use crate::cache::plan::REFRESH_NOW_INTERVAL;
use crate::cache::rollback::AGREE_AFTER;
use crate::clock::Moment;
use crate::source::FetchErrorKind;
use std::collections::HashSet;
use std::sync::Arc;

impl World {
    /// Records that the cache makes a call to the simulated AWS, and checks that the call is
    /// needed. Returns the index of the call in `State::calls`.
    pub(super) fn begin(&self, id: &str, batch: Option<usize>) -> usize {
        self.observe();
        self.note(&format!("a call for {id} began"));
        let now = self.now();
        let cached = self.cached(id);
        let problem = {
            let state = self.state();
            let is_running = |call: &&Call| call.ended.is_none() && !call.is_search;
            let under_way = || state.calls.iter().filter(is_running);
            // All secrets or parameters of a batch call count as one call.
            let batches: HashSet<usize> = under_way().filter_map(|call| call.batch).collect();
            let calls = under_way().filter(|call| call.batch.is_none()).count() + batches.len();
            if under_way().any(|call| call.id == id) {
                Some(format!(
                    "the cache made a call for {id} while another call for {id} was running"
                ))
            } else if batch.is_none() && calls >= FLIGHTS_MAX {
                Some("the cache makes more calls at the same time than its limit allows".to_owned())
            } else {
                self.needless(&state, id, cached.as_ref(), now)
            }
        };
        self.require(problem.is_none(), || problem.unwrap_or_default());
        self.record(Call { batch, ..self.call(id) })
    }

    /// Records a call to the simulated AWS, and returns its index in `State::calls`.
    pub(super) fn record(&self, call: Call) -> usize {
        let mut state = self.state();
        state.calls.push(call);
        state.calls.len() - 1
    }

    /// Returns the record of a call to the home region that is sent now and fetches only `id`.
    pub(super) fn call(&self, id: &str) -> Call {
        let state = self.state();
        Call {
            id: id.to_owned(),
            secret: secret(id),
            is_replica: false,
            is_home_untried: false,
            batch: None,
            is_search: false,
            sent: self.now(),
            epoch: state.epoch,
            disturbed: state.disturbed,
            ended: None,
            cached: None,
            is_discarded: false,
            is_held_back: false,
        }
    }

    /// Records that the cache calls the replica of `id`, and checks that the home region has failed
    /// and that no fresh value is cached. Returns the index of the call in `State::calls`.
    pub(super) fn begin_replica(&self, id: &str) -> usize {
        self.observe();
        self.note(&format!("a call for the replica of {id} began"));
        let now = self.now();
        let cached = self.cached(id);
        let is_at_once = self.setup.names.len() <= FLIGHTS_MAX;
        let (is_home_untried, problem) = {
            let state = self.state();
            let is_home_untried = match &cached {
                Some(cached) => state.failures(cached).next().is_none(),
                None => state.last_failure(id, None).is_none(),
            };
            let is_fresh = cached.as_ref().is_some_and(|cached| self.is_fresh(&state, cached, now));
            let problem = match (state.home_has_failed(id, is_at_once, now), is_fresh) {
                (false, _) => Some("the home region has not failed"),
                (true, true) => Some("the cached value is fresh"),
                (true, false)
                    if self.is_simple(&state, id) && state.is_refused(id, secret(id), now) =>
                {
                    Some("the home region has returned an error that a retry cannot fix")
                }
                (true, false) => None,
            };
            (is_home_untried, problem)
        };
        self.require(problem.is_none(), || {
            format!("the cache called the replica of {id} although {}", problem.unwrap_or_default())
        });
        self.record(Call { is_replica: true, is_home_untried, ..self.call(id) })
    }

    /// Returns whether `cached` is fresh, so that no replica is needed.
    fn is_fresh(&self, state: &State, cached: &Entry, now: Moment) -> bool {
        let policy = &self.setup.policies[secret(&cached.version.arn)];
        let call = state.fetched(cached).filter(|call| call.epoch == state.epoch);
        let age = call.and_then(|call| call.age(now, state.epoch));
        age.is_some_and(|age| age < policy.ttl) && state.refused(cached).is_none()
    }

    /// Returns whether the test knows for which entry the cache recorded each failure of `id`.
    /// Returns `false` if the secret was created again, or if its entry may have been evicted.
    pub(super) fn is_simple(&self, state: &State, id: &str) -> bool {
        let truth = &state.truths[secret(id)];
        self.setup.names.len() <= FLIGHTS_MAX
            && self.setup.entries_max >= 100
            && truth.generation == 0
            && !truth.is_deleted
    }

    /// Returns an error text if the cache has no reason to call AWS for `id` (a name or ARN) now.
    fn needless(
        &self,
        state: &State,
        id: &str,
        cached: Option<&Arc<Entry>>,
        now: Moment,
    ) -> Option<String> {
        if state.is_retry(id, now) {
            return None;
        }
        let secret = secret(id);
        let readers = || state.readers.values().filter(|reader| reader.secret == secret);
        let is_read = readers().any(|reader| !reader.is_now);
        let is_asked_anew = readers().any(|reader| reader.is_now);
        // With many secrets, a call may wait for other calls until it is no longer needed.
        let is_at_once = self.setup.names.len() <= FLIGHTS_MAX;
        let is_simple = self.is_simple(state, id);
        if is_simple
            && !is_asked_anew
            && let Some(early) = too_early(state, id, cached, now)
        {
            return Some(early);
        }
        // The last reader timed out after the cache decided to make the call, and before the call
        // was sent.
        let has_just_left = state.left.get(&secret) == Some(&now.steady);
        if is_read || has_just_left {
            return None;
        }
        let Some(cached) = cached else {
            let is_listed = self.setup.listed.iter().any(|own| own == id);
            // The entry was evicted after the cache decided to refresh it, and before the call was
            // sent.
            let is_lost = state.lost.get(&secret) == Some(&now.steady);
            let is_needed = is_asked_anew || is_listed || is_lost;
            return (!is_needed)
                .then(|| format!("the cache made a call for {id}, but no reader waits for {id}"));
        };
        let useless = self.useless(state, secret, cached, now).filter(|_| is_at_once);
        if !is_asked_anew || useless.is_none() {
            return useless.map(|why| format!("{why} ({id})"));
        }
        let is_own = |call: &&Call| call.id == id && !call.is_discarded && !call.is_search;
        let sent = state.calls.iter().filter(is_own);
        let is_again = sent
            .filter(|call| call.ended.is_some())
            .any(|call| since(now, call.sent) < REFRESH_NOW_INTERVAL);
        (is_simple && is_again)
            .then(|| format!("the cache made two calls for {id} with refreshNow within one second"))
    }

    /// Returns an error text if the cache has no reason to refresh the cached version `cached` now.
    fn useless(
        &self,
        state: &State,
        secret: usize,
        cached: &Arc<Entry>,
        now: Moment,
    ) -> Option<&'static str> {
        let policy = &self.setup.policies[secret];
        if state.first_read(cached).is_none() && policy.refresh == Refresh::WhenRead {
            return Some(
                "the cache refreshes a secret that no reader has read since the last refresh",
            );
        }
        let is_restored = state.fetched(cached).is_none_or(|call| call.epoch != state.epoch);
        let due = policy.ttl.mul_f64(1.0 - JITTER.end);
        let is_due = since(now, cached.sent) >= due;
        let has_failed = state.failures(cached).next().is_some();
        (!is_due && !is_restored && !has_failed)
            .then_some("the cache refreshes a secret before the refresh is due")
    }

    /// Records the result of a call to the simulated AWS. If `fails` is `true`, the whole batch
    /// call failed, so the cache must ignore `answered`.
    pub(super) fn end(&self, call: usize, answered: Answered, fails: bool) {
        self.observe();
        self.note(&format!("the simulated AWS answered call number {call} with {answered:?}"));
        let now = self.now();
        let mut state = self.state();
        let id = state.calls[call].id.clone();
        let cached = match &answered {
            // Search by ARN, because the cache may not have known until now that the name belongs
            // to this ARN.
            Answered::Version { arn, .. } => self.cached(arn),
            Answered::Failed(_) => self.cached(&id),
        };
        let is_replica = state.calls[call].is_replica;
        // The cache must call the home region now, so this is no failure yet.
        let is_passed_on = state.calls[call].is_home_untried
            && matches!(&answered, Answered::Failed(kind) if !kind.is_transient());
        // A failed replica counts as a failure of the home region, which has failed before. So does
        // a version of the replica that the cache must ignore.
        let is_ignored = is_replica
            && match (&answered, &cached) {
                (Answered::Version { arn, id, .. }, Some(cached)) => {
                    (self.is_ordered(arn) && number(id) < number(&cached.version.id))
                        || self.is_fresh(&state, cached, now)
                        || state.refused(cached).is_some()
                }
                (answered, _) => matches!(answered, Answered::Failed(_)),
            };
        let answered =
            if is_ignored { Answered::Failed(FetchErrorKind::Service) } else { answered };
        let took = since(now, state.calls[call].sent);
        // Calls that were sent before a SnapStart restore count as interrupted.
        let is_cut = took >= DEADLINE + SECOND || state.calls[call].epoch != state.epoch;
        let is_held_back = match (&answered, &cached) {
            _ if is_replica => false,
            (Answered::Version { arn, id, .. }, Some(cached)) if *cached.version.arn == **arn => {
                let is_older = self.is_ordered(arn) && number(id) < number(&cached.version.id);
                let may_serve = self.may_be_served(&state, cached, true, now).unwrap_or(false);
                is_older && may_serve && !state.is_agreed(cached, id, now)
            }
            _ => false,
        };
        let ended = &mut state.calls[call];
        ended.is_discarded = fails || is_cut || is_passed_on;
        ended.is_held_back = is_held_back && !ended.is_discarded;
        ended.cached = cached;
        ended.ended = Some((now, answered));
    }
}

/// Returns an error text if the cache calls AWS for `id` (a name or ARN) too soon after a failed
/// call for `id`.
fn too_early(state: &State, id: &str, cached: Option<&Arc<Entry>>, now: Moment) -> Option<String> {
    let (kind, at) = state.last_failure(id, cached)?;
    let wait = match kind {
        FetchErrorKind::Lagging => AGREE_AFTER,
        kind if kind.is_transient() => BACK_OFF_MIN,
        _ => REFUSAL_MEMORY,
    };
    // After a restore, the cache forgets failed calls for secrets that are not cached.
    let is_forgotten = cached.is_none() && state.epoch > 0;
    let is_early = !is_forgotten && since(now, at) < wait;
    is_early.then(|| {
        format!("the cache called AWS for {id} again within {wait:?} after the failure {kind:?}")
    })
}
