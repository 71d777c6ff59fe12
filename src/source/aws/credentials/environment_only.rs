//! Loads the region and the chain of credential providers from environment variables only.
//!
//! The Lambda layer is built with this loader, because a Lambda function has no AWS profiles and no
//! instance metadata. Without the code for these sources, the layer is smaller and starts faster.

use super::container::ContainerProvider;
use super::found::Found;
use super::settings::{Settings, environment_credentials};
use crate::source::aws::public_endpoint::Variant;
use aws_credential_types::provider::SharedCredentialsProvider;
use std::collections::BTreeMap;

/// Loads the region and the chain of credential providers from environment variables. If the
/// variables contain no access key, the credentials come from the container credentials endpoint.
#[expect(
    clippy::unused_async,
    reason = "the loader in sdk_default.rs is async, and both loaders have the same signature"
)]
pub(super) async fn load(settings: &Settings) -> Found {
    let environment = &settings.environment;
    let value = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let is_true = |name: &str| value(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let region = settings
        .region
        .as_ref()
        .or_else(|| value("AWS_REGION"))
        .or_else(|| value("AWS_DEFAULT_REGION"))
        .cloned();
    let provider = match environment_credentials(environment) {
        Some(credentials) => SharedCredentialsProvider::new(credentials),
        None => SharedCredentialsProvider::new(ContainerProvider::new(
            environment,
            settings.http.clone(),
            settings.timeouts,
        )),
    };
    Found {
        region,
        variant: Variant {
            is_fips: is_true("AWS_USE_FIPS_ENDPOINT"),
            is_dual_stack: is_true("AWS_USE_DUALSTACK_ENDPOINT"),
        },
        provider,
        timeout: settings.timeouts.attempt,
    }
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
