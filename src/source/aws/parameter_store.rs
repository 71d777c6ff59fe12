//! Calls Parameter Store, a part of AWS Systems Manager (SSM).
//!
//! Sidekey makes these calls without the AWS SDK. The SDK's client for Systems Manager would make
//! the Lambda layer larger and its start slower.
//!
//! ```text
//!  parameter  the parameters that Parameter Store returns
//!  request    the operations, and the bodies of requests
//!  response   parses the bodies of responses
//!  advice     what the user can do after a failed call
//!  keys       fetches the parameters of the cache's keys
//! ```

mod parameter;
mod request;
mod response;
mod advice;
mod keys;
#[cfg(test)]
mod tests;

pub(crate) use parameter::{Parameter, Parameters};

use super::account::Account;
use super::aws_error;
use super::endpoint::Endpoint;
use super::http::{self, Timeouts};
use super::json_client::JsonClient;
use super::json_request::Request;
use super::json_response::Body;
use crate::clock::Clock;
use crate::clock::freeze::{INTERRUPTIONS_MAX, was_interrupted};
use crate::secret::service::Service;
use crate::source::FetchError;
use request::{ByPath, Get, GetMany, Operation};
use response::Page;
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of parameters that Sidekey reads for one path. With values of 4 KB, this
/// number of parameters needs about 4 MB of memory.
const PARAMETERS_BY_PATH_MAX: usize = 1000;

/// The maximum number of responses that Sidekey reads for one path. AWS may return many pages with
/// few or no parameters if the call has filters.
const PAGES_MAX: usize = 200;

/// The maximum size of a response in bytes, about twice the size of the values in the largest
/// possible response. That response contains 10 parameters of 8 KB, and JSON escapes make each byte
/// up to six times as long.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

/// Calls Parameter Store, in any AWS region. Creating this client costs almost nothing, because it
/// opens connections only when it is first called.
pub(crate) struct ParameterStore {
    client: JsonClient,
}

impl fmt::Debug for ParameterStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParameterStore")
            .field("endpoint", &self.client.endpoint)
            .finish_non_exhaustive()
    }
}

impl ParameterStore {
    pub(super) fn new(
        account: Arc<Account>,
        http: http::Client,
        clock: Arc<dyn Clock>,
        endpoint: Option<Endpoint>,
        timeouts: Timeouts,
        timeout_setting: &'static str,
    ) -> Self {
        let service = Service::ParameterStore;
        let client =
            JsonClient { service, account, http, clock, endpoint, timeouts, timeout_setting };
        Self { client }
    }

    /// Returns the maximum duration of one call to Parameter Store, including an attempt to get AWS
    /// credentials before the call.
    pub(crate) fn deadline(&self) -> Duration {
        self.client.account.session.timeout() + self.client.timeouts.attempt
    }

    /// Returns the maximum duration of [`by_path`](Self::by_path), which calls AWS once for each
    /// page of parameters.
    pub(crate) fn deadline_by_path(&self) -> Duration {
        let pages = u32::try_from(PAGES_MAX).unwrap_or(u32::MAX);
        self.client.account.session.timeout() + self.client.timeouts.attempt.saturating_mul(pages)
    }

    fn not_found(&self, region: Option<&str>) -> FetchError {
        let error = aws_error::from_code(Some("ParameterNotFound"), None, None);
        let region = region.unwrap_or(&self.client.account.region);
        advice::advised(error, Operation::Get, region)
    }

    /// Calls `GetParameter`. `name` is the name or ARN of a parameter, and may end in `:VERSION` or
    /// `:LABEL`. Without `with_decryption`, the value of a `SecureString` is a ciphertext. `region`
    /// is the AWS region of the parameter, or `None` for the agent's own region.
    pub(crate) async fn get(
        &self,
        name: &str,
        with_decryption: bool,
        region: Option<&str>,
    ) -> Result<Parameter, FetchError> {
        let body = Get { name, with_decryption };
        self.call(Operation::Get, &body, region, response::single).await
    }

    /// Calls `GetParameters` for at most ten names or ARNs, which may each end in `:VERSION` or
    /// `:LABEL`. The returned parameters have no particular order.
    pub(crate) async fn get_many(
        &self,
        names: &[String],
        with_decryption: bool,
        region: Option<&str>,
    ) -> Result<Parameters, FetchError> {
        let body = GetMany { names, with_decryption };
        self.call(Operation::GetMany, &body, region, response::many).await
    }

    /// Calls `GetParametersByPath` until AWS has returned all parameters under `path`. Returns an
    /// error if the path has more than 1000 parameters or 200 pages of parameters.
    ///
    /// Each page is a separate call with its own timeout. `filters` is the JSON of
    /// `ParameterFilters`, which Sidekey passes on unchanged.
    pub(crate) async fn by_path(
        &self,
        path: &str,
        is_recursive: bool,
        with_decryption: bool,
        filters: Option<&RawValue>,
        region: Option<&str>,
    ) -> Result<Vec<Parameter>, FetchError> {
        let mut found = Vec::new();
        let mut next_token: Option<Box<str>> = None;
        for _ in 0..PAGES_MAX {
            let body = ByPath {
                path,
                is_recursive,
                with_decryption,
                filters,
                next_token: next_token.as_deref(),
            };
            let page = self.page(&body, region).await?;
            found.extend(page.parameters);
            if found.len() > PARAMETERS_BY_PATH_MAX {
                let excess = format!("more than {PARAMETERS_BY_PATH_MAX} parameters");
                return Err(advice::path_is_too_large(&excess));
            }
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(found);
            }
        }
        Err(advice::path_is_too_large(&format!("more than {PAGES_MAX} pages of parameters")))
    }

    /// Calls `GetParametersByPath` once. Repeats the call if it fails because a freeze of the
    /// process interrupted the call.
    ///
    /// The cache cannot detect such a freeze, because [`deadline_by_path`](Self::deadline_by_path),
    /// the time limit of all pages together, is much longer than most freezes.
    async fn page(&self, body: &ByPath<'_>, region: Option<&str>) -> Result<Page, FetchError> {
        let mut repetitions = 0;
        loop {
            let sent = self.client.clock.now();
            let page = self.call(Operation::ByPath, body, region, response::page).await;
            let took = self.client.clock.now().since(sent);
            let is_interrupted = page.is_err() && was_interrupted(took, self.deadline());
            if !is_interrupted || repetitions == INTERRUPTIONS_MAX {
                return page;
            }
            repetitions += 1;
        }
    }

    /// Makes one call to Parameter Store. `parse` parses the body of a successful response.
    async fn call<T>(
        &self,
        operation: Operation,
        body: &impl Serialize,
        region: Option<&str>,
        parse: fn(&Body) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let region = region.unwrap_or(&self.client.account.region);
        let request = Request::new(operation.target(), body);
        let result = self.body(request, region).await.and_then(|body| parse(&body));
        result.map_err(|error| advice::advised(error, operation, region))
    }

    async fn body(&self, request: Request, region: &str) -> Result<Body, FetchError> {
        self.client.account.check_region(region, "the parameter")?;
        self.client.call(request, region, RESPONSE_BYTES_MAX).await
    }
}
