//! The agent's own AWS credentials: obtained from the SDK's provider chain, cached, and replaced before
//! their expiry or after AWS has rejected a call. Session tokens are added to the tokens that the gate
//! accepts.
//!
//! The SDK's own cache is not used. It keeps credentials until their expiry even if AWS rejects them,
//! and it reads the files of a profile only once.

use super::sdk_config::{Settings, credentials_provider};
use super::sdk_error;
use crate::clock::{Clock, Moment, within};
use crate::source::FetchError;
use crate::tokens::Tokens;
use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// The minimum time between two attempts to get credentials, successful or not. Calls that fail one
/// after the other must not overload STS.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long before their expiry credentials are replaced. The time is enough for a call that is in
/// progress and for a second attempt to get credentials.
const REFRESH_AHEAD: Duration = Duration::from_secs(60);

/// How long credentials without an expiry are cached. The SDK's cache uses the same time.
const NO_EXPIRY_CACHED: Duration = Duration::from_secs(15 * 60);

/// The source of the agent's credentials, and the cached credentials. `Debug` omits the credentials.
pub(super) struct Session {
    settings: Settings,
    timeout: Duration,
    is_snapshot: bool,
    clock: Arc<dyn Clock>,
    tokens: Arc<Tokens>,
    cached: ArcSwapOption<CachedCredentials>,
    /// The number of attempts to get credentials that have begun.
    attempts: AtomicU64,
    /// The number of attempts to get credentials that have failed.
    failures: AtomicU64,
    /// Locked during an attempt, so that only one attempt runs at a time.
    attempt_state: Mutex<AttemptState>,
}

/// Credentials that sign calls.
pub(super) struct CachedCredentials {
    credentials: Credentials,
    obtained: Moment,
    /// The number of the attempt that obtained the credentials.
    attempt: u64,
    is_rejected: AtomicBool,
}

/// What an attempt to get credentials leaves for the next attempt.
struct AttemptState {
    /// A provider chain that the next attempt may use. `None` means that the next attempt creates a
    /// new chain.
    provider: Option<SharedCredentialsProvider>,
    /// The last attempt, if it failed.
    failed: Option<FailedAttempt>,
}

/// A failed attempt to get credentials.
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
    /// Creates a session without credentials. The first attempt uses the provider `first`. If the
    /// process may be restored from a snapshot, each call gets its own credentials.
    pub(super) fn new(
        settings: Settings,
        first: Option<SharedCredentialsProvider>,
        timeout: Duration,
        is_snapshot: bool,
        clock: Arc<dyn Clock>,
        tokens: Arc<Tokens>,
    ) -> Self {
        Self {
            settings,
            timeout,
            is_snapshot,
            clock,
            tokens,
            cached: ArcSwapOption::empty(),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            attempt_state: Mutex::new(AttemptState { provider: first, failed: None }),
        }
    }

    /// Returns credentials for a call, and gets new credentials first if necessary. Concurrent calls
    /// share one attempt.
    ///
    /// # Errors
    ///
    /// Returns an error if no credentials arrive within the timeout and no unexpired credentials are
    /// cached.
    pub(super) async fn ready(&self) -> Result<Arc<CachedCredentials>, FetchError> {
        let attempts_before = self.attempts.load(Ordering::Relaxed);
        let failures_before = self.failures.load(Ordering::Relaxed);
        if let Some(cached) = self.usable(attempts_before) {
            return Ok(cached);
        }
        let mut state = self.attempt_state.lock().await;
        // Another call may have made an attempt while this call waited for the lock.
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

    /// Gets new credentials even if the cached credentials are valid. The gate asks for this when a
    /// request has an unknown session token.
    pub(super) async fn renew(&self) {
        if let Err(error) = self.attempt(&mut *self.attempt_state.lock().await).await {
            tracing::warn!(code = &*error.code, "could not refresh the agent's AWS credentials");
        }
    }

    async fn attempt(
        &self,
        state: &mut AttemptState,
    ) -> Result<Arc<CachedCredentials>, FetchError> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let began = self.clock.now();
        let provider = match state.provider.take() {
            Some(provider) => provider,
            None => credentials_provider(&self.settings).await,
        };
        let provided = within(&*self.clock, self.timeout, provider.provide_credentials()).await;
        let error = match provided {
            Some(Ok(credentials)) => {
                state.failed = None;
                // A chain never reads a file twice, so the next attempt uses a new chain, which takes
                // less than a millisecond to create. Under SnapStart there are no files, and each call
                // makes an attempt, so the chain is used again.
                state.provider = self.is_snapshot.then_some(provider);
                return Ok(self.cache(credentials, attempt));
            }
            Some(Err(error)) => sdk_error::from_credentials_error(&error),
            None => sdk_error::credentials_timeout(),
        };
        self.failures.fetch_add(1, Ordering::Relaxed);
        state.failed = Some(FailedAttempt { began, error: error.clone() });
        Err(error)
    }

    fn cache(&self, credentials: Credentials, attempt: u64) -> Arc<CachedCredentials> {
        if let Some(token) = credentials.session_token() {
            self.tokens.add_session(token);
        }
        let cached = Arc::new(CachedCredentials {
            credentials,
            obtained: self.clock.now(),
            attempt,
            is_rejected: AtomicBool::new(false),
        });
        self.cached.store(Some(cached.clone()));
        cached
    }

    /// Returns whether a failed attempt also fails the current call: the attempt failed while the call
    /// waited for the lock, or the attempt began less than [`RETRY_DELAY`] ago. `failures_before` is
    /// the number of failed attempts when the call began.
    fn is_shared_failure(&self, failed: &FailedAttempt, failures_before: u64) -> bool {
        // The time counts from the beginning of the attempt. After a freeze in the middle of an
        // attempt, the next attempt then follows at once.
        let age = self.clock.now().since(failed.began);
        self.failures.load(Ordering::Relaxed) > failures_before
            || age.is_some_and(|age| age < RETRY_DELAY)
    }

    /// Returns the cached credentials if no attempt to get new credentials is necessary.
    /// `attempts_before` is the number of attempts when the call began.
    fn usable(&self, attempts_before: u64) -> Option<Arc<CachedCredentials>> {
        let cached = self.cached.load_full()?;
        let is_usable = match self.is_snapshot {
            // The credentials must be newer than the call.
            true => cached.attempt > attempts_before,
            false => cached.validity(self.clock.now()).is_usable(),
        };
        is_usable.then_some(cached)
    }

    /// Returns the cached credentials if AWS may still accept them.
    fn unexpired(&self) -> Option<Arc<CachedCredentials>> {
        let cached = self.cached.load_full().filter(|_| !self.is_snapshot)?;
        cached.validity(self.clock.now()).is_unexpired().then_some(cached)
    }
}

impl CachedCredentials {
    /// Records that AWS rejected a call that was signed with these credentials.
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

/// Provides the cached credentials to the SDK. The caller must await [`ready`](Session::ready) before
/// each call.
#[derive(Debug)]
pub(super) struct CachedProvider(pub(super) Arc<Session>);

impl ProvideCredentials for CachedProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let cached = self.0.cached.load();
        let credentials = cached.as_ref().map(|cached| cached.credentials.clone());
        future::ProvideCredentials::ready(
            credentials.ok_or_else(|| CredentialsError::not_loaded("no credentials are cached")),
        )
    }
}

/// The validity of cached credentials at one moment.
#[derive(Clone, Copy, Debug)]
struct Validity {
    /// The time since the credentials were obtained, or `None` if the clocks cannot tell.
    age: Option<Duration>,
    /// The time until the expiry, or `None` if the credentials have no expiry.
    remaining: Option<Duration>,
    /// Whether AWS has rejected a call that was signed with the credentials.
    is_rejected: bool,
}

impl Validity {
    /// Returns whether the credentials can sign a call without an attempt to get new credentials.
    fn is_usable(self) -> bool {
        let Some(age) = self.age else { return false };
        let is_fresh = match self.remaining {
            Some(remaining) => remaining > REFRESH_AHEAD,
            None => age < NO_EXPIRY_CACHED,
        };
        // Credentials younger than the retry delay are used even if they were rejected.
        age < RETRY_DELAY || (is_fresh && !self.is_rejected)
    }

    /// Returns whether the credentials can sign a call if no new credentials are available.
    fn is_unexpired(self) -> bool {
        !self.is_rejected && self.remaining != Some(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks whether credentials are usable and whether they are unexpired. Times are in seconds.
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
