//! The settings for calls to AWS that a loader finds in the environment of the agent.

use crate::source::aws::public_endpoint::Variant;
use aws_credential_types::provider::SharedCredentialsProvider;
use std::time::Duration;

pub(super) struct Found {
    /// The AWS region, or `None` if no region is configured and none was found.
    pub(super) region: Option<String>,
    /// The variant of AWS's own endpoints that the user has chosen.
    pub(super) variant: Variant,
    pub(super) provider: SharedCredentialsProvider,
    /// The maximum time for getting AWS credentials from the provider.
    pub(super) timeout: Duration,
}
