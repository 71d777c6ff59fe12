//! Loads the configuration of the AWS SDK: the region, and the chain of credential providers.

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

/// Loads the configuration of the AWS SDK, including AWS profile files if this build supports them.
///
/// If no region is configured, the SDK may ask the instance metadata service for the region. The
/// function makes no other network call.
pub(super) async fn load(settings: &Settings) -> SdkConfig {
    loader::load(settings).await
}

/// Returns a new chain of credential providers: the AWS SDK asks each provider in turn for
/// credentials. The chain has not read a file or called an endpoint yet.
pub(super) async fn credentials_provider(settings: &Settings) -> SharedCredentialsProvider {
    load(settings)
        .await
        .credentials_provider()
        .expect("both loaders of the configuration must set a credentials provider")
}
