//! The SDK's own search, through files, endpoints and programs.

use super::{Chain, app_name, behavior, given};
use aws_config::{Region, SdkConfig};
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{IdentityCache, StalledStreamProtectionConfig};
use aws_types::os_shim_internal::Env;

/// Variables of the function that point its own SDK at Sidekey: followed, they would have Sidekey
/// call itself.
const NOT_OURS: [&str; 2] = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"];

/// Loads what the SDK finds.
pub(super) async fn load(chain: &Chain) -> SdkConfig {
    let variables: Vec<(&str, &str)> = chain
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !NOT_OURS.contains(name))
        .collect();
    let mut loader = aws_config::defaults(behavior())
        .env(Env::from_slice(&variables))
        .http_client(chain.http.clone())
        .app_name(app_name())
        // One place decides on retries, and it is not this one.
        .retry_config(RetryConfig::disabled())
        .timeout_config(chain.timeouts.clone())
        // Made for long downloads; after a freeze it would see a stall where there was none.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // `Session` is the cache.
        .identity_cache(IdentityCache::no_cache());
    if let Some(given) = given(&chain.environment) {
        loader = loader.credentials_provider(given);
    }
    if let Some(region) = chain.region.clone() {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}
