//! Loads the configuration of the AWS SDK from all default sources of the SDK.
//!
//! The sources are environment variables, profile files, web identity, container endpoint, instance
//! metadata and credential processes.

use super::settings::{Settings, app_name, behavior, environment_credentials};
use aws_config::{Region, SdkConfig};
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{IdentityCache, StalledStreamProtectionConfig};
use aws_types::os_shim_internal::Env;

/// Environment variables that make the AWS SDK of an application call Sidekey. The SDK of the agent
/// must ignore these variables. Otherwise the agent would call itself.
const IGNORED_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"];

/// Loads the configuration of the AWS SDK from all default sources of the SDK, such as environment
/// variables and profile files.
pub(super) async fn load(settings: &Settings) -> SdkConfig {
    let variables: Vec<(&str, &str)> = settings
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !IGNORED_VARIABLES.contains(name))
        .collect();
    let mut loader = aws_config::defaults(behavior())
        .env(Env::from_slice(&variables))
        .http_client(settings.http.clone())
        .app_name(app_name())
        // The SDK must not retry failed calls, because Sidekey's cache decides about retries.
        .retry_config(RetryConfig::disabled())
        .timeout_config(settings.timeouts.clone())
        // This protection is meant for long downloads. After Lambda has frozen the process, the
        // protection would report a stalled stream although no stream has stalled.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The SDK must not cache the credentials, because `Session` caches them.
        .identity_cache(IdentityCache::no_cache());
    if let Some(credentials) = environment_credentials(&settings.environment) {
        loader = loader.credentials_provider(credentials);
    }
    if let Some(region) = settings.region.clone() {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}
