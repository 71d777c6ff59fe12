//! Calls AWS services with AWS's JSON protocol.

use super::account::{Account, Target};
use super::aws_error;
use super::endpoint::Endpoint;
use super::http::{self, Timeouts};
use super::json_request::Request;
use super::json_response::{self, Body};
use super::public_endpoint::{PARAMETER_STORE, SECRETS_MANAGER, public_url};
use super::session::CachedCredentials;
use crate::clock::Clock;
use crate::secret::service::Service;
use crate::source::FetchError;
use std::sync::Arc;

/// Calls one service with the AWS credentials of one account, in any AWS region. The client opens
/// connections only when it is first used.
pub(super) struct JsonClient {
    pub(super) service: Service,
    pub(super) account: Arc<Account>,
    pub(super) http: http::Client,
    pub(super) clock: Arc<dyn Clock>,
    /// The URL that the client calls instead of AWS's own endpoints.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) timeouts: Timeouts,
    /// The variable that sets `timeouts`, for error messages.
    pub(super) timeout_setting: &'static str,
}

impl JsonClient {
    /// Makes one call to the endpoint of `region`, and returns the body of the response. A response
    /// of more than `bytes_max` bytes is an error.
    pub(super) async fn call(
        &self,
        request: Request,
        region: &str,
        bytes_max: usize,
    ) -> Result<Body, FetchError> {
        let url = self.url(region);
        let timeout_setting = self.timeout_setting;
        let target = Target { region, url: &url, timeout_setting };
        // A box, so that the futures of the callers are small.
        let send = |credentials| Box::pin(self.send(request, region, &url, bytes_max, credentials));
        self.account.signed(target, send).await
    }

    async fn send(
        &self,
        request: Request,
        region: &str,
        url: &str,
        bytes_max: usize,
        credentials: Arc<CachedCredentials>,
    ) -> Result<Body, FetchError> {
        let now = self.clock.now().wall;
        // The name of a service in signatures is its name in ARNs.
        let signed = request
            .signed(url, self.service.arn_name(), region, credentials.credentials(), now)
            .ok_or_else(|| aws_error::unsendable(self.service.into()))?;
        let response = self.http.send(signed, self.timeouts).await;
        let response = response
            .map_err(|error| aws_error::from_connector_error(self.service.into(), &error))?;
        json_response::body(response, self.service, bytes_max)
    }

    pub(super) fn url(&self, region: &str) -> String {
        let public = match self.service {
            Service::SecretsManager => SECRETS_MANAGER,
            Service::ParameterStore => PARAMETER_STORE,
        };
        let endpoint = self.endpoint.as_ref();
        endpoint
            .and_then(|endpoint| endpoint.for_region(region, &self.account.region))
            .unwrap_or_else(|| public_url(public, region, self.account.variant))
    }
}
