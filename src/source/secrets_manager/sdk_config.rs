//! Loads the configuration of the AWS SDK: the region, and the chain of credential providers.

#[cfg(feature = "host")]
mod credential_process;
#[cfg(not(feature = "host"))]
mod environment_only;
#[cfg(feature = "host")]
mod profile_files;
#[cfg(feature = "host")]
mod sdk_default;
mod settings;

#[cfg(feature = "host")]
pub(super) use credential_process::Runner;
#[cfg(not(feature = "host"))]
use environment_only as loader;
#[cfg(not(feature = "host"))]
pub(super) use environment_only::{ProfileFiles, profile_files};
#[cfg(feature = "host")]
pub(super) use profile_files::{ProfileFiles, profile_files};
#[cfg(feature = "host")]
use sdk_default as loader;
pub(super) use settings::{Loaded, Settings};

use aws_credential_types::provider::SharedCredentialsProvider;
use std::time::Duration;

/// Loads the configuration of the AWS SDK, including AWS profile files if this build supports them.
///
/// If no region is configured, the SDK may ask the instance metadata service for the region. The
/// function makes no other network call.
pub(super) async fn load(settings: &Settings) -> Loaded {
    loader::load(settings).await
}

/// A chain of credential providers: the AWS SDK asks each provider in turn for credentials.
pub(super) struct ProviderChain {
    pub(super) provider: SharedCredentialsProvider,
    /// The maximum time for getting credentials from the chain.
    pub(super) timeout: Duration,
}

impl ProviderChain {
    /// Creates a chain that has not called an endpoint and has run no program yet.
    pub(super) async fn load(settings: &Settings) -> Self {
        Self::of(&load(settings).await)
    }

    pub(super) fn of(loaded: &Loaded) -> Self {
        let provider = loaded
            .config
            .credentials_provider()
            .expect("both loaders of the configuration must set a credentials provider");
        Self { provider, timeout: loaded.credentials_timeout }
    }
}
