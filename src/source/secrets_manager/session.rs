//! The credentials that the agent calls with, and their session token, noted for the gate.

use crate::tokens::Tokens;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Returns the credentials that the environment itself holds, as on Lambda. They come first in the
/// SDK's own search too; building the rest of that takes a twentieth of a start's instructions.
pub(super) fn given(environment: &BTreeMap<String, String>) -> Option<Credentials> {
    let value = |name: &str| {
        let value = environment.get(name).map(|value| value.trim());
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let mut credentials = Credentials::builder()
        .access_key_id(value("AWS_ACCESS_KEY_ID")?)
        .secret_access_key(value("AWS_SECRET_ACCESS_KEY")?)
        .provider_name("environment");
    credentials.set_session_token(value("AWS_SESSION_TOKEN"));
    Some(credentials.build())
}

/// The SDK's credentials, whose session token is noted each time they are got.
#[derive(Debug)]
pub(super) struct Noted {
    inner: SharedCredentialsProvider,
    tokens: Arc<Tokens>,
}

impl Noted {
    pub(super) fn new(inner: SharedCredentialsProvider, tokens: Arc<Tokens>) -> Self {
        Self { inner, tokens }
    }
}

impl ProvideCredentials for Noted {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let credentials = self.inner.provide_credentials().await?;
            if let Some(token) = credentials.session_token() {
                self.tokens.note_session(token);
            }
            Ok(credentials)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expected: Option<(&str, Option<&str>)>) {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let given = given(&pairs.collect());
        let given = given.as_ref().map(|own| (own.secret_access_key(), own.session_token()));
        assert_eq!(given, expected);
    }

    #[test]
    fn what_the_environment_holds_whole_is_taken_and_else_the_sdk_searches() {
        let (id, key) = (("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key"));
        check(&[id, key, ("AWS_SESSION_TOKEN", "token")], Some(("key", Some("token"))));
        check(&[id, key, ("AWS_SESSION_TOKEN", "")], Some(("key", None)));
        check(&[id], None);
        check(&[id, ("AWS_SECRET_ACCESS_KEY", " ")], None);
        check(&[], None);
    }
}
