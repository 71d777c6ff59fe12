//! What the SDK makes of the environment: the region, and the chain of places where credentials are.

#[cfg(not(feature = "host"))]
mod short;
#[cfg(feature = "host")]
mod whole;

#[cfg(not(feature = "host"))]
use short as search;
#[cfg(feature = "host")]
use whole as search;

use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::collections::BTreeMap;

/// What the SDK's configuration is loaded from, once and again.
///
/// It has no `Debug`: keys and tokens are among the variables.
pub(super) struct Chain {
    /// The environment that the SDK reads.
    pub(super) environment: BTreeMap<String, String>,
    /// The region; without one, what the SDK finds.
    pub(super) region: Option<String>,
    /// What every client calls through.
    pub(super) http: SharedHttpClient,
    /// The times of a call to Secrets Manager.
    pub(super) timeouts: TimeoutConfig,
}

impl Chain {
    /// Loads the SDK's configuration, files included. Nothing is called but, where no region is
    /// given, what the SDK asks to find one.
    pub(super) async fn load(&self) -> SdkConfig {
        search::load(self).await
    }

    /// Returns a chain that has read nothing yet.
    pub(super) async fn provider(&self) -> SharedCredentialsProvider {
        let provider = self.load().await.credentials_provider();
        provider.expect("each search sets one")
    }
}

/// The defaults of the SDK that are meant: a new version of it does not change them.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// What Sidekey is called in the SDK's user agent.
fn app_name() -> AppName {
    AppName::new("sidekey").expect("letters only")
}

/// Returns the credentials that the environment itself holds, as on Lambda. They come first in the
/// SDK's own search too; building the rest of that takes a twentieth of a start's instructions.
fn given(environment: &BTreeMap<String, String>) -> Option<Credentials> {
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
