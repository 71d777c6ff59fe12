//! Notes the session token of the credentials that the agent gets, for the gate.

use crate::tokens::Tokens;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use std::sync::Arc;

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
