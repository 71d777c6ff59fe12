//! Loads the configuration of the AWS SDK from environment variables and the container credentials
//! endpoint only.
//!
//! The Lambda layer is built with this loader, because a Lambda function has no AWS profiles and no
//! instance metadata. Without the code for these sources, the layer is smaller and starts faster.

use super::settings::{Settings, app_name, behavior, environment_credentials};
use crate::clock::Moment;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{IdentityCache, StalledStreamProtectionConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// Loads the configuration of the AWS SDK from environment variables. If the variables contain no
/// access key, the credentials come from the container credentials endpoint.
#[expect(
    clippy::unused_async,
    reason = "the loader in sdk_default.rs is async, and both loaders have the same signature"
)]
pub(super) async fn load(settings: &Settings) -> (SdkConfig, Duration) {
    let value = |name: &str| settings.environment.get(name).filter(|value| !value.is_empty());
    let is_true = |name: &str| value(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let region = settings
        .region
        .as_ref()
        .or_else(|| value("AWS_REGION"))
        .or_else(|| value("AWS_DEFAULT_REGION"))
        .cloned();
    let credentials = match environment_credentials(&settings.environment) {
        Some(credentials) => SharedCredentialsProvider::new(credentials),
        None => SharedCredentialsProvider::new(container_provider(settings)),
    };
    let config = SdkConfig::builder()
        .behavior_version(behavior())
        .region(region.map(Region::new))
        .credentials_provider(credentials)
        .http_client(settings.http.clone())
        .app_name(app_name())
        // The SDK must not retry failed calls, because Sidekey's cache decides about retries.
        .retry_config(RetryConfig::disabled())
        .timeout_config(settings.timeouts.clone())
        // This protection is meant for long downloads. After Lambda has frozen the process, the
        // protection would report a stalled stream although no stream has stalled.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The SDK must not cache the credentials, because `Session` caches them.
        .identity_cache(IdentityCache::no_cache())
        .use_fips(is_true("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"))
        .build();
    (config, settings.attempt_timeout)
}

/// Replaces the type that detects changes of the AWS profile files, because the Lambda layer reads
/// no such files.
#[derive(Debug)]
pub(in super::super) struct ProfileFiles;

impl ProfileFiles {
    pub(in super::super) fn none() -> Self {
        Self
    }

    pub(super) fn of(_: &BTreeMap<String, String>) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the method in profile_files.rs has the same signature")]
    pub(in super::super) fn have_changed(&self) -> bool {
        false
    }
}

/// Returns the provider that gets credentials from the container credentials endpoint. The provider
/// finds this endpoint through the environment variables `AWS_CONTAINER_...` of the process.
fn container_provider(settings: &Settings) -> EcsCredentialsProvider {
    let config = ProviderConfig::without_region()
        .with_http_client(settings.http.clone())
        .with_retry_config(RetryConfig::disabled())
        .with_timeout_config(settings.timeouts.clone());
    EcsCredentialsProvider::builder().configure(&config).build()
}
