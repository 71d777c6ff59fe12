//! Calls AWS services with boto3, AWS's SDK for Python, as a function does.

use crate::clients::Clients;
use crate::support::agent::REGION;
use crate::support::program::PATH;
use crate::support::with_timeout;
use serde_json::Value;
use tokio::process::Command;

const SCRIPT: &str = include_str!("boto3.py");

/// A service that boto3 calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    SecretsManager,
    ParameterStore,
}

impl Service {
    /// Returns the name of the service in boto3, and the environment variable that sets the
    /// endpoint of the service.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::SecretsManager => ("secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            Self::ParameterStore => ("ssm", "AWS_ENDPOINT_URL_SSM"),
        }
    }
}

/// Makes the calls in `calls` with boto3, and returns a JSON report on each call. `session` is the
/// session token of the AWS credentials.
pub(crate) async fn call(
    clients: &Clients,
    service: Service,
    endpoint: &str,
    session: Option<&str>,
    calls: &Value,
) -> Value {
    let (name, endpoint_variable) = service.names();
    let mut python = Command::new(clients.python());
    python.args(["-c", SCRIPT, name, &calls.to_string()]).env_clear().kill_on_drop(true);
    python
        .env("PATH", PATH)
        .env(endpoint_variable, endpoint)
        .env("AWS_REGION", REGION)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "AKIATESTS")
        .env("AWS_SECRET_ACCESS_KEY", "key")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(session.map(|session| ("AWS_SESSION_TOKEN", session)));
    let ran = with_timeout("boto3", python.output())
        .await
        .expect("the test must be able to start Python");
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{complaint}");
    serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|_| panic!("the script printed no JSON: {complaint}"))
}
