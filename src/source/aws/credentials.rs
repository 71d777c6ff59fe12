//! Loads the region and the chain of credential providers.

#[cfg(any(test, not(feature = "host")))]
mod container;
#[cfg(feature = "host")]
mod credential_process;
#[cfg(not(feature = "host"))]
mod environment_only;
mod found;
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
pub(super) use environment_only::ProfileFiles;
#[cfg(feature = "host")]
pub(super) use profile_files::ProfileFiles;
#[cfg(feature = "host")]
use sdk_default as loader;
pub(super) use settings::Settings;

use super::public_endpoint::Variant;
use aws_credential_types::provider::SharedCredentialsProvider;
use found::Found;
use std::sync::Arc;
use std::time::Duration;

/// A chain of AWS credential providers: the AWS SDK asks each provider in turn for credentials.
pub(super) struct ProviderChain {
    pub(super) provider: SharedCredentialsProvider,
    /// The maximum time for getting AWS credentials from all providers of this chain together.
    pub(super) timeout: Duration,
    /// The state of the AWS profile files before this chain read the files.
    pub(super) profile_files: Arc<ProfileFiles>,
}

impl ProviderChain {
    /// Returns whether an AWS profile file has changed since this chain read the file.
    pub(super) fn is_outdated(&self) -> bool {
        self.profile_files.have_changed()
    }
}

/// The settings for calls to AWS that the agent finds in its environment.
pub(super) struct Loaded {
    /// The AWS region, or `None` if no region is configured and none was found.
    pub(super) region: Option<String>,
    /// The variant of AWS's own endpoints that the user has chosen.
    pub(super) variant: Variant,
    pub(super) chain: ProviderChain,
}

/// Loads the region, the variant of the endpoints, and the chain of credential providers. The AWS
/// SDK reads profile files only if the crate feature `host` is enabled.
///
/// If no region is configured, the AWS SDK may ask the instance metadata service for the region.
/// The function makes no other network call and runs no program.
pub(super) async fn load(settings: &Settings) -> Loaded {
    // The state of the files is read before their content. If a file changes in between, the agent
    // reads the file once more, but never misses the change.
    let profile_files = Arc::new(ProfileFiles::of(&settings.environment));
    let Found { region, variant, provider, timeout } = loader::load(settings).await;
    Loaded { region, variant, chain: ProviderChain { provider, timeout, profile_files } }
}
