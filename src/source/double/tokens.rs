//! Which session tokens are taken.

use super::error::AwsError;
use super::{Now, lock};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// How many tokens with an end are remembered. Beyond it the one that ends first is forgotten.
const ENDS_MAX: usize = 1_000;

/// A handle on the session tokens that are taken. Clones reach the same ones.
///
/// Any token is, until [`accept_only`](Self::accept_only), except those that have expired: by hand,
/// or since STS issued them.
#[derive(Clone)]
pub struct Tokens {
    gate: Arc<Mutex<Gate>>,
    now: Now,
}

#[derive(Default)]
struct Gate {
    accepted: Option<BTreeSet<String>>,
    ends: BTreeMap<String, SystemTime>,
}

impl Tokens {
    pub(super) fn new(now: Now) -> Self {
        Self { gate: Arc::default(), now }
    }

    /// Takes any token, and none too.
    pub fn accept_any(&self) {
        lock(&self.gate).accepted = None;
    }

    /// Takes these tokens and those that STS issues, and nothing else.
    pub fn accept_only<T: Into<String>>(&self, tokens: impl IntoIterator<Item = T>) {
        lock(&self.gate).accepted = Some(tokens.into_iter().map(Into::into).collect());
    }

    /// Lets a token expire now.
    pub fn expire(&self, token: &str) {
        self.issue(token.to_owned(), (self.now)());
    }

    /// Remembers a token that is taken until `end`.
    pub(super) fn issue(&self, token: String, end: SystemTime) {
        let mut gate = lock(&self.gate);
        gate.ends.insert(token, end);
        if gate.ends.len() > ENDS_MAX {
            let first = gate.ends.iter().min_by_key(|(_, end)| **end).map(|(it, _)| it.clone());
            first.and_then(|token| gate.ends.remove(&token));
        }
    }

    /// Checks a request's token.
    pub(super) fn check(&self, token: Option<&str>) -> Result<(), AwsError> {
        let gate = lock(&self.gate);
        let end = token.and_then(|token| gate.ends.get(token));
        if end.is_some_and(|&end| end <= (self.now)()) {
            let message = "The security token included in the request is expired";
            return Err(AwsError::new("ExpiredTokenException", message));
        }
        let known = match (&gate.accepted, token) {
            (None, _) => true,
            (Some(accepted), Some(token)) => end.is_some() || accepted.contains(token),
            (Some(_), None) => false,
        };
        if known {
            return Ok(());
        }
        let message = "The security token included in the request is invalid.";
        Err(AwsError::new("UnrecognizedClientException", message))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = lock(&self.gate);
        f.debug_struct("Tokens")
            .field("accepted", &gate.accepted.as_ref().map(BTreeSet::len))
            .field("with_an_end", &gate.ends.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn tokens() -> Tokens {
        Tokens::new(Arc::new(|| START))
    }

    #[track_caller]
    fn check(tokens: &Tokens, token: Option<&str>, expected: &str) {
        let found = tokens.check(token).map_or_else(|error| error.kind, |()| "".into());
        assert_eq!(found, expected);
    }

    #[test]
    fn any_token_is_taken_until_some_are_named() {
        let tokens = tokens();
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
    fn an_expired_token_says_so() {
        let tokens = tokens();
        tokens.accept_only(["a"]);
        tokens.expire("a");
        check(&tokens, Some("a"), "ExpiredTokenException");
    }

    #[test]
    fn an_issued_token_is_taken_until_its_end() {
        let tokens = tokens();
        tokens.accept_only(Vec::<String>::new());
        tokens.issue("live".to_owned(), START + Duration::from_secs(1));
        tokens.issue("ended".to_owned(), START);
        check(&tokens, Some("live"), "");
        check(&tokens, Some("ended"), "ExpiredTokenException");
    }

    #[test]
    fn debug_counts_tokens() {
        let tokens = tokens();
        tokens.accept_only(["hunter2"]);
        tokens.expire("hunter3");
        assert_eq!(format!("{tokens:?}"), "Tokens { accepted: Some(1), with_an_end: 1 }");
    }

    #[test]
    fn the_token_that_ends_first_is_forgotten() {
        let tokens = tokens();
        for second in 0..=1_000 {
            tokens.issue(format!("{second:04}"), START + Duration::from_secs(second));
        }
        check(&tokens, Some("0000"), "");
        assert_eq!(lock(&tokens.gate).ends.len(), ENDS_MAX);
    }
}
