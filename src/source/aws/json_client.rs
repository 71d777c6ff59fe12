//! Calls AWS services with AWS's JSON protocol, without the AWS SDK.

use super::account::{Account, Target};
use super::http::{self, Timeouts};
use super::json_request::Request;
use super::json_response::{self, Body};
use super::sdk_error;
use super::session::CachedCredentials;
use crate::clock::Clock;
use crate::secret::service::Service;
use crate::source::FetchError;
use std::sync::Arc;

/// Calls one service with the AWS credentials of one account.
pub(super) struct JsonClient {
    pub(super) service: Service,
    pub(super) account: Arc<Account>,
    pub(super) http: http::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeouts: Timeouts,
    /// The variable that sets `timeouts`, for error messages.
    pub(super) timeout_setting: &'static str,
}

/// Where a call goes, and how large its response may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination<'a> {
    pub(super) region: &'a str,
    pub(super) url: &'a str,
    /// The maximum size of the response in bytes.
    pub(super) bytes_max: usize,
}

impl JsonClient {
    /// Makes one call, and returns the body of the response.
    pub(super) async fn call(
        &self,
        request: Request,
        destination: Destination<'_>,
    ) -> Result<Body, FetchError> {
        let Destination { region, url, .. } = destination;
        let timeout_setting = self.timeout_setting;
        let target = Target { region, url: || url.to_owned(), timeout_setting };
        // A box, so that the futures of the callers are small.
        let send = |credentials| Box::pin(self.send(request, destination, credentials));
        self.account.signed(target, send).await
    }

    async fn send(
        &self,
        request: Request,
        Destination { region, url, bytes_max }: Destination<'_>,
        credentials: Arc<CachedCredentials>,
    ) -> Result<Body, FetchError> {
        let now = self.clock.now().wall;
        // The name of a service in signatures is its name in ARNs.
        let signed = request
            .signed(url, self.service.arn_name(), region, credentials.credentials(), now)
            .ok_or_else(|| sdk_error::unsendable(self.service.into()))?;
        let response = self.http.send(signed, self.timeouts).await;
        let response = response
            .map_err(|error| sdk_error::from_connector_error(self.service.into(), &error))?;
        json_response::body(response, self.service, bytes_max)
    }
}
