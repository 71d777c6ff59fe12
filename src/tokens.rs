//! The tokens that the gate accepts now: written where credentials are got, read by the gate.

use arc_swap::ArcSwap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// How many session tokens of the agent's own credentials are accepted: the current one, and the
/// previous one for requests signed just before it changed.
const SESSIONS_MAX: usize = 2;

/// One token. It cannot be printed, is compared in constant time and wiped when dropped.
pub struct Token(Zeroizing<Vec<u8>>);

/// A token was empty, which would let anybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token must not be empty")]
pub struct EmptyToken;

impl Token {
    /// Takes over a token's text.
    ///
    /// # Errors
    ///
    /// Where it is empty.
    pub fn new(text: String) -> Result<Self, EmptyToken> {
        if text.is_empty() { Err(EmptyToken) } else { Ok(Self(Zeroizing::new(text.into_bytes()))) }
    }

    /// Returns the token's bytes, for a client to show.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    fn is(&self, given: &[u8]) -> Choice {
        self.0.as_slice().ct_eq(given)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// The tokens that are accepted.
#[derive(Debug)]
pub struct Tokens {
    configured: Vec<Token>,
    sessions: ArcSwap<Vec<Arc<Token>>>,
    writer: Mutex<()>,
}

impl Tokens {
    /// Accepts `configured` tokens.
    pub fn new(configured: Vec<Token>) -> Self {
        Self { configured, sessions: ArcSwap::default(), writer: Mutex::new(()) }
    }

    /// Returns whether `given` is one of the configured tokens.
    pub fn accepts(&self, given: &[u8]) -> bool {
        any(self.configured.iter(), given).into()
    }

    /// Returns whether `given` is one of the configured tokens, or a session token of the agent's
    /// own credentials: whoever has that may ask AWS itself.
    pub fn accepts_session(&self, given: &[u8]) -> bool {
        let sessions = self.sessions.load();
        let is_session = any(sessions.iter().map(|token| &**token), given);
        (any(self.configured.iter(), given) | is_session).into()
    }

    /// Notes the session token of the credentials that the agent has got.
    pub fn note_session(&self, token: &str) {
        let Ok(token) = Token::new(token.to_owned()) else { return };
        let _writer = self.writer.lock().expect("no holder panics");
        let known = self.sessions.load();
        if any(known.first().map(|token| &**token), &token.0).into() {
            return;
        }
        let kept = known.iter().take(SESSIONS_MAX - 1).cloned();
        let sessions = std::iter::once(Arc::new(token)).chain(kept).collect();
        self.sessions.store(Arc::new(sessions));
    }
}

/// Gets the agent's credentials anew. Their session token is noted on the way.
///
/// The gate asks for it where it is shown a session token that it does not know: the caller may have
/// newer credentials than the agent has needed so far.
pub trait Renew: fmt::Debug + Send + Sync {
    /// Gets them, or not: whether the token is known then is for [`Tokens`] to say.
    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Compares with every token, so that the time taken does not tell which one was near.
fn any<'a>(tokens: impl IntoIterator<Item = &'a Token>, given: &[u8]) -> Choice {
    tokens.into_iter().fold(Choice::from(0), |found, token| found | token.is(given))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    fn tokens(configured: &[&str]) -> Tokens {
        let token = |text: &&str| Token::new((*text).to_owned()).expect("not empty");
        Tokens::new(configured.iter().map(token).collect())
    }

    #[test]
    fn only_configured_tokens_open_the_door() {
        let tokens = tokens(&["one", "two"]);
        assert!(tokens.accepts(b"one") && tokens.accepts(b"two"));
        for wrong in ["", "o", "onee", "three"] {
            assert!(!tokens.accepts(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn the_current_and_the_previous_session_are_accepted_where_sessions_count() {
        let tokens = tokens(&["own"]);
        for session in ["a", "a", "b", "c"] {
            tokens.note_session(session);
        }
        assert!(tokens.accepts_session(b"c") && tokens.accepts_session(b"b"));
        assert!(!tokens.accepts_session(b"a"), "two sessions ago");
        assert!(tokens.accepts_session(b"own"));
        assert!(!tokens.accepts(b"c"), "a session token is for the AWS API only");
    }

    #[test]
    fn an_empty_token_is_none_and_no_token_prints() {
        assert_eq!(Token::new(String::new()).map(|_| ()), Err(EmptyToken));
        let tokens = tokens(&["hunter2"]);
        tokens.note_session("hunter3");
        assert!(!format!("{tokens:?}").contains("hunter"));
    }

    /// Two threads note a session each while a third one reads. Neither session may get lost.
    #[test]
    fn sessions_that_are_noted_at_the_same_time_are_both_accepted() {
        const ROUNDS: usize = 5_000;
        for round in 0..ROUNDS {
            let tokens = tokens(&["own"]);
            let start = Barrier::new(3);
            let note = |session| {
                start.wait();
                tokens.note_session(session);
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
