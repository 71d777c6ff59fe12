//! The session tokens that the fake AWS server accepts in requests.

use crate::clock::Now;
use crate::error::AwsError;
use crate::lock::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The maximum number of session tokens whose expiry the fake AWS server remembers. Above this
/// number, the fake forgets the token that expires first.
const EXPIRIES_MAX: usize = 1_000;

/// A handle with which a test controls which session tokens the fake AWS server accepts. All clones
/// of this handle control the same server.
///
/// The server accepts every session token that has not expired, until a test calls
/// [`accept_only`](Self::accept_only).
#[derive(Clone)]
pub struct SessionTokens {
    rules: Arc<Mutex<Rules>>,
    now: Now,
}

#[derive(Default)]
struct Rules {
    /// The session tokens that the fake AWS server accepts, or `None` if the server accepts every
    /// token.
    accepted: Option<BTreeSet<String>>,
    expiries: BTreeMap<String, SystemTime>,
}

impl SessionTokens {
    pub(crate) fn new(now: Now) -> Self {
        Self { rules: Arc::default(), now }
    }

    /// Makes the fake AWS server accept requests with any session token that has not expired, and
    /// also requests without a session token.
    pub fn accept_any(&self) {
        lock(&self.rules).accepted = None;
    }

    /// Makes the fake AWS server accept only these session tokens, and the session tokens that the
    /// server's own STS issues.
    pub fn accept_only<T: Into<String>>(&self, tokens: impl IntoIterator<Item = T>) {
        lock(&self.rules).accepted = Some(tokens.into_iter().map(Into::into).collect());
    }

    /// Makes a session token expire now. The fake AWS server then rejects requests with this token.
    pub fn expire(&self, token: &str) {
        self.issue(token.to_owned(), (self.now)());
    }

    pub(crate) fn issue(&self, token: String, expiry: SystemTime) {
        let mut rules = lock(&self.rules);
        rules.expiries.insert(token, expiry);
        if rules.expiries.len() > EXPIRIES_MAX {
            let first =
                rules.expiries.iter().min_by_key(|(_, expiry)| **expiry).map(|(it, _)| it.clone());
            first.and_then(|token| rules.expiries.remove(&token));
        }
    }

    pub(crate) fn check(&self, token: Option<&str>) -> Result<(), AwsError> {
        let rules = lock(&self.rules);
        let expiry = token.and_then(|token| rules.expiries.get(token));
        if expiry.is_some_and(|&expiry| expiry <= (self.now)()) {
            let message = "The security token included in the request is expired";
            return Err(AwsError::new("ExpiredTokenException", message));
        }
        let is_accepted = match (&rules.accepted, token) {
            (None, _) => true,
            (Some(accepted), Some(token)) => expiry.is_some() || accepted.contains(token),
            (Some(_), None) => false,
        };
        if is_accepted {
            return Ok(());
        }
        let message = "The security token included in the request is invalid.";
        Err(AwsError::new("UnrecognizedClientException", message))
    }
}

impl fmt::Debug for SessionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Prints only how many tokens there are, because session tokens are credentials.
        let rules = lock(&self.rules);
        f.debug_struct("SessionTokens")
            .field("accepted", &rules.accepted.as_ref().map(BTreeSet::len))
            .field("with_expiry", &rules.expiries.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn session_tokens() -> SessionTokens {
        SessionTokens::new(Arc::new(|| START))
    }

    /// Checks that the fake AWS server rejects a session token with the error `expected`. If
    /// `expected` is empty, checks that the server accepts the token.
    #[track_caller]
    fn check(tokens: &SessionTokens, token: Option<&str>, expected: &str) {
        let kind = tokens.check(token).map_or_else(|error| error.kind, |()| "".into());
        assert_eq!(kind, expected);
    }

    #[test]
    fn any_token_is_accepted_until_accept_only_is_called() {
        let tokens = session_tokens();
        check(&tokens, None, "");
        check(&tokens, Some("a"), "");
        tokens.accept_only(["a"]);
        check(&tokens, Some("a"), "");
        check(&tokens, Some("b"), "UnrecognizedClientException");
        check(&tokens, None, "UnrecognizedClientException");
        tokens.accept_any();
        check(&tokens, Some("b"), "");
    }

    #[test]
    fn expired_token_is_rejected_as_expired() {
        let tokens = session_tokens();
        tokens.accept_only(["a"]);
        tokens.expire("a");
        check(&tokens, Some("a"), "ExpiredTokenException");
    }

    #[test]
    fn issued_token_is_accepted_until_its_expiry() {
        let tokens = session_tokens();
        tokens.accept_only(Vec::<String>::new());
        tokens.issue("valid".to_owned(), START + Duration::from_secs(1));
        tokens.issue("expired".to_owned(), START);
        check(&tokens, Some("valid"), "");
        check(&tokens, Some("expired"), "ExpiredTokenException");
    }

    #[test]
    fn debug_prints_counts_and_no_tokens() {
        let tokens = session_tokens();
        tokens.accept_only(["hunter2"]);
        tokens.expire("hunter3");
        assert_eq!(format!("{tokens:?}"), "SessionTokens { accepted: Some(1), with_expiry: 1 }");
    }

    #[test]
    fn token_that_expires_first_is_forgotten_first() {
        let tokens = session_tokens();
        for second in 0..=1_000 {
            tokens.issue(format!("{second:04}"), START + Duration::from_secs(second));
        }
        check(&tokens, Some("0000"), "");
        assert_eq!(lock(&tokens.rules).expiries.len(), EXPIRIES_MAX);
    }
}
