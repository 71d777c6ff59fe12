//! What the SDK makes of the environment: the region, and the chain of places where credentials are.

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::{IdentityCache, StalledStreamProtectionConfig};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::os_shim_internal::Env;
use std::collections::BTreeMap;

/// Variables of the function that point its own SDK at Sidekey: followed, they would have Sidekey
/// call itself.
const NOT_OURS: [&str; 2] = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"];

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
        let variables: Vec<(&str, &str)> = self
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !NOT_OURS.contains(name))
            .collect();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .env(Env::from_slice(&variables))
            .http_client(self.http.clone())
            .app_name(AppName::new("sidekey").expect("letters only"))
            // One place decides on retries, and it is not this one.
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts.clone())
            // Made for long downloads; after a freeze it would see a stall where there was none.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // `Session` is the cache.
            .identity_cache(IdentityCache::no_cache());
        if let Some(given) = given(&self.environment) {
            loader = loader.credentials_provider(given);
        }
        if let Some(region) = self.region.clone() {
            loader = loader.region(Region::new(region));
        }
        loader.load().await
    }

    /// Returns a chain that has read nothing yet.
    pub(super) async fn provider(&self) -> SharedCredentialsProvider {
        let provider = self.load().await.credentials_provider();
        provider.expect("a loader that is not told to go without sets one")
    }
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
