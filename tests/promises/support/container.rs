//! A server of AWS credentials, like those of ECS and of Lambda with SnapStart.

use super::gateway::{CannedUpstream, json_answer};
use std::sync::{Arc, Mutex};

/// The value of the `Authorization` header that the server of credentials requires.
pub(crate) const AUTHORIZATION: &str = "authorization-of-these-tests";

/// A server on 127.0.0.1 that returns AWS credentials. The credentials expire in the year 2099.
#[derive(Debug)]
pub(crate) struct CredentialEndpoint {
    endpoint: CannedUpstream,
    session: Arc<Mutex<String>>,
}

impl CredentialEndpoint {
    /// Starts a server that returns AWS credentials with the session token `session`.
    pub(crate) async fn start(session: &str) -> Self {
        let session = Arc::new(Mutex::new(session.to_owned()));
        let current = session.clone();
        let endpoint = CannedUpstream::with_handler(move |request| {
            let authorization = request.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
            });
            if authorization.as_deref() != Some(AUTHORIZATION) {
                // Lambda's own endpoint also answers 404 here.
                return json_answer("404 Not Found", "text/plain", "");
            }
            let token =
                current.lock().expect("no thread may panic while it holds the lock").clone();
            let body = format!(
                "{{\"AccessKeyId\":\"ASIATESTS\",\"SecretAccessKey\":\"key-of-{token}\",\
                 \"Token\":\"{token}\",\"Expiration\":\"2099-01-01T00:00:00Z\"}}"
            );
            json_answer("200 OK", "application/json", &body)
        });
        Self { endpoint: endpoint.await, session }
    }

    /// Makes the server return AWS credentials with another session token.
    pub(crate) fn rotate(&self, session: &str) {
        session.clone_into(
            &mut self.session.lock().expect("no thread may panic while it holds the lock"),
        );
    }

    /// Returns the URL of the server, for the variable `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub(crate) fn url(&self) -> String {
        format!("{}/2021-04-23/credentials", self.endpoint.url())
    }

    /// Returns the number of requests for credentials that the server has received.
    pub(crate) fn calls(&self) -> u64 {
        self.endpoint.calls()
    }
}
