//! Phantom tokens: random texts that callers send in place of an API key. A phantom token opens one
//! route of one agent, reads no secret, and is worthless elsewhere.

use super::headers::{keys_of_authorization, value_after};
use crate::tokens::Token;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName};
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// The number of random bytes in a phantom token.
const RANDOM_BYTES: usize = 32;

/// The phantom token of one route, which callers send instead of an API key. If the configuration
/// has no token, the agent generates one only when it is needed, so that the agent starts faster.
#[derive(Debug)]
pub(crate) struct Phantom {
    /// The beginning of a generated token. Some libraries expect that API keys begin with a certain
    /// text.
    prefix: &'static str,
    token: OnceLock<Token>,
}

impl Phantom {
    pub(crate) fn generated(prefix: &'static str) -> Self {
        Self { prefix, token: OnceLock::new() }
    }

    pub(crate) fn configured(token: Token) -> Self {
        Self { prefix: "", token: OnceLock::from(token) }
    }

    /// Returns the text with which a generated phantom token begins.
    pub(crate) fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// Returns the phantom token. Generates the token if it does not exist yet.
    ///
    /// # Panics
    ///
    /// Panics if the operating system provides no random bytes.
    pub(crate) fn token(&self) -> &Token {
        self.token.get_or_init(|| {
            let mut random = Zeroizing::new([0; RANDOM_BYTES]);
            getrandom::fill(&mut *random).expect("the operating system must have random bytes");
            let mut text = String::with_capacity(self.prefix.len() + 2 * RANDOM_BYTES);
            text.push_str(self.prefix);
            for byte in *random {
                for digit in [byte >> 4, byte & 15] {
                    text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
                }
            }
            Token::new(text).expect("a generated token must not be empty")
        })
    }

    /// Returns whether one of the header values `sent` is the token. Returns `false` if the token
    /// is not generated yet: no caller can have sent it before [`token`](Self::token) returns it.
    pub(crate) fn is_in(&self, sent: &[Zeroizing<Vec<u8>>]) -> bool {
        let Some(token) = self.token.get() else { return false };
        // Every value is compared, so that the time does not show which value is the token.
        sent.iter().fold(false, |found, value| found | token.matches(value))
    }
}

/// Returns the texts in the headers of a request that may be a phantom token: a bearer token, the user
/// and the password of Basic authentication, and the value of the header in which the route sends its
/// credential. `prefix` is the constant text at the beginning of this value.
pub(crate) fn sent(
    headers: &HeaderMap,
    filled: &HeaderName,
    prefix: &str,
) -> Vec<Zeroizing<Vec<u8>>> {
    let mut sent: Vec<Zeroizing<Vec<u8>>> =
        headers.get_all(AUTHORIZATION).iter().flat_map(keys_of_authorization).collect();
    if *filled != AUTHORIZATION {
        let values = headers.get_all(filled).iter();
        sent.extend(values.map(|value| value_after(prefix, value.as_bytes()).to_vec().into()));
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(name: &str, value: &str) -> HeaderMap {
        let name: HeaderName = name.parse().expect("the name is valid");
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("the value is valid"))])
    }

    #[test]
    fn token_is_found_wherever_libraries_send_api_keys() {
        let phantom =
            Phantom::configured(Token::new("phantom".to_owned()).expect("the token is not empty"));
        let filled = HeaderName::from_static("x-api-key");
        for (name, value, expected) in [
            ("authorization", "Bearer phantom", true),
            ("authorization", "bearer  phantom", true),
            ("authorization", "Basic dXNlcjpwaGFudG9t", true),
            ("authorization", "Basic cGhhbnRvbTpwaGFudG9t", true),
            ("authorization", "Basic cGhhbnRvbTo=", true),
            ("x-api-key", "phantom", true),
            ("x-api-key", "Key phantom", true),
            ("authorization", "Basic cGhhbnRvbTpvdGhlcg==", true),
            ("authorization", "phantom", false),
            ("authorization", "Bearer phantom2", false),
            ("x-other", "phantom", false),
        ] {
            let sent = sent(&headers(name, value), &filled, "Key ");
            assert_eq!(phantom.is_in(&sent), expected, "{name}: {value}");
        }
    }

    #[test]
    fn generated_tokens_differ_and_have_the_prefix() {
        let (one, other) = (Phantom::generated("SG."), Phantom::generated("SG."));
        let sent = [Zeroizing::new(Vec::new())];
        assert!(!one.is_in(&sent), "a token that was never returned must match nothing");
        let token = one.token().reveal();
        assert!(token.starts_with(b"SG.") && token.len() == 3 + 64, "{} bytes", token.len());
        assert_ne!(token, other.token().reveal());
        assert_eq!(token, one.token().reveal());
        assert!(one.is_in(&[token.to_vec().into()]));
        assert!(!other.is_in(&[token.to_vec().into()]));
    }
}
