//! Checks the result of each simulated read, by a second implementation of the rules for the age of
//! values.
//!
//! If the wall clock was set back before a SnapStart restore, the ages of cached values are
//! unknown. The cache must then not serve a value as fresh, and may answer each read with an error.

use super::SECOND;
use super::identity::secret;
use super::log::{Answered, Call, Reader, State, number, since};
use super::world::{DEADLINE, World};
use crate::cache::entry::Entry;
use crate::cache::failover::{is_failure_of_region, is_outage};
use crate::cache::freshness::{BACK_OFF_MAX, Reason};
use crate::cache::plan::REFRESH_NOW_INTERVAL;
use crate::cache::{How, ReadError, Served};
use crate::clock::Moment;
use crate::source::FetchErrorKind;
use std::sync::Arc;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(2);

impl World {
    pub(super) fn judge(&self, reader: &Reader, read: &Result<Served, ReadError>) {
        self.observe();
        let what = read.as_ref().map(|served| (&served.entry.version.id, served.how, served.age));
        self.note(&format!("a read of the secret {} returned {what:?}", reader.id));
        let now = self.now();
        let problem = {
            let state = self.state();
            let late = self.late(&state, reader, now);
            // In virtual time, only waiting takes time.
            let has_waited = now.steady > reader.started.steady;
            let needless = (reader.need_not_wait && has_waited).then(|| {
                "the reader had to wait although the cache had a value to serve".to_owned()
            });
            late.or(needless).or_else(|| match read {
                Ok(served) => self.too_old(&state, reader, served, now),
                Err(error) => self.refused(&state, reader, error, now),
            })
        };
        self.require(problem.is_none(), || {
            let what = read.as_ref().map(|served| (&served.entry.version.id, served.how));
            format!("{} ({reader:?} got {what:?})", problem.unwrap_or_default())
        });
        if let Ok(served) = read {
            let mut state = self.state();
            if state.first_read(&served.entry).is_none() {
                state.reads.push((served.entry.clone(), now.steady));
            }
        }
    }

    /// Returns whether the cache must answer a read of `id` (a name or ARN) at once from a cached
    /// version.
    pub(super) fn need_not_wait(&self, id: &str) -> bool {
        self.observe();
        let Some(cached) = self.cached(id) else { return false };
        let (state, now) = (self.state(), self.now());
        let has_failed = state.has_just_failed(&cached, now);
        self.may_be_served(&state, &cached, has_failed, now).unwrap_or(false)
    }

    /// Returns an error text if the simulated reader waited too long for its result.
    fn late(&self, state: &State, reader: &Reader, now: Moment) -> Option<String> {
        let delay = if reader.is_now { REFRESH_NOW_INTERVAL } else { Duration::ZERO };
        let wait = self.setup.reader_wait + delay;
        let frozen = state.disturbed.0 - reader.disturbed.0;
        // If a freeze interrupts a reader's wait, the wait begins again once.
        let most = if state.disturbed == reader.disturbed { wait } else { 2 * wait };
        let took = now.steady - reader.started.steady;
        (took > most + frozen + 2 * TICK)
            .then(|| format!("the reader waited too long for an answer: {took:?}"))
    }

    /// Returns an error text if the reader got a value that is older than the refresh policy
    /// allows.
    fn too_old(
        &self,
        state: &State,
        reader: &Reader,
        served: &Served,
        now: Moment,
    ) -> Option<String> {
        let policy = self.setup.policies[reader.secret];
        let entry = &served.entry;
        let Some(call) = state.fetched(entry) else {
            return Some("the reader got a version that no call to AWS returned".to_owned());
        };
        let (arn, _, _) =
            call.any_version().expect("a call that fetched a version must have an answer");
        if secret(arn) != reader.secret {
            return Some("the reader got a secret with another name or account".to_owned());
        }
        if reader.id.starts_with("arn:") && reader.id != arn {
            return Some(
                "the reader asked for an ARN, but got a secret with another ARN".to_owned(),
            );
        }
        let age = call.age(now, state.epoch);
        let below = |bound: Duration| age.is_some_and(|age| age < bound);
        let is_present = call.epoch == state.epoch;
        let refused = state.refused(entry);
        let is_cached = self.cached(&reader.id).is_some_and(|cached| Arc::ptr_eq(&cached, entry));
        let has_waited = now.steady - reader.started.steady >= self.setup.reader_wait;
        let has_failed = state.has_just_failed(entry, now);
        // Whether AWS answered a call while the reader waited, and the served version was fetched
        // by this call or by a later call.
        let was_answered = || {
            let mut others = state.calls.iter().filter(|other| other.secret == reader.secret);
            others.any(|other| {
                other.sent.steady <= call.sent.steady
                    && other.version().is_some_and(|(_, _, at)| at.steady >= reader.started.steady)
            })
        };
        let is_allowed = match served.how {
            How::Hit => below(policy.ttl) && is_present && refused.is_none(),
            How::Stale(Reason::Revalidating) => {
                below(policy.ttl + policy.stale_while_revalidate) && is_present && refused.is_none()
            }
            How::Stale(Reason::Failing) => {
                let bound = policy.ttl + policy.stale_if_error;
                below(bound) && refused.is_none() && (has_failed || has_waited)
            }
            How::Stale(Reason::Refused) => refused
                .is_some_and(|refused| age.is_some() && since(now, refused) < policy.denied_grace),
            How::Miss => was_answered(),
            // If AWS returned two different versions, both older than the cached version, the
            // reader gets the cached version.
            How::Refreshed => {
                let lagging = state.failures(entry).filter(|(kind, at)| {
                    *kind == FetchErrorKind::Lagging && at.steady >= reader.started.steady
                });
                call.sent.steady >= reader.started.steady || lagging.count() >= 2
            }
        };
        if !is_allowed {
            return Some(format!(
                "the reader got a value that is too old (age: {age:?}, refused by AWS at: \
                 {refused:?}, still cached: {is_cached})"
            ));
        }
        let is_passed_off = matches!(served.how, How::Hit | How::Stale(_)) && policy.ttl.is_zero();
        if is_passed_off {
            return Some(
                "the cache served a cached value although the TTL of the secret is 0".to_owned(),
            );
        }
        self.outlived(state, call, entry, now)
    }

    /// Returns an error text if the reader got a version that AWS had replaced too long ago. After
    /// a failed call, there is no such limit.
    fn outlived(
        &self,
        state: &State,
        call: &Call,
        entry: &Arc<Entry>,
        now: Moment,
    ) -> Option<String> {
        let policy = self.setup.policies[call.secret];
        let truth = &state.truths[call.secret];
        // If the secret was created again, the history of its versions says nothing about the old
        // entry.
        if truth.arn() != *entry.version.arn || truth.is_deleted {
            return None;
        }
        let number = number(&entry.version.id);
        let at = truth.history.iter().rposition(|(_, version)| *version == number)?;
        let (replaced, _) = truth.history.get(at + 1)?;
        let bound = policy.ttl + policy.stale_while_revalidate;
        let is_well = state.calls.iter().filter(|other| other.secret == call.secret).all(|other| {
            // A call that has not ended may hang.
            let Some((ended, answered)) = &other.ended else { return false };
            let is_lagging = matches!(answered, Answered::Version { is_lagging: true, .. });
            let is_good = other.failure().is_none() && !is_lagging && !other.is_discarded;
            // After a failure, the cache waits before the next call, even if calls would succeed by
            // now.
            is_good || (ended.steady < *replaced && !other.is_about(entry))
        });
        // A call may take as long as its deadline, and may be interrupted and repeated.
        let most = bound.max(2 * DEADLINE + SECOND);
        let is_frozen = since(call.ended.as_ref()?.0, call.sent) >= DEADLINE;
        (is_well && !is_frozen && now.steady - *replaced >= most).then(|| {
            format!("the reader got a version that AWS replaced long ago, at {replaced:?}")
        })
    }

    /// Returns an error text if the cache had no reason to answer the read with `error`.
    fn refused(
        &self,
        state: &State,
        reader: &Reader,
        error: &ReadError,
        now: Moment,
    ) -> Option<String> {
        let policy = self.setup.policies[reader.secret];
        match error {
            ReadError::OutOfScope => {
                return Some(
                    "the cache refused the read, but SIDEKEY_ALLOW allows all secrets".to_owned(),
                );
            }
            ReadError::WaitOver(wait) if now.steady - reader.started.steady < *wait => {
                return Some(
                    "the read timed out before the maximum waiting time of readers was over"
                        .to_owned(),
                );
            }
            ReadError::WaitOver(_) => {}
            ReadError::Upstream(error) => {
                let is_cause = |call: &&Call| {
                    call.secret == reader.secret
                        && call.failure().is_some_and(|(kind, at)| {
                            let is_new = at.steady >= reader.started.steady;
                            kind == error.kind && (is_new || since(now, at) <= BACK_OFF_MAX)
                        })
                        // A request with `refreshNow=true` gets no answer from before the request.
                        && (!reader.is_now || call.sent.steady >= reader.started.steady)
                };
                // While the home region does not respond, a reader gets the error of a call for
                // another secret if the replica does not respond either, or if a restore has made
                // the replica's value unusable. If the replica refuses, the home region must be
                // called once, so that the failure of that call is the cause.
                let is_simple = self.is_simple(state, &reader.id);
                let is_outage = is_outage(error.kind)
                    && state.calls.iter().any(|call| {
                        let is_of_replica = call.is_replica && call.secret == reader.secret;
                        is_of_replica
                            && call.ended.as_ref().is_some_and(|(at, answer)| {
                                let is_new = at.steady >= reader.started.steady;
                                let has_failed = matches!(answer, Answered::Failed(_))
                                    && !(call.is_discarded && is_simple);
                                let is_useless = has_failed || call.epoch != state.epoch;
                                is_useless && (is_new || since(now, *at) <= BACK_OFF_MAX)
                            })
                    });
                if !is_outage && !state.calls.iter().any(|call| is_cause(&call)) {
                    return Some("the reader got an error that no call to AWS returned".to_owned());
                }
                if let Some(problem) = self.gave_up(state, reader, error.kind, now) {
                    return Some(problem.to_owned());
                }
            }
        }
        if reader.is_now || policy.ttl.is_zero() {
            return None;
        }
        let cached = self.cached(&reader.id)?;
        let has_failed = state.has_just_failed(&cached, now);
        let is_in_need = has_failed || matches!(error, ReadError::WaitOver(_));
        let is_allowed = self.may_be_served(state, &cached, is_in_need, now)?;
        is_allowed.then(|| {
            format!(
                "the reader got an error although the cache had a value to serve, fetched at {:?}",
                cached.sent.steady
            )
        })
    }

    /// Returns an error text if `reader` got an error of the kind `kind` from the home region,
    /// although the cache has not called the replica. The error is allowed after a restore or a
    /// change of the wall clock: no value is then fresh, and the cache may remember a failure from
    /// the time when it needed no replica.
    fn gave_up(
        &self,
        state: &State,
        reader: &Reader,
        kind: FetchErrorKind,
        now: Moment,
    ) -> Option<&'static str> {
        let is_expected = self.setup.has_failover
            && (state.epoch, state.disturbed.1) == (0, 0)
            && !reader.is_now
            && !reader.id.contains("ssm:")
            && is_failure_of_region(kind)
            && self.is_simple(state, &reader.id);
        let mut own = state.calls.iter().filter(|call| call.secret == reader.secret);
        let is_excused = own.any(|call| {
            let is_refusal = call.failure().is_some_and(|(kind, _)| !kind.is_transient());
            let is_attempt = call.is_replica
                && call.ended.as_ref().is_none_or(|(at, _)| since(now, *at) <= BACK_OFF_MAX);
            is_refusal || is_attempt || call.is_discarded
        });
        (is_expected && !is_excused).then_some(
            "the reader got the error of the home region, but the replica was not called",
        )
    }

    /// Returns whether the refresh policy allows the cache to serve `cached` at the time `now`. If
    /// `is_in_need` is `true`, calls to AWS fail, so older values are allowed.
    ///
    /// Returns `None` if the age of the cached value is unknown.
    pub(super) fn may_be_served(
        &self,
        state: &State,
        cached: &Entry,
        is_in_need: bool,
        now: Moment,
    ) -> Option<bool> {
        let policy = self.setup.policies[secret(&cached.version.arn)];
        if policy.ttl.is_zero() {
            return Some(false);
        }
        let call = state.fetched(cached)?;
        let age = call.age(now, state.epoch)?;
        if let Some(refused) = state.refused(cached) {
            return Some(since(now, refused) < policy.denied_grace);
        }
        let is_fresh =
            call.epoch == state.epoch && age < policy.ttl + policy.stale_while_revalidate;
        Some(is_fresh || (is_in_need && age < policy.ttl + policy.stale_if_error))
    }
}
