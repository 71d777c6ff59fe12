//! Reads secrets from the cache, waits for calls to AWS, and decides about failed calls.

use super::cached_secret::CachedSecret;
use super::entry::Entry;
use super::flight::{Flight, Outcome};
use super::freshness::{Freshness, Reason, freshness};
use super::plan::REFRESH_NOW_INTERVAL;
use super::served::{How, ReadError, Served};
use super::snapshot::Snapshot;
use super::state::{Missing, State};
use super::status::{self, Status};
use super::writer::Writer;
use super::{failure, rotation, schedule};
use crate::clock::{Clock, Moment, freeze::was_interrupted, within};
use crate::convention::problem::Problem;
use crate::secret::key::{Key, KeyRef};
use crate::secret::reference::SecretId;
use crate::secret::role::RoleArn;
use crate::source::{FetchError, FetchErrorKind, OwnCredentials};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of calls to AWS that one read waits for. A read needs a second call only if
/// AWS moves the staging label to another version during the first call.
const ROUNDS_MAX: usize = 3;

/// A handle that reads secrets from a cache. It calls AWS through the [`Writer`]. All clones of the
/// handle share one cache.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(super) state: Arc<State>,
    writer: Writer,
}

impl Cache {
    pub(super) fn new(state: Arc<State>, writer: Writer) -> Self {
        Self { state, writer }
    }

    /// Returns the cached version of a secret for `key`. Returns `None` if the request must wait
    /// for AWS.
    ///
    /// Takes no lock, allocates no memory, and does not copy the value.
    pub fn lookup<'a>(&self, key: impl Into<KeyRef<'a>>) -> Option<Served> {
        self.lookup_at(key.into(), self.state.clock.now())
    }

    /// Looks up a cached secret like [`lookup`](Self::lookup), for a caller that already knows the
    /// time `now`.
    pub(crate) fn lookup_at(&self, key: KeyRef<'_>, now: Moment) -> Option<Served> {
        self.state.detect_restore(now);
        let snapshot = self.state.snapshot.load();
        let secret = snapshot.secret(key)?;
        let entry = secret.select(key.selector)?;
        let epoch = self.state.epoch();
        let standing = entry.standing(now, epoch);
        let how = match freshness(&entry.policy, &standing) {
            // A replica's version is replaced as soon as the secret's own region answers.
            Freshness::Fresh if entry.replica_region.is_none() => How::Hit,
            Freshness::Fresh | Freshness::Due => {
                self.refresh_in_background(secret, entry, now);
                How::Hit
            }
            // AWS refused the label or version id by which this version was fetched. The refusal
            // does not apply to requests for another label or id, so such requests need their own
            // call.
            Freshness::Stale(Reason::Refused) if entry.selector != *key.selector => return None,
            Freshness::Stale(reason) => {
                self.refresh_in_background(secret, entry, now);
                How::Stale(reason)
            }
            Freshness::Expired => return None,
        };
        entry.marks.touch(now);
        Some(Served { entry: entry.clone(), how, age: standing.age.unwrap_or_default() })
    }

    /// Returns `entry`, and the other cached versions of its secret that the agent may return
    /// without a call to AWS. If `is_in_trouble` is `true`, calls to AWS fail, so versions that are
    /// served only during failures are included.
    pub(super) fn servable_entries(
        &self,
        entry: &Arc<Entry>,
        is_in_trouble: bool,
    ) -> Vec<Arc<Entry>> {
        let now = self.state.clock.now();
        self.state.detect_restore(now);
        let epoch = self.state.epoch();
        let snapshot = self.state.snapshot.load();
        let cached = snapshot.secret(entry.key()).map_or(&[][..], |secret| secret.entries());
        cached
            .iter()
            .filter(|own| !Arc::ptr_eq(own, entry))
            .filter(|own| !own.marks.is_refused())
            .filter(|own| match is_in_trouble {
                true => own.freshness_in_trouble(now, epoch) != Freshness::Expired,
                false => own.freshness(now, epoch) != Freshness::Expired,
            })
            .chain([entry])
            .cloned()
            .collect()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.state.clock
    }

    /// Returns all secrets that are cached now. Later changes of the cache do not change the
    /// result.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state.snapshot.load_full()
    }

    #[cfg(test)]
    pub(crate) fn missing(&self) -> Vec<Missing> {
        self.state.missing()
    }

    pub(crate) fn missing_required(&self) -> Vec<Missing> {
        let mut missing = self.state.missing();
        missing.retain(|missing| missing.is_required);
        missing
    }

    /// Returns the age of the oldest cached secret, or zero if no secret is cached.
    pub(crate) fn oldest_age(&self) -> Duration {
        let now = self.state.clock.now();
        let epoch = self.state.epoch();
        let snapshot = self.state.snapshot.load();
        snapshot.entries().filter_map(|(_, entry)| entry.age(now, epoch)).max().unwrap_or_default()
    }

    /// Returns how many cached values are older than their time to live, although the agent should
    /// have refreshed them.
    pub(crate) fn overdue(&self) -> usize {
        schedule::overdue(&self.state, self.state.clock.now())
    }

    /// Returns what is known about the agent's own AWS credentials. Returns `None` if the agent has
    /// no credentials yet.
    pub(crate) fn own_credentials(&self) -> Option<OwnCredentials> {
        self.writer.upstream().own_credentials()
    }

    pub(crate) fn problems(&self) -> [(&'static str, usize); Problem::CODES.len()] {
        status::problem_counts(&self.state)
    }

    pub(crate) fn status(&self) -> Status {
        let now = self.state.clock.now();
        self.state.detect_restore(now);
        Status::of(&self.state, now)
    }

    /// Informs the cache that SnapStart has restored the process from a snapshot. Then no cached
    /// secret is fresh, and the agent refreshes the secrets that requests have read.
    pub(crate) fn restored(&self) {
        self.state.restore();
    }

    pub(crate) fn learn_account(&self, account: &str) {
        self.state.learn_account(account);
    }

    /// Returns a future that completes when a cached secret changes or a call to AWS fails, even if
    /// this happens before the future is awaited.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> {
        self.state.changed.notified()
    }

    pub(crate) fn is_allowed(&self, role: Option<&RoleArn>, id: &SecretId) -> bool {
        self.state.is_allowed(role, id)
    }

    /// Returns the secret for `key` (a name or ARN, with a staging label or version id). If the
    /// cache has no value that the agent may return, waits for AWS, up to the configured maximum
    /// wait.
    ///
    /// # Errors
    ///
    /// Returns an error if `SIDEKEY_ALLOW` does not allow the secret, if the call to AWS fails, or
    /// if the maximum wait is over.
    pub async fn read(&self, key: Key) -> Result<Served, ReadError> {
        self.read_since(key, self.state.clock.now()).await
    }

    /// Reads a secret for a request that began at `started`. The maximum wait counts from this
    /// time, because a request can read several secrets.
    pub(crate) async fn read_since(&self, key: Key, started: Moment) -> Result<Served, ReadError> {
        if let Some(served) = self.lookup(&key) {
            return Ok(served);
        }
        self.check_scope(&key)?;
        let wait = self.state.config.reader_wait;
        match self.within_wait(wait, started, self.wait_for_answer(&key)).await {
            Err(over @ ReadError::WaitOver(_)) => self.serve_in_trouble(&key, true).ok_or(over),
            answered => answered,
        }
    }

    /// Fetches the secret `key` from AWS even if it is cached, for a request with
    /// `refreshNow=true`. Requests that come before the call is sent share the call.
    ///
    /// The call is sent at least [`REFRESH_NOW_INTERVAL`] after the last call for the secret. The
    /// maximum wait of these requests is longer by the same time.
    pub(crate) async fn read_now(&self, key: Key) -> Result<Served, ReadError> {
        self.check_scope(&key)?;
        let wait = self.state.config.reader_wait + REFRESH_NOW_INTERVAL;
        self.within_wait(wait, self.state.clock.now(), async {
            let wanted = self.flight_key(&key);
            let fetched = self.fetch_next(&wanted).await;
            let is_answer = match &fetched {
                Ok(entry) => wanted == key || self.answers(entry, &key),
                Err(error) => !failure::is_refusal_of_another(error, &wanted, &key),
            };
            let entry = if is_answer { fetched? } else { self.fetch_next(&key).await? };
            Ok(self.serve(entry, How::Refreshed))
        })
        .await
    }

    fn check_scope(&self, key: &Key) -> Result<(), ReadError> {
        self.state.is_allowed(key.role.as_ref(), &key.id).then_some(()).ok_or(ReadError::OutOfScope)
    }

    /// Starts a refresh of a cached secret without waiting for the result. Does nothing if a
    /// refresh is running, or if the agent must wait after a failed refresh.
    fn refresh_in_background(&self, secret: &CachedSecret, entry: &Entry, now: Moment) {
        if !entry.marks.is_paused(now)
            && entry.marks.claim_refresh()
            && self.writer.join_or_start(&secret.fetch_key(entry)).is_err()
        {
            entry.marks.release_refresh();
        }
    }

    /// Waits until a call to AWS returns the secret for `key` or fails. Waits for at most
    /// [`ROUNDS_MAX`] calls.
    async fn wait_for_answer(&self, key: &Key) -> Result<Served, ReadError> {
        for _ in 0..ROUNDS_MAX {
            let wanted = self.flight_key(key);
            if let Some(error) = self.remembered_error(&wanted) {
                return self.serve_despite(error, key);
            }
            match self.fetch(&wanted).await {
                Ok(entry) if wanted == *key || self.answers(&entry, key) => {
                    return Ok(self.serve(entry, How::Miss));
                }
                Ok(_) => {}
                Err(error) if failure::is_refusal_of_another(&error, &wanted, key) => {}
                Err(error) => return self.serve_despite(error, key),
            }
        }
        let message = "AWS changed the versions of the secret while Sidekey fetched the secret; \
                       send the request again";
        Err(FetchError::new(FetchErrorKind::Internal, "InternalFailure", message).into())
    }

    /// Returns whether a request for `key` may get `entry`, which a call for another name or label
    /// fetched. The request may not get `entry` if AWS has meanwhile moved the name or the label of
    /// `key` to another version.
    fn answers(&self, entry: &Entry, key: &Key) -> bool {
        let snapshot = self.state.snapshot.load();
        let secret = snapshot.secret(key);
        secret.is_some_and(|secret| *secret.arn == *entry.version.arn)
            && (entry.selector == key.selector
                || key.selector.selects(&entry.selector, &entry.version))
    }

    /// Returns the name and the staging label for the call to AWS that answers requests for `key`.
    /// If the wanted version is cached under another name or label, returns that name and label, so
    /// that all requests for this version share one call.
    fn flight_key(&self, key: &Key) -> Key {
        let snapshot = self.state.snapshot.load();
        let Some(secret) = snapshot.secret(key) else {
            return key.clone();
        };
        let entry = secret.select(&key.selector).filter(|entry| !entry.marks.is_refused());
        let selector = entry.map_or(&key.selector, |entry| &entry.selector);
        Key { role: key.role.clone(), id: secret.fetch_id.clone(), selector: selector.clone() }
    }

    /// Returns the error of a recent failed call for the secret `key`. Requests get this error
    /// without a new call to AWS.
    pub(super) fn remembered_error(&self, key: &Key) -> Option<FetchError> {
        let now = self.state.clock.now();
        match self.state.snapshot.load().exact(key) {
            Some(entry) => entry
                .marks
                .failure()
                .filter(|failure| failure.is_remembered(now))
                .map(|failure| failure.error.clone()),
            None => self.state.negative.error(key, now),
        }
    }

    /// Records that a request reads the cached secret `entry`, and returns the result of the read.
    pub(super) fn serve(&self, entry: Arc<Entry>, how: How) -> Served {
        let now = self.state.clock.now();
        let was_read = entry.marks.was_read();
        entry.marks.touch(now);
        if !was_read {
            // The refresh loop ignores secrets that no request has read. Wake the loop, because
            // this is the first read of the secret.
            self.state.changed.notify_waiters();
        }
        rotation::note_late_read(&self.state.snapshot.load(), &entry, now);
        let age = entry.age(now, self.state.epoch()).unwrap_or_default();
        Served { entry, how, age }
    }

    /// Runs `work` until the maximum wait (`wait`) for a request that began at `started` is over.
    /// If Lambda froze the process meanwhile, `work` may take the maximum wait once more.
    pub(super) async fn within_wait<T>(
        &self,
        wait: Duration,
        started: Moment,
        work: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let waited = self.state.clock.now().since(started).unwrap_or_default();
        // Frozen time counts here. Otherwise a request for several secrets would begin a new wait
        // for each secret after a freeze.
        if !waited.is_zero() && waited >= wait {
            return Err(ReadError::WaitOver(wait));
        }
        let mut work = pin!(work);
        let left = wait.saturating_sub(waited);
        if let Some(done) = within(&*self.state.clock, left, &mut work).await {
            return done;
        }
        if was_interrupted(self.state.clock.now().since(started), wait)
            && let Some(done) = within(&*self.state.clock, wait, &mut work).await
        {
            return done;
        }
        Err(ReadError::WaitOver(wait))
    }

    /// Returns the cached secret for `key` if the agent may return it after a failed call to AWS.
    /// `is_transient` says whether a retry may fix the failure, such as a timeout.
    fn serve_in_trouble(&self, key: &Key, is_transient: bool) -> Option<Served> {
        let now = self.state.clock.now();
        // The request has waited, so SnapStart may have restored the process meanwhile.
        self.state.detect_restore(now);
        let epoch = self.state.epoch();
        let snapshot = self.state.snapshot.load();
        let entry = snapshot.entry(key)?;
        let freshness = match is_transient {
            true => entry.freshness_in_trouble(now, epoch),
            false => entry.freshness(now, epoch),
        };
        match freshness {
            // Another call succeeded meanwhile, perhaps a call by the ARN instead of the name.
            Freshness::Fresh | Freshness::Due => Some(self.serve(entry.clone(), How::Hit)),
            Freshness::Stale(reason) => Some(self.serve(entry.clone(), How::Stale(reason))),
            Freshness::Expired => None,
        }
    }

    /// Returns the cached secret for `key` if the agent may return it although a call to AWS failed
    /// with `error`. Otherwise returns `error`.
    fn serve_despite(&self, error: FetchError, key: &Key) -> Result<Served, ReadError> {
        self.lookup(key)
            .or_else(|| self.serve_in_trouble(key, error.kind.is_transient()))
            .ok_or_else(|| error.into())
    }

    /// Fetches the secret `key` by a call to AWS that is not sent yet. If AWS returns an older
    /// version than the cached version, makes a second call to confirm the older version.
    async fn fetch_next(&self, key: &Key) -> Outcome {
        let first = self.next_outcome(key).await;
        if !first.as_ref().is_err_and(|error| error.kind == FetchErrorKind::Lagging) {
            return first;
        }
        match self.next_outcome(key).await {
            Err(error) if error.kind == FetchErrorKind::Lagging => {
                self.serve_in_trouble(key, true).map(|served| served.entry).ok_or(error)
            }
            outcome => outcome,
        }
    }

    async fn next_outcome(&self, key: &Key) -> Outcome {
        self.outcome(self.writer.join_next(key)?).await
    }

    pub(super) async fn fetch(&self, key: &Key) -> Outcome {
        self.outcome(self.writer.join_or_start(key)?).await
    }

    async fn outcome(&self, (flight, is_joined): (Flight, bool)) -> Outcome {
        if is_joined {
            self.state.metrics.flights_joined.inc();
        }
        flight.outcome().await
    }
}

#[cfg(test)]
mod tests;
