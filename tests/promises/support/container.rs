//! Where a container gets its credentials: the endpoint of ECS, and of Lambda under SnapStart.

use super::gateway::{Parrot, json_answer};
use std::sync::{Arc, Mutex};

/// What a caller shows to the endpoint.
pub(crate) const AUTHORIZATION: &str = "authorization-of-these-tests";

/// An endpoint on loopback that hands out credentials which claim to be good for decades.
#[derive(Debug)]
pub(crate) struct Container {
    endpoint: Parrot,
    session: Arc<Mutex<String>>,
}

impl Container {
    /// Starts an endpoint whose credentials have this session token.
    pub(crate) async fn of(session: &str) -> Self {
        let session = Arc::new(Mutex::new(session.to_owned()));
        let current = session.clone();
        let endpoint = Parrot::answering(move |request| {
            let shown = request.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
            });
            if shown.as_deref() != Some(AUTHORIZATION) {
                // As Lambda's own endpoint answers.
                return json_answer("404 Not Found", "text/plain", "");
            }
            let token = current.lock().expect("no holder panics").clone();
            let body = format!(
                "{{\"AccessKeyId\":\"ASIATESTS\",\"SecretAccessKey\":\"key-of-{token}\",\
                 \"Token\":\"{token}\",\"Expiration\":\"2099-01-01T00:00:00Z\"}}"
            );
            json_answer("200 OK", "application/json", &body)
        });
        Self { endpoint: endpoint.await, session }
    }

    /// Hands out other credentials from here on.
    pub(crate) fn rotate(&self, session: &str) {
        session.clone_into(&mut self.session.lock().expect("no holder panics"));
    }

    /// The URL to give as `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub(crate) fn url(&self) -> String {
        format!("{}/2021-04-23/credentials", self.endpoint.url())
    }

    /// Returns how often credentials were asked for.
    pub(crate) fn calls(&self) -> u64 {
        self.endpoint.calls()
    }
}
