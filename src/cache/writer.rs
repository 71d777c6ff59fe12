//! The writer's handle on the cache: it starts flights and decides what happens to their answers.

use super::entry::Entry;
use super::flight::{Flight, Landing, Outcome};
use super::freshness::Policy;
use super::logged_versions::LoggedVersions;
use super::malformed::Malformed;
use super::publisher::Publisher;
use super::rollback::Verdict;
use super::slots::Rank;
use super::snapshot::Snapshot;
use super::state::State;
use super::upstream::{Sent, Upstream};
use crate::printable::LogExcerpt;
use crate::secret::arn::Arn;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind, Source};
use crate::telemetry::log_limiter::LogLimiter;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What to do about a value that breaks its convention.
const HINT: &str =
    "put a complete value into the secret; docs/configuration.md lists the conventions";

/// The writer's handle on a cache: the only one that calls AWS and changes entries. Clones share one
/// cache.
#[derive(Clone, Debug)]
pub struct Writer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    upstream: Upstream,
    publisher: Publisher,
    /// Notified when an entry takes more memory than before.
    grown: Arc<Notify>,
    logged_versions: LoggedVersions,
    /// Limits log lines about names that callers invent.
    failures_logged: LogLimiter,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Writer {
    /// Makes the writer of `state`, which calls `source`. Flights run as tasks of `tasks`, and end
    /// when `stop` is cancelled.
    pub(super) fn new(
        state: Arc<State>,
        source: Arc<dyn Source>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            upstream: Upstream::new(state.clone(), source),
            publisher: Publisher::new(state.clone()),
            state,
            grown: Arc::default(),
            logged_versions: LoggedVersions::default(),
            failures_logged: LogLimiter::default(),
            tasks,
            stop,
        }))
    }

    /// Returns the state that readers share.
    pub(super) fn state(&self) -> &State {
        &self.0.state
    }

    /// Returns the service that this writer calls.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    /// Completes when an entry has grown since the last time that this function completed.
    pub(super) async fn grown(&self) {
        self.0.grown.notified().await;
    }

    /// Completes when the agent stops.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> {
        self.0.stop.cancelled()
    }

    /// Evicts entries if they exceed the memory limit.
    pub(super) fn trim(&self) {
        self.0.publisher.trim();
    }

    /// Runs `work` as a task that the agent joins when it stops.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
    }

    /// Joins the flight for `key`, or starts a flight if there is none. A flight is a task of its
    /// own, so that it goes on if its first reader goes away. Returns the flight, and whether it was
    /// under way before.
    pub(super) fn join_or_start(&self, key: &Key) -> Result<(Flight, bool), FetchError> {
        let (flight, landing) = self.0.state.flights.join_or_start(key, self.rank(key))?;
        let is_joined = landing.is_none();
        if let Some(landing) = landing {
            self.spawn(self.clone().run_flight(landing));
        }
        Ok((flight, is_joined))
    }

    /// Returns the rank of a call for `key`. Callers can invent labels and version ids as easily as
    /// names, so a call for an unknown version of a cached secret is a first-time call, too.
    fn rank(&self, key: &Key) -> Rank {
        let (id, selector) = (key.id.as_str(), &key.selector);
        let is_cached = self.0.state.snapshot.load().exact(id, selector).is_some();
        match is_cached || self.0.state.limits.listed.contains(id, selector) {
            true => Rank::Known,
            false => Rank::FirstTime,
        }
    }

    /// Makes the call of one flight and ends the flight.
    pub(super) async fn run_flight(self, landing: Landing) {
        let (key, upstream) = (landing.key(), &self.0.upstream);
        let (sent, answer) = if self.0.state.is_allowed(&key.id) {
            let slot = self.0.state.flights.slot(landing.rank()).await;
            let fetched = tokio::select! {
                biased;
                () = self.0.stop.cancelled() => return,
                fetched = upstream.fetch(key) => fetched,
            };
            drop(slot);
            fetched
        } else {
            (upstream.sending(), Err(out_of_scope()))
        };
        let outcome = self.settle(key, sent, answer);
        landing.land(outcome);
    }

    /// Publishes an answer, or records a failure. Returns the outcome for the readers of the flight.
    pub(super) fn settle(
        &self,
        key: &Key,
        sent: Sent,
        answer: Result<Version, FetchError>,
    ) -> Outcome {
        let state = &self.0.state;
        let before = state.snapshot.load_full();
        let outcome = answer.and_then(|version| self.accept(key, sent, version));
        // A held-back answer may have linked `key` to the cached entry that it was held back for.
        let after = state.snapshot.load_full();
        let snapshot = if outcome.is_ok() { before } else { after };
        let older = snapshot.exact(key.id.as_str(), &key.selector);
        if let Some(older) = older {
            // Even a successful flight may leave this entry in place: if the answer has another ARN,
            // or comes after the answer to a later call.
            older.marks.release_refresh();
            state.metrics.refreshed(outcome.as_ref().err().map(|error| error.kind));
        }
        match &outcome {
            Ok(entry) => {
                state.negative.forget(key);
                tracing::debug!(
                    name = &*entry.version.name,
                    version = &*entry.version.id,
                    "fetched"
                );
            }
            Err(error) => self.record_failure(key, older.map(|older| &**older), error),
        }
        state.changed.notify_waiters();
        outcome
    }

    /// Makes the entry of an answer, and publishes it unless the TTL of the secret is 0.
    fn accept(&self, key: &Key, sent: Sent, version: Version) -> Outcome {
        let state = &self.0.state;
        let arn = Arn::parse(&version.arn).map_err(|_| {
            let message = "the answer of AWS has no valid ARN of a secret";
            FetchError::new(FetchErrorKind::Unreadable, "ConnectionError", message)
        })?;
        if matches!(key.id, SecretId::Name(_)) {
            state.learn_account(arn.account());
        }
        if !state.config.scope.admits_answer(&arn, &version.name, &state.home.load()) {
            return Err(out_of_scope());
        }
        let snapshot = state.snapshot.load();
        let now = state.clock.now();
        state.detect_restore(now);
        // Found by the ARN in the answer: the name of `key` may not lead to this secret yet.
        if let Some(older) = snapshot.exact(&version.arn, &key.selector)
            && older.judge(&version, now, state.epoch()) == Verdict::HoldBack
        {
            if snapshot.secret(key.id.as_str()).is_none_or(|secret| *secret.arn != *version.arn) {
                self.0.publisher.publish(key, older.clone());
            }
            let message = "the answer is older than the cached version";
            return Err(FetchError::new(FetchErrorKind::Lagging, "StaleAnswer", message));
        }
        let policy = state.config.policies.of_answer(&arn, &version.name, &state.home.load());
        state.learn_policy(key, policy);
        let entry = Arc::new(self.entry(key, sent, version, policy, &snapshot));
        if entry.policy.ttl.is_zero() {
            self.0.publisher.remove(&entry);
            return Ok(entry);
        }
        Ok(self.0.publisher.publish(key, entry))
    }

    /// Makes the entry of an answer, and checks its value against the convention of its name.
    fn entry(
        &self,
        key: &Key,
        sent: Sent,
        version: Version,
        policy: Policy,
        snapshot: &Snapshot,
    ) -> Entry {
        let malformed = self.check_convention(snapshot, &version);
        let is_withheld = malformed.as_ref().is_some_and(|malformed| malformed.is_withheld);
        let own = if is_withheld { policy.of_withheld() } else { policy };
        let draw = self.0.state.draw();
        Entry::new(version, key.selector.clone(), own, sent.moment, sent.epoch, draw)
            .with_malformed(malformed)
            .with_grown(self.0.grown.clone())
    }

    /// Returns how a value breaks the convention of its secret's name. A version that is cached is
    /// not checked again, and each version is logged once.
    fn check_convention(&self, snapshot: &Snapshot, version: &Version) -> Option<Arc<Malformed>> {
        let cached = snapshot.secret(&version.arn).map_or(&[][..], |secret| secret.entries());
        if let Some(known) = cached.iter().find(|entry| entry.version.id == version.id) {
            return known.malformed.clone();
        }
        let config = &self.0.state.config;
        let found = Malformed::find(&config.conventions, version, config.is_strict)?;
        if self.0.logged_versions.insert(&version.arn, &version.id) {
            tracing::warn!(
                secret = %LogExcerpt(&version.name),
                version = %LogExcerpt(&version.id),
                kind = found.kind(),
                problems = found.codes(),
                withheld = found.is_withheld,
                hint = HINT,
                "the value of a secret breaks its convention"
            );
        }
        Some(Arc::new(found))
    }

    /// Records a failed attempt: on the entry that it should have refreshed, or in the negative
    /// cache if there is no such entry.
    fn record_failure(&self, key: &Key, older: Option<&Entry>, error: &FetchError) {
        let state = &self.0.state;
        let (now, draw) = (state.clock.now(), state.draw());
        match older {
            Some(older) => older.marks.fail(error.clone(), now, draw),
            None => state.negative.record(key, error.clone(), now, draw),
        }
        // Callers can invent names without end, so log lines about unknown names are limited. Cached
        // and listed secrets are bounded anyway.
        let is_known =
            older.is_some() || state.limits.listed.contains(key.id.as_str(), &key.selector);
        let passed = if is_known { Some(0) } else { self.0.failures_logged.pass(now) };
        let Some(left_out) = passed else {
            state.metrics.log_lines_dropped.inc();
            return;
        };
        tracing::warn!(
            secret = %LogExcerpt(key.id.as_str()),
            kind = error.kind.label(),
            code = &*error.code,
            request_id = error.request_id.as_deref(),
            held = older.is_some(),
            hint = error.kind.hint(),
            left_out,
            "a call to Secrets Manager failed"
        );
    }
}

fn out_of_scope() -> FetchError {
    let message = "Sidekey refused this read: SIDEKEY_ALLOW does not cover the secret";
    FetchError::new(FetchErrorKind::OutOfScope, "AccessDeniedException", message)
}

#[cfg(test)]
mod tests;
