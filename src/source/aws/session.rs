//! Caches AWS credentials, and replaces them before their expiry or after AWS has rejected a call.
//! Each session has either the agent's own credentials or those of an assumed role.
//!
//! Clients may authenticate to the agent with the session token of the agent's own credentials.
//!
//! The agent does not use the cache of the AWS SDK. That cache would keep credentials until their
//! expiry even if AWS rejects them, and would read the AWS profile files only once.

use super::aws_error;
use super::credentials::{self, ProfileFiles, ProviderChain, Settings};
use crate::clock::{Clock, Moment, within};
use crate::source::{FetchError, OwnCredentials};
use crate::tokens::Tokens;
use arc_swap::{ArcSwap, ArcSwapOption};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// The minimum time between two attempts to get AWS credentials. Without this limit, many failing
/// calls could overload STS.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long before their expiry the agent replaces AWS credentials. In this time, running calls can
/// finish, and the agent can try again if it fails to get new credentials.
const REFRESH_AHEAD: Duration = Duration::from_secs(60);

/// How long the agent caches AWS credentials that have no expiry. The cache of the AWS SDK uses the
/// same time.
const NO_EXPIRY_CACHED: Duration = Duration::from_secs(15 * 60);

/// Cached AWS credentials, and how the agent gets new credentials. The `Debug` output omits the
/// credentials.
pub(super) struct Session {
    origin: Origin,
    attempt_timeout: Duration,
    is_snapshot: bool,
    clock: Arc<dyn Clock>,
    /// The tokens that the agent accepts from clients. The session adds the session token of new
    /// credentials. `None` for an assumed role, whose session token clients never have.
    tokens: Option<Arc<Tokens>>,
    cached: ArcSwapOption<CachedCredentials>,
    /// The maximum time for the last attempt to get AWS credentials, or for the first attempt if
    /// there was none yet.
    timeout: ArcSwap<Duration>,
    attempts: AtomicU64,
    failures: AtomicU64,
    /// The data that one attempt to get AWS credentials passes to the next attempt. An attempt
    /// holds this lock, so only one attempt runs at a time.
    attempt_state: Mutex<AttemptState>,
}

/// Where the AWS credentials of a session come from.
enum Origin {
    /// The chain of credential providers of the AWS SDK, such as a profile.
    Sdk(Settings),
    /// A call of AWS's Security Token Service (STS), which assumes a role.
    Role { provider: SharedCredentialsProvider, own: Arc<Session> },
}

pub(super) struct CachedCredentials {
    credentials: Credentials,
    obtained: Moment,
    /// The number of the attempt that got these AWS credentials. The first attempt has the number
    /// 1.
    attempt: u64,
    /// The state of the AWS profile files before the credentials were read from these files.
    profile_files: Arc<ProfileFiles>,
    is_rejected: AtomicBool,
}

struct AttemptState {
    /// The chain of AWS credential providers for the next attempt to get credentials. If `None`,
    /// the next attempt creates a new chain.
    provider: Option<ProviderChain>,
    /// The last attempt to get AWS credentials, if it failed. `None` if the last attempt succeeded.
    failed: Option<FailedAttempt>,
}

struct FailedAttempt {
    began: Moment,
    error: FetchError,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_snapshot", &self.is_snapshot).finish_non_exhaustive()
    }
}

impl Session {
    /// Creates an empty cache for the agent's own AWS credentials. The first attempt to get
    /// credentials uses the provider chain `first`.
    ///
    /// `is_snapshot` tells whether SnapStart may restore the process from a snapshot. If so, each
    /// call to AWS uses new credentials.
    pub(super) fn new(
        settings: Settings,
        first: ProviderChain,
        is_snapshot: bool,
        clock: Arc<dyn Clock>,
        tokens: Arc<Tokens>,
    ) -> Self {
        Self {
            attempt_timeout: settings.timeouts.attempt,
            origin: Origin::Sdk(settings),
            is_snapshot,
            clock,
            tokens: Some(tokens),
            cached: ArcSwapOption::empty(),
            timeout: ArcSwap::from_pointee(first.timeout),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            attempt_state: Mutex::new(AttemptState { provider: Some(first), failed: None }),
        }
    }

    /// Creates an empty cache for the AWS credentials of an assumed role. `provider` assumes the
    /// role, with a call that takes at most `attempt_timeout` and that uses the credentials of
    /// `own`.
    ///
    /// The credentials of a role always have an expiry. So after SnapStart has restored the process
    /// from a snapshot, the agent can tell whether they are still valid, and then uses them.
    pub(super) fn of_role(
        provider: SharedCredentialsProvider,
        own: Arc<Self>,
        attempt_timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let timeout = own.timeout() + attempt_timeout;
        Self {
            origin: Origin::Role { provider, own },
            attempt_timeout,
            is_snapshot: false,
            clock,
            tokens: None,
            cached: ArcSwapOption::empty(),
            timeout: ArcSwap::from_pointee(timeout),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            attempt_state: Mutex::new(AttemptState { provider: None, failed: None }),
        }
    }

    /// Returns whether the session has AWS credentials, even if they have expired.
    pub(super) fn has_credentials(&self) -> bool {
        self.cached.load().is_some()
    }

    /// Returns AWS credentials with which the agent can sign a call. Gets new credentials first if
    /// the cached credentials are missing, are about to expire, or were rejected by AWS, or if an
    /// AWS profile file has changed. Concurrent calls share one attempt to get credentials.
    ///
    /// Returns an error if the agent cannot get new credentials and the cached credentials are
    /// missing, expired or rejected.
    pub(super) async fn ready(&self) -> Result<Arc<CachedCredentials>, FetchError> {
        let attempts_before = self.attempts.load(Ordering::Relaxed);
        let failures_before = self.failures.load(Ordering::Relaxed);
        if let Some(cached) = self.usable(attempts_before) {
            return Ok(cached);
        }
        let mut state = self.attempt_state.lock().await;
        // While this call waited for the lock, another call may have got new credentials.
        if let Some(cached) = self.usable(attempts_before) {
            return Ok(cached);
        }
        let result = match &state.failed {
            Some(failed) if self.is_shared_failure(failed, failures_before) => {
                Err(failed.error.clone())
            }
            _ => self.attempt(&mut state).await,
        };
        result.or_else(|error| self.unexpired().ok_or(error))
    }

    /// Gets new AWS credentials even if the cached credentials are valid. The agent calls this
    /// function when a request contains an unknown token, which may be the session token of newer
    /// credentials.
    pub(super) async fn renew(&self) {
        if let Err(error) = self.attempt(&mut *self.attempt_state.lock().await).await {
            tracing::warn!(code = &*error.code, "Sidekey could not refresh its AWS credentials");
        }
    }

    /// Returns how long an attempt to get AWS credentials may take. The time is longer if the AWS
    /// profile has a `credential_process` (a program that prints the credentials), so it can change
    /// when the profile changes.
    pub(super) fn timeout(&self) -> Duration {
        **self.timeout.load()
    }

    /// Returns what users may know about the cached AWS credentials. Returns `None` if no
    /// credentials are cached.
    pub(super) fn own_credentials(&self) -> Option<OwnCredentials> {
        self.cached.load().as_ref().map(|cached| OwnCredentials {
            expires: cached.credentials.expiry(),
            is_rejected: cached.is_rejected.load(Ordering::Relaxed),
        })
    }

    async fn attempt(
        &self,
        state: &mut AttemptState,
    ) -> Result<Arc<CachedCredentials>, FetchError> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let began = self.clock.now();
        let chain = match state.provider.take() {
            Some(chain) if !chain.is_outdated() => chain,
            _ => self.new_chain().await,
        };
        self.timeout.store(Arc::new(chain.timeout));
        // While the cached credentials are valid, a call uses them rather than waiting for a slow
        // program.
        let timeout = match self.unexpired() {
            Some(_) => self.attempt_timeout.min(chain.timeout),
            None => chain.timeout,
        };
        let provided = within(&*self.clock, timeout, chain.provider.provide_credentials()).await;
        let provided = provided.map(|provided| {
            let credentials = provided.map_err(|e| aws_error::from_credentials_error(&e))?;
            aws_error::check_credentials(&credentials).map(|()| credentials)
        });
        let error = match provided {
            Some(Ok(credentials)) => {
                state.failed = None;
                // A chain of credential providers reads each file only once, so the next attempt
                // must use a new chain. Creating a chain takes less than a millisecond. Under
                // SnapStart, there are no files and each call makes an attempt, so the chain is
                // used again.
                let profile_files = chain.profile_files.clone();
                state.provider = self.is_snapshot.then_some(chain);
                return Ok(self.cache(credentials, attempt, profile_files));
            }
            Some(Err(error)) => error,
            None => aws_error::credentials_timeout(),
        };
        self.failures.fetch_add(1, Ordering::Relaxed);
        state.failed = Some(FailedAttempt { began, error: error.clone() });
        Err(error)
    }

    async fn new_chain(&self) -> ProviderChain {
        match &self.origin {
            Origin::Sdk(settings) => credentials::load(settings).await.chain,
            Origin::Role { provider, own } => ProviderChain {
                provider: provider.clone(),
                timeout: own.timeout() + self.attempt_timeout,
                profile_files: Arc::new(ProfileFiles::none()),
            },
        }
    }

    fn cache(
        &self,
        credentials: Credentials,
        attempt: u64,
        profile_files: Arc<ProfileFiles>,
    ) -> Arc<CachedCredentials> {
        if let (Some(tokens), Some(token)) = (&self.tokens, credentials.session_token()) {
            tokens.add_session(token);
        }
        let cached = Arc::new(CachedCredentials {
            credentials,
            obtained: self.clock.now(),
            attempt,
            profile_files,
            is_rejected: AtomicBool::new(false),
        });
        self.cached.store(Some(cached.clone()));
        cached
    }

    /// Returns whether a call must use the error of an earlier attempt to get AWS credentials,
    /// instead of making its own attempt.
    ///
    /// This is so if an attempt has failed since the call began, or if the attempt `failed` began
    /// less than [`RETRY_DELAY`] ago. `failures_before` is the number of failed attempts when the
    /// call began.
    fn is_shared_failure(&self, failed: &FailedAttempt, failures_before: u64) -> bool {
        // The delay is measured from the beginning of the attempt. If Lambda froze the process
        // during the attempt, the next attempt can therefore start at once.
        let age = self.clock.now().since(failed.began);
        self.failures.load(Ordering::Relaxed) > failures_before
            || age.is_some_and(|age| age < RETRY_DELAY)
    }

    /// Returns the cached AWS credentials if a call can use them. Returns `None` if the agent must
    /// get new credentials first.
    ///
    /// Under SnapStart, the cached credentials may come from an old snapshot. A call can then use
    /// only credentials that the agent got after the call began. `attempts_before` is how many
    /// times the agent had asked for credentials when the call began.
    fn usable(&self, attempts_before: u64) -> Option<Arc<CachedCredentials>> {
        let cached = self.cached.load_full()?;
        let is_usable = match self.is_snapshot {
            // A snapshot may contain old credentials, so only credentials from attempts after the
            // beginning of the call are usable.
            true => cached.attempt > attempts_before,
            false => {
                let now = self.clock.now();
                cached.validity(now).is_usable() && !cached.profile_files.have_changed()
            }
        };
        is_usable.then_some(cached)
    }

    /// Returns the cached AWS credentials if they have not expired and AWS has not rejected them. A
    /// call uses these credentials if the agent cannot get new credentials.
    ///
    /// Under SnapStart, returns `None`, because the process may come from a snapshot with old
    /// credentials.
    fn unexpired(&self) -> Option<Arc<CachedCredentials>> {
        let cached = self.cached.load_full().filter(|_| !self.is_snapshot)?;
        cached.validity(self.clock.now()).is_unexpired().then_some(cached)
    }
}

impl CachedCredentials {
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn mark_rejected(&self) {
        self.is_rejected.store(true, Ordering::Relaxed);
    }

    fn validity(&self, now: Moment) -> Validity {
        let expiry = self.credentials.expiry();
        Validity {
            age: now.since(self.obtained),
            remaining: expiry.map(|expiry| expiry.duration_since(now.wall).unwrap_or_default()),
            is_rejected: self.is_rejected.load(Ordering::Relaxed),
        }
    }
}

/// The properties that decide whether the agent can sign calls with its cached AWS credentials.
#[derive(Clone, Copy, Debug)]
struct Validity {
    /// How long ago the agent got the AWS credentials. `None` if this time is unknown because the
    /// steady (monotonic) clock went back.
    age: Option<Duration>,
    /// The time until the AWS credentials expire, or `None` if the credentials never expire.
    remaining: Option<Duration>,
    is_rejected: bool,
}

impl Validity {
    /// Returns whether the agent can sign a call with the cached AWS credentials without getting
    /// new credentials first.
    fn is_usable(self) -> bool {
        let Some(age) = self.age else { return false };
        let is_fresh = match self.remaining {
            Some(remaining) => remaining > REFRESH_AHEAD,
            None => age < NO_EXPIRY_CACHED,
        };
        // Credentials that are younger than the retry delay are used even if AWS has rejected them.
        age < RETRY_DELAY || (is_fresh && !self.is_rejected)
    }

    /// Returns whether a call can still use the cached AWS credentials if the agent fails to get
    /// new credentials.
    fn is_unexpired(self) -> bool {
        !self.is_rejected && self.remaining != Some(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks whether AWS credentials are usable, and whether they are unexpired. `expected`
    /// contains both results in this order. `age` and `remaining` are in seconds.
    #[track_caller]
    fn check(age: Option<u64>, remaining: Option<u64>, is_rejected: bool, expected: (bool, bool)) {
        let seconds = |span: Option<u64>| span.map(Duration::from_secs);
        let validity = Validity { age: seconds(age), remaining: seconds(remaining), is_rejected };
        assert_eq!((validity.is_usable(), validity.is_unexpired()), expected, "{validity:?}");
    }

    #[test]
    fn credentials_are_usable_until_one_minute_before_expiry() {
        check(Some(10), Some(61), false, (true, true));
        check(Some(10), Some(60), false, (false, true));
        check(Some(10), Some(0), false, (false, false));
        check(Some(899), None, false, (true, true));
        check(Some(900), None, false, (false, true));
        check(None, Some(3600), false, (false, true));
    }

    #[test]
    fn rejected_credentials_are_replaced_at_most_once_per_second() {
        check(Some(1), Some(3600), true, (false, false));
        check(Some(1), None, true, (false, false));
        check(Some(0), Some(3600), true, (true, false));
        check(Some(0), Some(1), false, (true, true));
    }
}
