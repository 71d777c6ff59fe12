//! Loads the SDK's configuration: the region, and the chain of credential providers.

#[cfg(not(feature = "host"))]
mod environment_only;
#[cfg(feature = "host")]
mod sdk_default;
mod settings;

#[cfg(not(feature = "host"))]
use environment_only as loader;
#[cfg(feature = "host")]
use sdk_default as loader;
pub(super) use settings::Settings;

use aws_config::SdkConfig;
use aws_credential_types::provider::SharedCredentialsProvider;

/// Loads the SDK's configuration, including the profile files. This makes no call to AWS, except that
/// the SDK may ask the instance metadata service for the region if no region is configured.
pub(super) async fn load(settings: &Settings) -> SdkConfig {
    loader::load(settings).await
}

/// Returns a new chain of credential providers. The chain has not read any file or endpoint yet.
pub(super) async fn credentials_provider(settings: &Settings) -> SharedCredentialsProvider {
    load(settings).await.credentials_provider().expect("every loader sets a credentials provider")
}
