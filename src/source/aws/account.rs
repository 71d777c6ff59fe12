//! What all calls to AWS share: the agent's own AWS credentials, its region, and the configuration
//! of the AWS SDK.

use super::advice::{self, CallSite};
use super::session::Session;
use crate::secret::arn::{Arn, is_region, partition_of};
use crate::source::{FetchError, FetchErrorKind};
use aws_config::SdkConfig;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The agent's AWS account: the region and the AWS credentials with which the agent calls AWS.
pub(super) struct Account {
    pub(super) region: Box<str>,
    /// Whether the agent refuses to call other AWS regions than `region`.
    pub(super) is_home_region_only: bool,
    pub(super) sdk_config: SdkConfig,
    pub(super) session: Arc<Session>,
    /// Where the AWS credentials come from, for error messages.
    pub(super) credentials_source: String,
}

impl Account {
    /// Makes a call to AWS with the agent's AWS credentials. Gets new credentials first if the
    /// cached credentials cannot be used. `url` and `region` are the endpoint that `call` calls,
    /// for error messages. The function computes `url` only after a failed call.
    ///
    /// If AWS rejects the credentials, marks them as rejected, so that a later call gets new
    /// credentials.
    ///
    /// `call` is a pinned reference to a future, because a function that takes a future by value
    /// needs memory for another copy.
    pub(super) async fn signed<T>(
        &self,
        region: &str,
        url: impl FnOnce() -> String,
        call: Pin<&mut impl Future<Output = Result<T, FetchError>>>,
    ) -> Result<T, FetchError> {
        self.attempt(call).await.map_err(|error| {
            let credentials = &*self.credentials_source;
            let advice = advice::of(&error, CallSite { url: &url(), region, credentials });
            FetchError { advice: advice.map(Into::into), ..error }
        })
    }

    async fn attempt<T>(
        &self,
        call: Pin<&mut impl Future<Output = Result<T, FetchError>>>,
    ) -> Result<T, FetchError> {
        let credentials = self.session.ready().await?;
        call.await.inspect_err(|error| {
            if error.kind == FetchErrorKind::Credentials {
                credentials.mark_rejected();
            }
        })
    }

    /// Checks that the configuration allows calls to the region of `arn`, which is not the agent's
    /// own region, and that this region is valid.
    pub(super) fn check_other_region(&self, arn: &Arn) -> Result<(), FetchError> {
        if self.is_home_region_only {
            return Err(wrong_region(format!(
                "the secret is in region {}, but SIDEKEY_REGION_ONLY allows only region {}",
                arn.region(),
                self.region
            )));
        }
        if !is_region(arn.region()) || partition_of(arn.region()) != arn.partition() {
            return Err(wrong_region(format!(
                "the ARN is invalid: region {} does not belong to partition {}",
                arn.region(),
                arn.partition()
            )));
        }
        Ok(())
    }
}

fn wrong_region(message: String) -> FetchError {
    FetchError::new(FetchErrorKind::OtherRegion, "InvalidParameterException", message)
}
