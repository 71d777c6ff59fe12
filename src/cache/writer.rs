//! What happens to an answer from upstream: the one writer of the snapshot.

use super::Cache;
use super::cut::{CUTS_MAX, was_cut};
use super::entry::Entry;
use super::flight::{Landing, Outcome};
use super::malformed::Malformed;
use super::rollback::Verdict;
use super::snapshot::Snapshot;
use crate::clock::Moment;
use crate::printable::LogExcerpt;
use crate::secret::arn::Arn;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind};
use crate::telemetry::metrics::{Ended, Operation};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What to do about a value that is not as its convention says.
const HINT: &str =
    "put a whole value into the secret; conventions are those of docs/configuration.md";

/// When a call was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    moment: Moment,
    epoch: u64,
}

impl Cache {
    /// Notes that a call is being sent now.
    pub(super) fn sending(&self) -> Sent {
        let moment = self.0.clock.now();
        Sent { moment, epoch: self.epoch(moment) }
    }

    /// Makes the one call of a flight and ends it.
    pub(super) async fn run_flight(self, landing: Landing) {
        if self.check_scope(landing.key()).is_err() {
            let outcome = self.settle(landing.key(), self.sending(), Err(out_of_scope()));
            return landing.land(outcome);
        }
        let slot = self.0.flights.slot(landing.rank()).await;
        let fetched = tokio::select! {
            biased;
            () = self.0.stop.cancelled() => return,
            fetched = self.fetch(landing.key()) => fetched,
        };
        drop(slot);
        let (sent, answer) = fetched;
        let outcome = self.settle(landing.key(), sent, answer);
        landing.land(outcome);
    }

    /// Makes a call, and makes it again where a freeze cut it: whatever came of that one is as old as
    /// the freeze was long. Returns when the call that counts was sent.
    async fn fetch(&self, key: &Key) -> (Sent, Result<Version, FetchError>) {
        for _ in 0..=CUTS_MAX {
            let sent = self.sending();
            let answer = self.0.source.fetch(key).await;
            if !self.count(Operation::GetSecretValue, sent, answer.as_ref().err()) {
                return (sent, answer);
            }
        }
        let message = "the process stood still during each of the calls";
        (self.sending(), Err(FetchError::new(FetchErrorKind::Timeout, "TimeoutError", message)))
    }

    /// Publishes an answer, or notes a failure, and returns how the flight ends.
    pub(super) fn settle(
        &self,
        key: &Key,
        sent: Sent,
        answer: Result<Version, FetchError>,
    ) -> Outcome {
        let before = self.0.snapshot.load_full();
        let outcome = answer.and_then(|version| self.accept(key, sent, version));
        // Where the answer was held back, what it was held back for may have come to be meant.
        let after = self.0.snapshot.load_full();
        let snapshot = if outcome.is_ok() { before } else { after };
        let older = snapshot.exact(key.id.as_str(), &key.selector);
        if let Some(older) = older {
            // However it ended: an answer may leave this entry in place, by another ARN or too late.
            older.release_refresh();
            self.0.metrics.refreshed(outcome.as_ref().err().map(|error| error.kind));
        }
        match &outcome {
            Ok(entry) => {
                self.0.absent.forget(key);
                tracing::debug!(
                    name = &*entry.version.name,
                    version = &*entry.version.id,
                    "fetched"
                );
            }
            Err(error) => self.note_failure(key, older.map(|older| &**older), error),
        }
        self.0.changed.notify_waiters();
        outcome
    }

    /// Makes the entry of an answer, and publishes it unless nothing is to be cached.
    fn accept(&self, key: &Key, sent: Sent, version: Version) -> Outcome {
        let arn = Arn::parse(&version.arn).map_err(|_| {
            let message = "the answer names no ARN of a secret";
            FetchError::new(FetchErrorKind::Unreadable, "ConnectionError", message)
        })?;
        if matches!(key.id, SecretId::Name(_)) {
            self.learn_account(arn.account());
        }
        if !self.0.config.scope.admits_answer(&arn, &version.name, &self.0.home.load()) {
            return Err(out_of_scope());
        }
        let snapshot = self.0.snapshot.load();
        // By the answer's ARN: a name may not lead there yet.
        let now = self.0.clock.now();
        if let Some(older) = snapshot.exact(&version.arn, &key.selector)
            && older.judge(&version, now, self.epoch(now)) == Verdict::HoldBack
        {
            if snapshot.held(key.id.as_str()).is_none_or(|held| *held.arn != *version.arn) {
                self.publish(key, older.clone());
            }
            let message = "the answer is older than what is held";
            return Err(FetchError::new(FetchErrorKind::Lagging, "StaleAnswer", message));
        }
        let policy = self.0.config.policies.of_answer(&arn, &version.name, &self.0.home.load());
        self.learn_policy(key, policy);
        let malformed = self.look_over(&snapshot, &version);
        let is_withheld = malformed.as_ref().is_some_and(|malformed| malformed.is_withheld);
        let policy = if is_withheld { policy.of_withheld() } else { policy };
        let (selector, draw) = (key.selector.clone(), self.draw());
        let entry = Entry::new(version, selector, policy, sent.moment, sent.epoch, draw);
        let entry = entry.with_malformed(malformed).with_grown(self.0.grown.clone());
        let entry = Arc::new(entry);
        if policy.ttl.is_zero() {
            self.withdraw(&entry);
            return Ok(entry);
        }
        Ok(self.publish(key, entry))
    }

    /// Returns what is wrong with an answer's value: what was found when this version came first, as
    /// long as it is held. It is logged once for each version.
    fn look_over(&self, snapshot: &Snapshot, version: &Version) -> Option<Arc<Malformed>> {
        let held = snapshot.held(&version.arn).map_or(&[][..], |held| held.entries());
        if let Some(known) = held.iter().find(|entry| entry.version.id == version.id) {
            return known.malformed.clone();
        }
        let config = &self.0.config;
        let found = Malformed::find(&config.conventions, version, config.is_strict)?;
        if self.0.told.is_first(&version.arn, &version.id) {
            tracing::warn!(
                secret = %LogExcerpt(&version.name),
                version = %LogExcerpt(&version.id),
                kind = found.kind(),
                problems = found.codes(),
                withheld = found.is_withheld,
                hint = HINT,
                "the value of a secret is not as its convention says"
            );
        }
        Some(Arc::new(found))
    }

    /// Publishes an entry, and returns the one that is held now: it may be a newer one.
    fn publish(&self, key: &Key, entry: Arc<Entry>) -> Arc<Entry> {
        let _writer = self.0.writer.lock().expect("no holder panics");
        let (next, evicted) = self.0.snapshot.load().publish(key, entry.clone(), &self.0.limits);
        self.0.metrics.evictions.inc_by(evicted as u64);
        let held = next.exact(&entry.version.arn, &key.selector).cloned();
        self.replace(next);
        held.unwrap_or(entry)
    }

    /// Evicts entries if they take more memory than they may: a reader who is the first to ask for a
    /// form or a field makes an entry grow.
    pub(super) fn trim(&self) {
        let _writer = self.0.writer.lock().expect("no holder panics");
        let snapshot = self.0.snapshot.load();
        if snapshot.bytes() > self.0.limits.bytes_max {
            let (next, evicted) = snapshot.trimmed(&self.0.limits);
            self.0.metrics.evictions.inc_by(evicted as u64);
            self.replace(next);
        }
    }

    /// Publishes that nothing is held of what `entry` answers. It can be held from before the account
    /// was known, when another policy was thought to be meant.
    fn withdraw(&self, entry: &Entry) {
        let _writer = self.0.writer.lock().expect("no holder panics");
        let snapshot = self.0.snapshot.load();
        if snapshot.exact(&entry.version.arn, &entry.selector).is_some() {
            self.replace(snapshot.without(&entry.version.arn, &entry.selector));
        }
    }

    /// Stores the next snapshot, for whoever holds the writer's lock.
    fn replace(&self, next: Snapshot) {
        let entries = i64::try_from(next.entries().count()).unwrap_or(i64::MAX);
        self.0.metrics.entries.set(entries);
        self.note_memory(next.bytes());
        self.0.snapshot.store(Arc::new(next));
    }

    /// Logs once that listed secrets take more memory than there may be, and once more if they do so
    /// again.
    fn note_memory(&self, bytes: usize) {
        let is_over = bytes > self.0.limits.bytes_max;
        if is_over && !self.0.is_over_logged.load(Ordering::Relaxed) {
            tracing::warn!(
                bytes,
                limit = self.0.limits.bytes_max,
                "listed secrets take more memory than SIDEKEY_CACHE_BYTES, so that no other secret is \
                 cached; raise it, or list fewer secrets"
            );
        }
        self.0.is_over_logged.store(is_over, Ordering::Relaxed);
    }

    fn note_failure(&self, key: &Key, older: Option<&Entry>, error: &FetchError) {
        let now = self.0.clock.now();
        let draw = self.draw();
        match older {
            Some(older) => older.fail(error.clone(), now, draw),
            None => self.0.absent.remember(key, error.clone(), now, draw),
        }
        // Names that callers invent are limited; what is held or listed is bounded already.
        let is_ours =
            older.is_some() || self.0.limits.listed.contains(key.id.as_str(), &key.selector);
        let passed = if is_ours { Some(0) } else { self.0.failures_logged.pass(now) };
        let Some(left_out) = passed else {
            self.0.metrics.log_lines_dropped.inc();
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

    /// Counts a call to upstream that was sent at `sent` and has just ended, if it was one, and
    /// returns whether a freeze cut it.
    pub(super) fn count(
        &self,
        operation: Operation,
        sent: Sent,
        failed: Option<&FetchError>,
    ) -> bool {
        if failed.is_some_and(|error| !error.kind.is_call_result()) {
            return false;
        }
        let now = self.0.clock.now();
        let took = now.since(sent.moment);
        // What was sent before a restore is from another life.
        let is_cut = was_cut(took, self.0.source.deadline()) || self.epoch(now) != sent.epoch;
        let ended = match failed {
            _ if is_cut => Ended::Cut,
            Some(error) => Ended::Failed(error.kind),
            None => Ended::Answered,
        };
        self.0.metrics.upstream(operation, ended, took.unwrap_or_default());
        is_cut
    }

    fn draw(&self) -> f64 {
        self.0.draws.lock().expect("no holder panics").f64()
    }
}

fn out_of_scope() -> FetchError {
    let message = "Sidekey refused this read: SIDEKEY_ALLOW does not cover the secret";
    FetchError::new(FetchErrorKind::OutOfScope, "AccessDeniedException", message)
}
