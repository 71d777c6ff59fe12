//! Reads credentials from the Sidekey agent.

use crate::Failure;
use std::time::Duration;

/// An HTTP client of the Sidekey agent that runs beside the function.
pub struct Credentials {
    client: ureq::Agent,
    agent: String,
    token: String,
}

impl Credentials {
    pub fn new() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let client = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(10)))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let token = set("AWS_SESSION_TOKEN").or_else(|| set("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
        Self {
            client: client.new_agent(),
            agent: format!("http://127.0.0.1:{}", set("SIDEKEY_PORT").unwrap_or("2773".into())),
            token: token.expect("one of the two environment variables with a token must be set"),
        }
    }

    /// Returns the text of one field of a secret. `reference` is the name of the secret. If
    /// `refresh` is set, the agent first fetches the current value from AWS.
    pub fn field(&self, reference: &str, field: &str, refresh: bool) -> Result<String, Failure> {
        let request = self
            .client
            .get(format!("{}/secretsmanager/get", self.agent))
            .header("X-Aws-Parameters-Secrets-Token", &self.token)
            .query("secretId", reference)
            .query("field", field)
            .query("refreshNow", refresh.to_string());
        let other = |error: ureq::Error| Failure::Other(error.to_string());
        let mut answer = request.call().map_err(other)?;
        let text = answer.body_mut().read_to_string().map_err(other)?;
        match answer.status().as_u16() {
            200 => Ok(text),
            status => Err(Failure::Other(format!("{reference}: {status} {text}"))),
        }
    }
}
