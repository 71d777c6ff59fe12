//! What all calls to AWS with the same credentials share: the AWS credentials and the region.

use super::advice::{self, CallSite};
use super::public_endpoint::Variant;
use super::session::{CachedCredentials, Session};
use crate::secret::arn::is_region;
use crate::secret::role::RoleArn;
use crate::source::{FetchError, FetchErrorKind};
use std::future::Future;
use std::sync::Arc;

/// The endpoint of a call to AWS, for error messages.
pub(super) struct Target<'a> {
    pub(super) region: &'a str,
    pub(super) url: &'a str,
    /// The variable that sets the maximum time for the call, such as `SIDEKEY_UPSTREAM_TIMEOUT`.
    pub(super) timeout_setting: &'static str,
}

/// The region and the AWS credentials with which the agent calls AWS: its own credentials, or those
/// of an assumed role.
pub(super) struct Account {
    /// The assumed role. `None` if the agent calls AWS with its own credentials.
    pub(super) role: Option<RoleArn>,
    pub(super) region: Box<str>,
    /// Whether the agent refuses to call other AWS regions than `region`.
    pub(super) is_home_region_only: bool,
    /// The variant of AWS's own endpoints that the agent calls.
    pub(super) variant: Variant,
    pub(super) session: Arc<Session>,
    /// Where the AWS credentials come from, such as `the profile dev`, for error messages.
    pub(super) credentials_source: String,
}

impl Account {
    /// Creates the account for calls with the assumed role `role`. `session` caches the credentials
    /// of this role.
    pub(super) fn with_role(&self, role: RoleArn, session: Arc<Session>) -> Self {
        Self {
            region: self.region.clone(),
            is_home_region_only: self.is_home_region_only,
            variant: self.variant,
            session,
            credentials_source: format!("the role {role}"),
            role: Some(role),
        }
    }

    /// Makes a call to AWS with the AWS credentials of this account. Gets new credentials first if
    /// the cached credentials cannot be used. If AWS rejects the credentials, a later call gets new
    /// ones.
    ///
    /// `target` is the called endpoint, for error messages. `call` should return a pinned reference
    /// or a box, because a future that contains another future by value needs memory for both.
    pub(super) async fn signed<T, F: Future<Output = Result<T, FetchError>>>(
        &self,
        target: Target<'_>,
        call: impl FnOnce(Arc<CachedCredentials>) -> F,
    ) -> Result<T, FetchError> {
        self.attempt(call).await.map_err(|error| {
            // The call that assumes a role has its own advice.
            if error.advice.is_some() {
                return error;
            }
            let Target { region, url, timeout_setting } = target;
            let site = CallSite {
                url,
                region,
                credentials: &self.credentials_source,
                timeout_setting,
                role: self.role.as_ref(),
            };
            let advice = advice::of(&error, site);
            FetchError { advice: advice.map(Into::into), ..error }
        })
    }

    async fn attempt<T, F: Future<Output = Result<T, FetchError>>>(
        &self,
        call: impl FnOnce(Arc<CachedCredentials>) -> F,
    ) -> Result<T, FetchError> {
        let credentials = self.session.ready().await?;
        call(credentials.clone()).await.inspect_err(|error| {
            if error.kind == FetchErrorKind::Credentials {
                credentials.mark_rejected();
            }
        })
    }

    /// Checks that the configuration allows calls to `region`. `what` is the subject of the error
    /// message, such as `the secret`.
    pub(super) fn check_region(&self, region: &str, what: &str) -> Result<(), FetchError> {
        if self.is_home_region_only && *region != *self.region {
            return Err(wrong_region(format!(
                "{what} is in region {region}, but SIDEKEY_REGION_ONLY allows only region {}",
                self.region
            )));
        }
        if !is_region(region) {
            return Err(wrong_region(format!(
                "{what} is in region {region}, which is not the name of an AWS region"
            )));
        }
        Ok(())
    }
}

/// Creates the error for a call to an AWS region that does not exist, or that the configuration
/// forbids.
pub(super) fn wrong_region(message: String) -> FetchError {
    FetchError::new(FetchErrorKind::OtherRegion, "InvalidParameterException", message)
}
