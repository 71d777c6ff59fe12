//! Calls AWS Secrets Manager: through the AWS SDK, except for `ListSecrets`.

mod clients;
mod response;
mod list;
mod search;

pub(crate) use response::Rotation;

use super::account::{Account, Target};
use super::endpoint::Endpoint;
use super::http::{self, Timeouts};
use super::json_client::JsonClient;
use super::sdk_error;
use crate::clock::Clock;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::service::Service;
use crate::secret::version::Version;
use crate::source::{BatchResult, FetchError};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use clients::Clients;
use response::Batch;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

/// The variable that sets the maximum time for one call, for error messages.
const TIMEOUT_SETTING: &str = "SIDEKEY_UPSTREAM_TIMEOUT";

pub(super) struct SecretsManager {
    account: Arc<Account>,
    clients: Clients,
    json: JsonClient,
}

impl SecretsManager {
    pub(super) fn new(
        account: Arc<Account>,
        http: http::Client,
        clock: Arc<dyn Clock>,
        endpoint: Option<Endpoint>,
        timeouts: Timeouts,
    ) -> Self {
        let clients = Clients::new(account.clone(), endpoint);
        let json = JsonClient {
            service: Service::SecretsManager,
            account: account.clone(),
            http,
            clock,
            timeouts,
            timeout_setting: TIMEOUT_SETTING,
        };
        Self { account, clients, json }
    }

    /// Calls `DescribeSecret` to find out whether and when AWS rotates a secret automatically.
    pub(super) async fn rotation(&self, id: &SecretId) -> Result<Rotation, FetchError> {
        let request = self.clients.for_secret(id)?.describe_secret().secret_id(id.as_str());
        self.signed(id.region(), request.send()).await.map(Rotation::from)
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Version, FetchError> {
        self.get_with(&self.clients.for_secret(&key.id)?, key.id.region(), key).await
    }

    /// Fetches a secret by its name or ARN in `region`, which is not the agent's own region. Unlike
    /// [`get`](Self::get), this function looks for a name in `region`.
    pub(super) async fn get_in(&self, region: &str, key: &Key) -> Result<Version, FetchError> {
        self.get_with(&self.clients.for_other_region(region), Some(region), key).await
    }

    async fn get_with(
        &self,
        client: &Client,
        region: Option<&str>,
        key: &Key,
    ) -> Result<Version, FetchError> {
        let request = client
            .get_secret_value()
            .secret_id(key.id.as_str())
            .set_version_stage(requested_stage(key))
            .set_version_id(key.selector.version().map(str::to_owned));
        response::single_version(self.signed(region, request.send()).await?)
    }

    pub(super) async fn batch(&self, keys: &[Key]) -> Result<Vec<BatchResult>, FetchError> {
        let ids = keys.iter().map(|key| key.id.as_str().to_owned()).collect();
        let request = self.clients.home().batch_get_secret_value().set_secret_id_list(Some(ids));
        let region = keys.first().and_then(|key| key.id.region());
        let batch = Batch::from(self.signed(region, request.send()).await?);
        Ok(keys.iter().map(|key| Some(batch.result_for(&key.id))).collect())
    }

    /// Makes a call to Secrets Manager, which the AWS SDK signs with the agent's AWS credentials.
    /// `region` is the AWS region of the called endpoint, or `None` for the agent's own region.
    async fn signed<T, E>(
        &self,
        region: Option<&str>,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, FetchError>
    where
        E: ProvideErrorMetadata + RequestId + Error + 'static,
    {
        let region = region.unwrap_or(&self.account.region);
        let target =
            Target { region, url: || self.clients.url(region), timeout_setting: TIMEOUT_SETTING };
        let call = pin!(async { call.await.map_err(|error| sdk_error::from_sdk_error(&error)) });
        self.account.signed(target, |_| call).await
    }
}

/// Returns the staging label for a call to AWS, such as `AWSPREVIOUS`. Returns `None` for the
/// current version, because AWS returns this version by default.
fn requested_stage(key: &Key) -> Option<String> {
    key.selector.stage().filter(|_| !key.selector.is_current()).map(str::to_owned)
}
