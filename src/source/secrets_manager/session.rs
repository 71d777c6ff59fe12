//! The agent's own credentials: got from the SDK's chain, kept while they are good, got anew once
//! the service refuses them, and noted for the gate.
//!
//! The SDK has a cache of its own, which keeps credentials until the end that they claim, also where
//! the service has said that they are dead, and reads a profile's files once. It is not used.

use super::chain::Chain;
use super::failure;
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

/// The least time from one attempt to get credentials to the next, whatever became of the first:
/// calls that fail one after the other must not hammer STS.
const PAUSE: Duration = Duration::from_secs(1);

/// How long before their end credentials are got anew. A call that is under way meanwhile, or an
/// attempt that has to be made again, fits in.
const AHEAD: Duration = Duration::from_secs(60);

/// How long credentials that name no end are kept: as long as by the SDK.
const UNDATED_KEPT: Duration = Duration::from_secs(15 * 60);

/// Where the agent's credentials are got, and those that it has.
///
/// `Debug` leaves the credentials out.
pub(super) struct Session {
    chain: Chain,
    wait: Duration,
    is_snapshot: bool,
    clock: Arc<dyn Clock>,
    tokens: Arc<Tokens>,
    held: ArcSwapOption<Held>,
    /// How many attempts have begun.
    attempts: AtomicU64,
    /// How many attempts have failed.
    failures: AtomicU64,
    getting: Mutex<Getting>,
}

/// Credentials that calls are signed with.
pub(super) struct Held {
    credentials: Credentials,
    got: Moment,
    /// Which attempt got them.
    attempt: u64,
    is_refused: AtomicBool,
}

/// What the one who gets credentials has in hand.
struct Getting {
    /// The chain, where it is good for one more time.
    provider: Option<SharedCredentialsProvider>,
    /// The last attempt, if it failed.
    failed: Option<Failed>,
}

/// An attempt that failed.
struct Failed {
    began: Moment,
    error: FetchError,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_snapshot", &self.is_snapshot).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins without credentials. `first` is what the chain was loaded with, which is asked first;
    /// where the process may be restored from a snapshot, each call is signed with credentials that
    /// were got for it.
    pub(super) fn new(
        chain: Chain,
        first: Option<SharedCredentialsProvider>,
        wait: Duration,
        is_snapshot: bool,
        clock: Arc<dyn Clock>,
        tokens: Arc<Tokens>,
    ) -> Self {
        let getting = Mutex::new(Getting { provider: first, failed: None });
        let held = ArcSwapOption::empty();
        let (attempts, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { chain, wait, is_snapshot, clock, tokens, held, attempts, failures, getting }
    }

    /// Returns good credentials, which may have to be got first. Calls that come at once wait for
    /// one attempt together.
    ///
    /// # Errors
    ///
    /// Where they cannot be got within the wait, and none that still live are held.
    pub(super) async fn ready(&self) -> Result<Arc<Held>, FetchError> {
        let begun = self.attempts.load(Ordering::Relaxed);
        let failures = self.failures.load(Ordering::Relaxed);
        if let Some(held) = self.good(begun) {
            return Ok(held);
        }
        let mut getting = self.getting.lock().await;
        // Whoever held the lock may have got them, or failed to.
        if let Some(held) = self.good(begun) {
            return Ok(held);
        }
        let got = match &getting.failed {
            Some(failed) if self.stands(failed, failures) => Err(failed.error.clone()),
            _ => self.get(&mut getting).await,
        };
        got.or_else(|error| self.living().ok_or(error))
    }

    /// Gets credentials anew, however good those are that are held: a caller has shown a session
    /// token that is not theirs.
    pub(super) async fn renew(&self) {
        if let Err(error) = self.get(&mut *self.getting.lock().await).await {
            tracing::warn!(code = &*error.code, "the agent's credentials could not be got anew");
        }
    }

    async fn get(&self, getting: &mut Getting) -> Result<Arc<Held>, FetchError> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let began = self.clock.now();
        let provider = match getting.provider.take() {
            Some(provider) => provider,
            None => self.chain.provider().await,
        };
        let got = within(&*self.clock, self.wait, provider.provide_credentials()).await;
        let error = match got {
            Some(Ok(credentials)) => {
                getting.failed = None;
                // A chain remembers files as it has read them, and is made in less than a
                // millisecond. Under SnapStart there are no files, and each call asks.
                getting.provider = self.is_snapshot.then_some(provider);
                return Ok(self.hold(credentials, attempt));
            }
            Some(Err(error)) => failure::of_credentials(&error),
            None => failure::late_credentials(),
        };
        self.failures.fetch_add(1, Ordering::Relaxed);
        getting.failed = Some(Failed { began, error: error.clone() });
        Err(error)
    }

    fn hold(&self, credentials: Credentials, attempt: u64) -> Arc<Held> {
        if let Some(token) = credentials.session_token() {
            self.tokens.note_session(token);
        }
        let is_refused = AtomicBool::new(false);
        let held = Arc::new(Held { credentials, got: self.clock.now(), attempt, is_refused });
        self.held.store(Some(held.clone()));
        held
    }

    /// Returns whether a failure is the caller's too: it ended while the caller waited, or the next
    /// attempt would follow too soon. `failures` is how many there were when the caller came.
    fn stands(&self, failed: &Failed, failures: u64) -> bool {
        // From its beginning: one that a freeze cut is made up for at once.
        let ago = self.clock.now().since(failed.began);
        self.failures.load(Ordering::Relaxed) > failures || ago.is_some_and(|ago| ago < PAUSE)
    }

    /// Returns what is held, if a call may be signed with it without another thought. `begun` is how
    /// many attempts had begun when the caller came.
    fn good(&self, begun: u64) -> Option<Arc<Held>> {
        let held = self.held.load_full()?;
        let is_good = match self.is_snapshot {
            true => held.attempt > begun,
            false => held.standing(self.clock.now()).is_good(),
        };
        is_good.then_some(held)
    }

    /// Returns what is held, if there is still a chance that the service takes it.
    fn living(&self) -> Option<Arc<Held>> {
        let held = self.held.load_full().filter(|_| !self.is_snapshot)?;
        held.standing(self.clock.now()).is_living().then_some(held)
    }
}

impl Held {
    /// Notes that the service has refused a call that was signed with these.
    pub(super) fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    fn standing(&self, now: Moment) -> Standing {
        let end = self.credentials.expiry();
        Standing {
            age: now.since(self.got),
            left: end.map(|end| end.duration_since(now.wall).unwrap_or_default()),
            is_refused: self.is_refused.load(Ordering::Relaxed),
        }
    }
}

/// Signs calls with what is held. Whoever calls has had it made [`ready`](Session::ready).
#[derive(Debug)]
pub(super) struct Signing(pub(super) Arc<Session>);

impl ProvideCredentials for Signing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let held = self.0.held.load();
        let held = held.as_ref().map(|held| held.credentials.clone());
        future::ProvideCredentials::ready(
            held.ok_or_else(|| CredentialsError::not_loaded("none have been got yet")),
        )
    }
}

/// How held credentials stand at one moment.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Time since they were got; `None` where the clocks cannot say.
    age: Option<Duration>,
    /// Time until the end that they name, if they name one.
    left: Option<Duration>,
    /// Whether the service has refused them.
    is_refused: bool,
}

impl Standing {
    /// Returns whether a call is signed with them, and no others are looked for.
    fn is_good(self) -> bool {
        let Some(age) = self.age else { return false };
        let is_kept = match self.left {
            Some(left) => left > AHEAD,
            None => age < UNDATED_KEPT,
        };
        age < PAUSE || (is_kept && !self.is_refused)
    }

    /// Returns whether they are worth a try where no others can be got.
    fn is_living(self) -> bool {
        !self.is_refused && self.left != Some(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(age: Option<u64>, left: Option<u64>, is_refused: bool, expected: (bool, bool)) {
        let seconds = |span: Option<u64>| span.map(Duration::from_secs);
        let standing = Standing { age: seconds(age), left: seconds(left), is_refused };
        assert_eq!((standing.is_good(), standing.is_living()), expected, "{standing:?}");
    }

    #[test]
    fn credentials_are_kept_until_shortly_before_their_end() {
        check(Some(10), Some(61), false, (true, true));
        check(Some(10), Some(60), false, (false, true));
        check(Some(10), Some(0), false, (false, false));
        check(Some(899), None, false, (true, true));
        check(Some(900), None, false, (false, true));
        check(None, Some(3600), false, (false, true));
    }

    #[test]
    fn refused_ones_are_replaced_once_a_second_at_most() {
        check(Some(1), Some(3600), true, (false, false));
        check(Some(1), None, true, (false, false));
        check(Some(0), Some(3600), true, (true, false));
        check(Some(0), Some(1), false, (true, true));
    }
}
