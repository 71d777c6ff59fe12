//! The tokens that the agent accepts from callers: configured tokens, and the session tokens of the
//! agent's own AWS credentials.
//!
//! The server checks the token of each request against these tokens.

use arc_swap::ArcSwap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// How many session tokens the agent accepts at the same time: the tokens of its current and its
/// previous AWS credentials. A caller may have read the previous token just before the credentials
/// changed.
const SESSIONS_MAX: usize = 2;

/// A secret string that a caller must send to the agent. Code cannot print a token. Tokens are
/// compared in constant time, and overwritten in memory when they are dropped.
pub struct Token(Zeroizing<Vec<u8>>);

/// The error for an empty token. An empty token would give every caller access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token must not be empty")]
pub struct EmptyToken;

impl Token {
    /// Creates a token from a string.
    ///
    /// # Errors
    ///
    /// Returns an error if the string is empty.
    pub fn new(text: String) -> Result<Self, EmptyToken> {
        if text.is_empty() { Err(EmptyToken) } else { Ok(Self(Zeroizing::new(text.into_bytes()))) }
    }

    /// Returns the bytes of the token, for a client that sends the token.
    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether the token equals `given`. The duration depends only on the two lengths.
    pub(crate) fn matches(&self, given: &[u8]) -> bool {
        self.is(given).into()
    }

    /// Compares the token with `given` in a time that depends only on their lengths.
    ///
    /// Session tokens have about 1,000 bytes. A comparison of single bytes would take longer than
    /// the rest of a cached read, so this function compares blocks.
    fn is(&self, given: &[u8]) -> Choice {
        if self.0.len() != given.len() {
            return Choice::from(0);
        }
        let are_same = |own: &[u8; 16], given: &[u8; 16]| {
            u128::from_ne_bytes(*own).ct_eq(&u128::from_ne_bytes(*given))
        };
        let (Some(own_end), Some(given_end)) = (self.0.last_chunk(), given.last_chunk()) else {
            return self.0.as_slice().ct_eq(given);
        };
        // The last block overlaps the block before, unless the length is a multiple of 16.
        let (own, given) = (self.0.as_chunks().0, given.as_chunks().0);
        let blocks = own.iter().zip(given).map(|(own, given)| are_same(own, given));
        blocks.fold(are_same(own_end, given_end), |same, block| same & block)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// All tokens that the agent accepts from callers.
#[derive(Debug)]
pub struct Tokens {
    configured: Vec<Token>,
    /// The session tokens of the agent's AWS credentials, newest first. Reading the list takes no
    /// lock, because every request reads it.
    sessions: ArcSwap<Vec<Arc<Token>>>,
    /// A lock for adding session tokens. Without the lock, one of two session tokens that are added
    /// at the same time could get lost.
    writer: Mutex<()>,
}

impl Tokens {
    /// Creates the list of accepted tokens from the `configured` tokens. The list has no session
    /// tokens yet.
    pub fn new(configured: Vec<Token>) -> Self {
        Self { configured, sessions: ArcSwap::default(), writer: Mutex::new(()) }
    }

    pub(crate) fn accepts(&self, given: &[u8]) -> bool {
        any(self.configured.iter(), given).into()
    }

    /// Returns whether `given` is a configured token, or a session token of the agent's AWS
    /// credentials. A caller with such a session token could also read the secrets directly from
    /// AWS.
    pub(crate) fn accepts_session(&self, given: &[u8]) -> bool {
        let sessions = self.sessions.load();
        let is_session = any(sessions.iter().map(|token| &**token), given);
        (any(self.configured.iter(), given) | is_session).into()
    }

    /// Returns whether the agent knows a session token of its own AWS credentials. Static AWS keys
    /// have no session token.
    pub(crate) fn has_session(&self) -> bool {
        !self.sessions.load().is_empty()
    }

    /// Adds the session token of the agent's new AWS credentials. Only the newest [`SESSIONS_MAX`]
    /// session tokens stay accepted.
    pub(crate) fn add_session(&self, token: &str) {
        let Ok(token) = Token::new(token.to_owned()) else { return };
        let _writer = self.writer.lock().expect("no thread may panic while it holds the lock");
        let known = self.sessions.load();
        if any(known.first().map(|token| &**token), &token.0).into() {
            return;
        }
        let previous = known.iter().take(SESSIONS_MAX - 1).cloned();
        let sessions = std::iter::once(Arc::new(token)).chain(previous).collect();
        self.sessions.store(Arc::new(sessions));
    }
}

/// A source of new AWS credentials, which adds their session token to [`Tokens`].
///
/// The server asks for new credentials if a request has an unknown token, because the caller may
/// have got its AWS credentials after the agent.
pub(crate) trait Renew: fmt::Debug + Send + Sync {
    /// Refreshes the agent's AWS credentials, and adds their session token to [`Tokens`]. Returns
    /// no error: the caller of this function checks again whether [`Tokens`] accepts the token.
    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Returns whether `given` is one of `tokens`. Always compares all tokens, so that the duration
/// does not reveal which token matched.
fn any<'a>(tokens: impl IntoIterator<Item = &'a Token>, given: &[u8]) -> Choice {
    tokens.into_iter().fold(Choice::from(0), |found, token| found | token.is(given))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    fn tokens(configured: &[&str]) -> Tokens {
        let token =
            |text: &&str| Token::new((*text).to_owned()).expect("the token must not be empty");
        Tokens::new(configured.iter().map(token).collect())
    }

    #[test]
    fn only_configured_tokens_are_accepted() {
        let tokens = tokens(&["one", "two"]);
        assert!(tokens.accepts(b"one") && tokens.accepts(b"two"));
        for wrong in ["", "o", "onee", "three"] {
            assert!(!tokens.accepts(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn each_byte_of_a_token_counts() {
        for length in [1, 15, 16, 17, 33, 1000] {
            let right = "t".repeat(length);
            let tokens = tokens(&[&right]);
            assert!(tokens.accepts(right.as_bytes()), "{length} bytes");
            assert!(!tokens.accepts(&right.as_bytes()[1..]) && !tokens.accepts(b""));
            for at in 0..length {
                for bit in 0..8 {
                    let mut wrong = right.clone().into_bytes();
                    wrong[at] ^= 1 << bit;
                    assert!(!tokens.accepts(&wrong), "byte {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn current_and_previous_session_token_are_accepted() {
        let tokens = tokens(&["own"]);
        assert!(!tokens.has_session());
        for session in ["a", "a", "b", "c"] {
            tokens.add_session(session);
        }
        assert!(tokens.accepts_session(b"c") && tokens.accepts_session(b"b"));
        assert!(
            !tokens.accepts_session(b"a"),
            "a session token must be refused after two newer ones were added"
        );
        assert!(tokens.accepts_session(b"own") && tokens.has_session());
        assert!(
            !tokens.accepts(b"c"),
            "a plain GET request must not be accepted with a session token"
        );
    }

    #[test]
    fn empty_token_is_refused_and_no_token_is_printed() {
        assert_eq!(Token::new(String::new()).map(|_| ()), Err(EmptyToken));
        let tokens = tokens(&["hunter2"]);
        tokens.add_session("hunter3");
        assert!(!format!("{tokens:?}").contains("hunter"));
    }

    #[test]
    fn concurrently_added_session_tokens_are_both_accepted() {
        const ROUNDS: usize = 5_000;
        for round in 0..ROUNDS {
            let tokens = tokens(&["own"]);
            let start = Barrier::new(3);
            let note = |session| {
                start.wait();
                tokens.add_session(session);
            };
            thread::scope(|scope| {
                scope.spawn(|| note("a"));
                scope.spawn(|| note("b"));
                start.wait();
                assert!(tokens.accepts_session(b"own"), "round {round}");
            });
            let is_accepted = |session: &str| tokens.accepts_session(session.as_bytes());
            assert!(is_accepted("a") && is_accepted("b"), "round {round}");
        }
    }
}
