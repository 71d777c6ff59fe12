//! Assumes roles: calls `AssumeRole` of AWS's Security Token Service (STS), without the AWS SDK.
//!
//! The variable `AWS_ENDPOINT_URL_STS` has no effect on these calls. A program can set it to the
//! address of Sidekey, and Sidekey would then call itself.

mod response;

use super::account::{Account, Target};
use super::endpoint::Endpoint;
use super::http::{self, Timeouts};
use super::public_endpoint::{STS, public_url};
use super::{aws_error, signing};
use crate::clock::Clock;
use crate::secret::role::RoleArn;
use crate::source::{FetchError, FetchErrorKind};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The name of STS in the AWS signature of a request.
const SIGNING_NAME: &str = "sts";

/// The name of the session in CloudTrail if a table `[[role]]` sets no other name.
pub(crate) const SESSION_NAME: &str = "sidekey";

/// How long the credentials of an assumed role are valid if a table `[[role]]` sets no other time.
/// AWS has the same default.
pub(crate) const DURATION: Duration = Duration::from_secs(3600);

/// A role that Sidekey can assume, and the parameters of the call that assumes the role. The
/// `Debug` output omits the external id.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AssumableRole {
    pub(crate) arn: RoleArn,
    /// The external id that the trust policy of the role can require.
    pub(crate) external_id: Option<Box<str>>,
    pub(crate) session_name: Box<str>,
    /// How long the credentials of the role are valid.
    pub(crate) duration: Duration,
}

impl AssumableRole {
    pub(crate) fn new(arn: RoleArn) -> Self {
        Self { arn, external_id: None, session_name: SESSION_NAME.into(), duration: DURATION }
    }

    /// Returns the body of the request that assumes the role, in the format of an HTML form.
    fn form(&self) -> String {
        let seconds = self.duration.as_secs().to_string();
        let members = [
            ("RoleArn", Some(self.arn.as_str())),
            ("RoleSessionName", Some(&*self.session_name)),
            ("DurationSeconds", Some(&*seconds)),
            ("ExternalId", self.external_id.as_deref()),
        ];
        let mut form = "Action=AssumeRole&Version=2011-06-15".to_owned();
        for (name, value) in members {
            if let Some(value) = value {
                let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
                form.push_str(&format!("&{name}={value}"));
            }
        }
        form
    }
}

impl fmt::Debug for AssumableRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumableRole").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// Calls STS at the endpoint of Sidekey's own region. Creating this client costs almost nothing,
/// because it opens connections only when it is first used.
pub(super) struct Sts {
    account: Arc<Account>,
    http: http::Client,
    clock: Arc<dyn Clock>,
    endpoint: Option<Endpoint>,
    timeouts: Timeouts,
}

impl Sts {
    pub(super) fn new(
        account: Arc<Account>,
        http: http::Client,
        clock: Arc<dyn Clock>,
        endpoint: Option<Endpoint>,
        timeouts: Timeouts,
    ) -> Self {
        Self { account, http, clock, endpoint, timeouts }
    }

    async fn assume(&self, role: &AssumableRole) -> Result<Credentials, FetchError> {
        let url = self.url();
        let target = Target {
            region: &self.account.region,
            url: &url,
            timeout_setting: "SIDEKEY_UPSTREAM_TIMEOUT",
        };
        // A box, so that the futures of the callers are small.
        let call = self.account.signed(target, |credentials| {
            Box::pin(async move { self.send(role, credentials.credentials()).await })
        });
        call.await.map_err(|error| advised(error, role))
    }

    async fn send(
        &self,
        role: &AssumableRole,
        credentials: &Credentials,
    ) -> Result<Credentials, FetchError> {
        let request = self.request(role, credentials);
        let request = request.ok_or_else(|| aws_error::unsendable(aws_error::STS))?;
        let response = self.http.send(request, self.timeouts).await;
        let response =
            response.map_err(|error| aws_error::from_connector_error(aws_error::STS, &error))?;
        response::credentials(&response)
    }

    fn request(
        &self,
        role: &AssumableRole,
        credentials: &Credentials,
    ) -> Option<hyper::Request<Bytes>> {
        let mut request = hyper::Request::post(format!("{}/", self.url().trim_end_matches('/')))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(USER_AGENT, concat!("sidekey/", env!("CARGO_PKG_VERSION")))
            .body(Bytes::from(role.form()))
            .ok()?;
        let now = self.clock.now().wall;
        signing::sign(&mut request, SIGNING_NAME, &self.account.region, credentials, now)?;
        Some(request)
    }

    fn url(&self) -> String {
        let region = &*self.account.region;
        match &self.endpoint {
            Some(endpoint) => endpoint.for_home_region(region),
            None => public_url(STS, region, self.account.variant),
        }
    }
}

/// Adds the ARN of the role to the message of an error of STS. Also adds advice, unless the error
/// is about the network or about Sidekey's own credentials.
fn advised(error: FetchError, role: &AssumableRole) -> FetchError {
    let arn = &role.arn;
    let message = format!("Sidekey could not assume the role {arn}: {}", error.message);
    let kind = match error.kind {
        FetchErrorKind::Denied => FetchErrorKind::RoleDenied,
        other => other,
    };
    let own = match kind {
        FetchErrorKind::RoleDenied => Some(denied_advice(role)),
        FetchErrorKind::Invalid => Some(
            "check duration and session_name in the [[role]] table of this role, and the maximum \
             session duration of the role; check that the region is enabled in the AWS account"
                .to_owned(),
        ),
        FetchErrorKind::Throttled => {
            Some("STS throttles Sidekey; Sidekey retries automatically".to_owned())
        }
        FetchErrorKind::Service => Some("STS failed; Sidekey retries automatically".to_owned()),
        FetchErrorKind::Unreadable => Some(
            "the response is not in the format of STS; check SIDEKEY_STS_ENDPOINT, or \
             SIDEKEY_ENDPOINT, which also applies to STS"
                .to_owned(),
        ),
        _ => None,
    };
    let advice = own.map(Into::into).or(error.advice);
    FetchError { kind, message: message.into(), advice, ..error }
}

/// Returns advice for a role that STS did not allow Sidekey to assume. STS sends the same error for
/// three causes: Sidekey has no permission to assume the role, the role's trust policy does not
/// allow Sidekey, or the external id is wrong.
fn denied_advice(role: &AssumableRole) -> String {
    let arn = &role.arn;
    let external_id = match role.external_id {
        Some(_) => "the sts:ExternalId in the trust policy must equal the configured external_id",
        None => {
            "if the trust policy requires an sts:ExternalId, set external_id in a [[role]] table \
             for this role"
        }
    };
    format!(
        "add the statement {{\"Effect\":\"Allow\",\"Action\":\"sts:AssumeRole\",\"Resource\":\"{arn}\"}} \
         to the policy of Sidekey's own role, and allow Sidekey's own role in the trust policy of \
         {arn}; {external_id}; `sidekey policy --role {arn}` writes these policies"
    )
}

/// Provides the AWS credentials of a role by assuming the role.
#[derive(Clone)]
pub(super) struct RoleProvider {
    pub(super) sts: Arc<Sts>,
    pub(super) role: AssumableRole,
}

impl fmt::Debug for RoleProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleProvider").field("role", &self.role).finish_non_exhaustive()
    }
}

impl ProvideCredentials for RoleProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.sts.assume(&self.role).await.map_err(CredentialsError::provider_error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(external_id: Option<&str>) -> AssumableRole {
        let arn = RoleArn::parse("arn:aws:iam::210987654321:role/team/reader");
        AssumableRole {
            external_id: external_id.map(Into::into),
            ..AssumableRole::new(arn.expect("the ARN of the role must be valid"))
        }
    }

    #[test]
    fn form_contains_every_member_of_the_role() {
        let form = "Action=AssumeRole&Version=2011-06-15\
                    &RoleArn=arn%3Aaws%3Aiam%3A%3A210987654321%3Arole%2Fteam%2Freader\
                    &RoleSessionName=sidekey&DurationSeconds=3600";
        assert_eq!(role(None).form(), form);
        assert_eq!(role(Some("a+b=/c")).form(), format!("{form}&ExternalId=a%2Bb%3D%2Fc"));
    }

    #[test]
    fn denial_names_the_missing_statement_and_the_external_id() {
        let error = FetchError::new(FetchErrorKind::Denied, "AccessDeniedException", "no");
        for (external_id, expected) in [
            (None, "set external_id in a [[role]] table"),
            (Some("x7"), "must equal the configured"),
        ] {
            let role = role(external_id);
            let advised = advised(error.clone(), &role);
            let expected = [
                "\"Action\":\"sts:AssumeRole\",\"Resource\":\"arn:aws:iam::210987654321:role/team/reader\"",
                "sidekey policy --role arn:aws:iam::210987654321:role/team/reader",
                expected,
            ];
            for part in expected {
                assert!(advised.hint().contains(part), "{part}: {}", advised.hint());
            }
            assert!(!advised.hint().contains("x7") && !format!("{role:?}").contains("x7"));
            assert_eq!(advised.kind, FetchErrorKind::RoleDenied);
            let message =
                "Sidekey could not assume the role arn:aws:iam::210987654321:role/team/reader: no";
            assert_eq!(&*advised.message, message);
        }
    }
}
