//! Calls AWS Secrets Manager.
//!
//! Sidekey makes these calls without the AWS SDK. The SDK's client for Secrets Manager would make
//! the Lambda layer larger and its start slower.
//!
//! ```text
//!  request   the operations, and the bodies of requests
//!  response  parses the bodies of responses
//!  search    finds secrets by a pattern of names or by a tag
//! ```

mod request;
mod response;
mod search;

pub(crate) use response::Rotation;

use super::account::{Account, wrong_region};
use super::endpoint::Endpoint;
use super::http::{self, Timeouts};
use super::json_client::JsonClient;
use super::json_request::Request;
use super::json_response::Body;
use crate::clock::Clock;
use crate::secret::arn::partition_of;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::service::Service;
use crate::secret::version::Version;
use crate::source::{BatchResult, FetchError};
use request::{BatchGet, Describe, Get, Operation};
use serde::Serialize;
use std::sync::Arc;

pub(super) struct SecretsManager {
    client: JsonClient,
}

impl SecretsManager {
    pub(super) fn new(
        account: Arc<Account>,
        http: http::Client,
        clock: Arc<dyn Clock>,
        endpoint: Option<Endpoint>,
        timeouts: Timeouts,
    ) -> Self {
        let client = JsonClient {
            service: Service::SecretsManager,
            account,
            http,
            clock,
            endpoint,
            timeouts,
            timeout_setting: "SIDEKEY_UPSTREAM_TIMEOUT",
        };
        Self { client }
    }

    /// Calls `DescribeSecret` to find out whether and when AWS rotates a secret automatically.
    pub(super) async fn rotation(&self, id: &SecretId) -> Result<Rotation, FetchError> {
        let body = Describe { secret_id: id.as_str() };
        self.call(Operation::Describe, &body, self.region_of(id)?, response::rotation).await
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Version, FetchError> {
        self.get_in(self.region_of(&key.id)?, key).await
    }

    /// Fetches a secret by its name or ARN in `region`. Unlike [`get`](Self::get), this function
    /// also looks for a name in another region than the agent's own region. The caller must have
    /// checked that Sidekey may call `region`.
    pub(super) async fn get_in(&self, region: &str, key: &Key) -> Result<Version, FetchError> {
        let body = Get {
            secret_id: key.id.as_str(),
            version_id: key.selector.version(),
            version_stage: requested_stage(key),
        };
        self.call(Operation::Get, &body, region, response::single).await
    }

    pub(super) async fn batch(&self, keys: &[Key]) -> Result<Vec<BatchResult>, FetchError> {
        let ids = keys.iter().map(|key| key.id.as_str()).collect();
        let body = BatchGet::of_ids(ids);
        let region = keys.first().and_then(|key| key.id.region()).unwrap_or_else(|| self.home());
        let batch = self.call(Operation::BatchGet, &body, region, response::batch).await?;
        Ok(keys.iter().map(|key| Some(batch.result_for(&key.id))).collect())
    }

    /// Makes one call to Secrets Manager. `parse` parses the body of a successful response.
    async fn call<T>(
        &self,
        operation: Operation,
        body: &impl Serialize,
        region: &str,
        parse: fn(&Body) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let request = Request::new(operation.target(), body);
        parse(&self.client.call(request, region, operation.response_bytes_max()).await?)
    }

    fn home(&self) -> &str {
        &self.client.account.region
    }

    /// Returns the region of the secret `id`. If `id` is a name and not an ARN, this is the agent's
    /// own region. Returns an error if the configuration does not allow other regions, or if the
    /// region in the ARN is invalid.
    fn region_of<'a>(&'a self, id: &'a SecretId) -> Result<&'a str, FetchError> {
        let arn = match id {
            SecretId::Arn(arn) if arn.region() != self.home() => arn,
            _ => return Ok(self.home()),
        };
        self.client.account.check_region(arn.region(), "the secret")?;
        if partition_of(arn.region()) != arn.partition() {
            return Err(wrong_region(format!(
                "the ARN is invalid: region {} does not belong to partition {}",
                arn.region(),
                arn.partition()
            )));
        }
        Ok(arn.region())
    }
}

/// Returns the staging label for a call to AWS, such as `AWSPREVIOUS`. Returns `None` for the
/// current version, because AWS returns this version by default.
fn requested_stage(key: &Key) -> Option<&str> {
    key.selector.stage().filter(|_| !key.selector.is_current())
}
