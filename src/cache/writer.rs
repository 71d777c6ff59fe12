//! Starts calls to AWS, and stores their answers in the cache.

use super::acceptor::{Acceptor, out_of_scope};
use super::entry::Entry;
use super::failover::is_failure_of_region;
use super::failure::Failure;
use super::fetched::{Answer, Sent};
use super::flight::{Flight, Landing, Next, Outcome};
use super::freshness::BACK_OFF_MAX;
use super::plan;
use super::slots::Rank;
use super::state::State;
use super::upstream::Upstream;
use crate::printable::LogExcerpt;
use crate::secret::key::{Key, KeyRef};
use crate::secret::role::RoleArn;
use crate::secret::selector::Selector;
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind, Source};
use crate::telemetry::log_limiter::LogLimiter;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A handle that calls AWS and changes cached secrets. All clones of the handle share one cache.
#[derive(Clone, Debug)]
pub struct Writer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    upstream: Upstream,
    acceptor: Acceptor,
    /// Limits the log lines about failed calls for unknown secret names. Otherwise clients could
    /// flood the log by requests for such names.
    failures_logged: LogLimiter,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Writer {
    /// Makes a handle that fetches secrets from `source`. Each call to `source` runs as a task of
    /// `tasks`. Cancelling the token `stop`, when the agent stops, ends these calls.
    pub(super) fn new(
        state: Arc<State>,
        source: Arc<dyn Source>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            upstream: Upstream::new(state.clone(), source),
            acceptor: Acceptor::new(state.clone()),
            state,
            failures_logged: LogLimiter::default(),
            tasks,
            stop,
        }))
    }

    pub(super) fn state(&self) -> &State {
        &self.0.state
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    /// Waits until a cached secret takes more memory than before. Returns at once if this has
    /// happened since the last call of this function.
    pub(super) async fn grown(&self) {
        self.0.acceptor.grown().await;
    }

    pub(super) fn stopped(&self) -> impl Future<Output = ()> {
        self.0.stop.cancelled()
    }

    pub(super) fn acceptor(&self) -> &Acceptor {
        &self.0.acceptor
    }

    pub(super) fn trim(&self) {
        self.0.acceptor.trim();
    }

    /// Runs `work` as a task. The agent waits for the end of this task before it exits.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
    }

    /// Joins the running call to AWS for the secret `key`, or starts a call. Returns a handle on
    /// the call, and whether the call was already running. The call goes on even if the request is
    /// cancelled.
    pub(super) fn join_or_start(&self, key: &Key) -> Result<(Flight, bool), FetchError> {
        let (flight, landing) = self.0.state.flights.join_or_start(key, self.rank(key))?;
        let is_joined = landing.is_none();
        if let Some(landing) = landing {
            self.spawn(self.clone().run_flight(landing));
        }
        Ok((flight, is_joined))
    }

    /// Joins a call to AWS for the secret `key` that is not sent yet, or registers a call. Returns
    /// a handle on the call, and whether the call was already registered.
    ///
    /// The call is sent at least [`REFRESH_NOW_INTERVAL`](plan::REFRESH_NOW_INTERVAL) after the
    /// last call for the secret.
    pub(super) fn join_next(&self, key: &Key) -> Result<(Flight, bool), FetchError> {
        let (flight, last, landing) = match self.0.state.flights.join_next(key, self.rank(key))? {
            Next::Joined(flight) => return Ok((flight, true)),
            Next::Started(flight, landing) => (flight, None, landing),
            Next::After { last, flight, landing } => (flight, Some(last), landing),
        };
        self.spawn(self.clone().run_next_flight(last, landing));
        Ok((flight, false))
    }

    /// Makes a call to AWS for requests with `refreshNow=true`, after the running call `last` has
    /// ended and the minimum time between calls is over. Makes no call if no request waits any
    /// more.
    async fn run_next_flight(self, last: Option<Flight>, landing: Landing) {
        if let Some(last) = last {
            drop(last.outcome().await);
        }
        let wait = plan::next_refresh_now(self.since_last_call(landing.key()));
        // Skip a sleep of zero, because it would take up to a millisecond.
        if !wait.is_zero() {
            tokio::select! {
                biased;
                () = self.0.stop.cancelled() => return,
                () = landing.hurried() => {}
                () = self.0.state.clock.sleep(wait) => {}
            }
        }
        if let Some(landing) = landing.if_wanted() {
            self.run_flight(landing).await;
        }
    }

    /// Returns the time since the last call to AWS for the secret `key` was sent or failed. Returns
    /// `None` if no call is known.
    fn since_last_call(&self, key: &Key) -> Option<Duration> {
        let state = &self.0.state;
        let now = state.clock.now();
        let last = match state.snapshot.load().exact(key) {
            Some(entry) => entry.marks.failure().map_or(entry.sent, |failure| failure.at),
            None => state.negative.failed_at(key)?,
        };
        now.since(last)
    }

    /// Returns the priority of a call to AWS for the secret `key`. The priority is low if the
    /// secret is neither cached nor in `SIDEKEY_SECRETS`, so that requests for unknown names do not
    /// delay other calls.
    fn rank(&self, key: &Key) -> Rank {
        let is_cached = self.0.state.snapshot.load().exact(key).is_some();
        match is_cached || self.0.state.limits.listed.contains(key) {
            true => Rank::Known,
            false => Rank::FirstTime,
        }
    }

    /// Makes a call to AWS, and gives the result to all requests that wait for the call.
    pub(super) async fn run_flight(self, landing: Landing) {
        let (key, upstream) = (landing.key(), &self.0.upstream);
        let (sent, answer) = if self.0.state.is_allowed(key.role.as_ref(), &key.id) {
            tokio::select! {
                biased;
                () = self.0.stop.cancelled() => return,
                fetched = upstream.fetch(&landing) => fetched,
            }
        } else {
            (upstream.sending(), Err(out_of_scope()))
        };
        let outcome = self.settle_answer(key, sent, answer);
        landing.land(outcome);
    }

    /// Reads the replica of a secret for which a batch call to the home region returned the error
    /// `home`, and gives the result to all requests that wait for the secret. The batch call was
    /// sent at `sent`.
    pub(super) async fn run_failover(self, landing: Landing, home: FetchError, sent: Sent) {
        let (key, upstream) = (landing.key(), &self.0.upstream);
        let (sent, answer) = tokio::select! {
            biased;
            () = self.0.stop.cancelled() => return,
            fetched = upstream.fetch_replica(&landing, home, sent.moment) => fetched,
        };
        let outcome = self.settle_answer(key, sent, answer);
        landing.land(outcome);
    }

    /// Caches the secret that its own region returned, or records that the call failed. Returns the
    /// result for the requests that share the call.
    pub(super) fn settle(
        &self,
        key: &Key,
        sent: Sent,
        answer: Result<Version, FetchError>,
    ) -> Outcome {
        self.settle_answer(key, sent, answer.map(Answer::Home))
    }

    fn settle_answer(&self, key: &Key, sent: Sent, answer: Result<Answer, FetchError>) -> Outcome {
        let state = &self.0.state;
        let before = state.snapshot.load_full();
        let outcome = answer.and_then(|answer| match answer {
            Answer::Home(version) => self.0.acceptor.accept(key, sent, version),
            Answer::Replica(replica) => self.0.acceptor.accept_replica(key, sent, *replica),
        });
        // Even if the answer was rejected as older than a cached version, the cache may now know
        // that the name in `key` belongs to that version.
        let after = state.snapshot.load_full();
        let snapshot = if outcome.is_ok() { before } else { after };
        let older = snapshot.exact(key);
        if let Some(older) = older {
            // Allow further refreshes of this entry. A successful call leaves this entry in the
            // cache if the answer has another ARN, or if the answer to a later call came first.
            older.marks.release_refresh();
            state.metrics.refreshed(outcome.as_ref().err().map(|error| error.kind));
        }
        match &outcome {
            Ok(entry) => {
                state.negative.forget(key);
                tracing::debug!(
                    name = &*entry.version.name,
                    version = &*entry.version.id,
                    "Sidekey fetched a secret from AWS"
                );
            }
            Err(error) => self.record_failure(key, sent, older.map(|older| &**older), error),
        }
        state.changed.notify_waiters();
        outcome
    }

    /// Records and logs a failed call to AWS for the secret `key`. `older` is the cached version of
    /// the secret, if any.
    fn record_failure(&self, key: &Key, sent: Sent, older: Option<&Entry>, error: &FetchError) {
        let state = &self.0.state;
        let (now, draw) = (state.clock.now(), sent.draw);
        match older {
            Some(older) => {
                let previous = older.marks.failure();
                let failure =
                    Failure::after(previous.as_deref(), error.clone(), now, BACK_OFF_MAX, draw);
                // Another region was not asked if the cached version is still fresh.
                let has_replica =
                    is_failure_of_region(error.kind) && self.0.upstream.replicas().may_exist(key);
                let fresh_for = older.fresh_for(now, state.epoch()).filter(|_| has_replica);
                older.marks.set_failure(match fresh_for {
                    Some(left) => failure.for_at_most(left),
                    None => failure,
                });
            }
            None => state.negative.record(key, error.clone(), now, draw),
        }
        if error.kind == FetchErrorKind::NotFound && self.is_missing_label(key) {
            tracing::debug!(
                secret = %LogExcerpt(key.id.as_str()),
                "no version of the secret has the requested stage"
            );
            return;
        }
        // Log lines about unknown names are limited, because clients can ask for any number of
        // secrets that do not exist.
        let is_known = older.is_some() || state.limits.listed.contains(key);
        let passed = if is_known { Some(0) } else { self.0.failures_logged.pass(now) };
        let Some(left_out) = passed else {
            state.metrics.log_lines_dropped.inc();
            return;
        };
        tracing::warn!(
            secret = %LogExcerpt(key.id.as_str()),
            role = key.role.as_ref().map(RoleArn::as_str),
            kind = error.kind.label(),
            code = &*error.code,
            request_id = error.request_id.as_deref(),
            held = older.is_some(),
            hint = error.hint(),
            left_out,
            "a call to AWS for a secret or parameter failed"
        );
    }

    /// Returns whether `key` asks for a staging label, other than `AWSCURRENT`, of a cached secret.
    /// A failed call for such a label needs no warning, because most secrets have no version with
    /// the label `AWSPENDING`, which `DescribeSecret` looks for.
    fn is_missing_label(&self, key: &Key) -> bool {
        let snapshot = self.0.state.snapshot.load();
        let current = KeyRef { selector: &Selector::current(), ..KeyRef::from(key) };
        key.selector.stage().is_some()
            && !key.selector.is_current()
            && snapshot.exact(current).is_some()
    }
}

#[cfg(test)]
mod tests;
