//! Reads secrets from AWS Secrets Manager with the AWS SDK. No other module uses the AWS SDK.
//!
//! ```text
//!  clients      one client of the AWS SDK per region
//!  response     converts responses of the SDK to Sidekey's types
//!  session      caches the agent's own AWS credentials
//!  sdk_config   loads the region and the credential providers of the SDK
//!  sdk_error    converts errors of the SDK to Sidekey's errors
//!  http         the HTTP client that all SDK clients use
//!  endpoint     the custom endpoint of SIDEKEY_ENDPOINT
//!  advice       what the user can do after a failed call
//! ```

mod advice;
mod clients;
mod response;
mod session;
mod sdk_config;
mod sdk_error;
mod http;
mod endpoint;

pub(crate) use endpoint::Endpoint;
pub(crate) use http::Trust;
pub(crate) use response::Rotation;

use super::{FetchError, FetchErrorKind, FetchFuture, Source};
use crate::clock::Clock;
use crate::secret::arn::is_region;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::region::nearest_if_unknown;
use crate::secret::version::Version;
use crate::tokens::{Renew, Tokens};
use advice::CallSite;
use aws_sdk_secretsmanager::config::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use clients::Clients;
use http::IdlePolicy;
use response::Batch;
#[cfg(feature = "host")]
use sdk_config::Runner;
use sdk_config::Settings;
use session::{CachedProvider, Session};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

/// The maximum time for opening a connection to AWS, including the TLS handshake. The AWS SDK has
/// the same default.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// The configuration of the client for AWS Secrets Manager.
///
/// The `Debug` output contains the names of the environment variables but not their values, because
/// the values include keys and session tokens.
pub struct Config {
    /// The AWS region in Sidekey's configuration. If `None`, the AWS SDK determines the region.
    pub(crate) region: Option<String>,
    /// The URL that the agent calls instead of AWS's own endpoints, from `SIDEKEY_ENDPOINT`.
    pub(crate) endpoint: Option<Endpoint>,
    /// Whether the agent refuses to read secrets of other AWS regions than its own region.
    pub(crate) region_only: bool,
    /// The maximum time for one attempt to call AWS, including the time to open a connection.
    pub(crate) attempt_timeout: Duration,
    pub(crate) credential_process_timeout: Duration,
    pub(crate) trust: Trust,
    pub(crate) environment: BTreeMap<String, String>,
    /// Whether Lambda SnapStart may restore the process from a snapshot. If so, the agent gets new
    /// credentials for each call and does not reuse connections.
    pub is_snapshot: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("region_only", &self.region_only)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("credential_process_timeout", &self.credential_process_timeout)
            .field("trust", &self.trust)
            .field("environment", &self.environment.keys())
            .field("is_snapshot", &self.is_snapshot)
            .finish()
    }
}

/// Why the agent knows no valid AWS region, so that it cannot call AWS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// Error: neither Sidekey's configuration nor the AWS SDK provides an AWS region.
    #[error("no AWS region is configured: set SIDEKEY_REGION or AWS_REGION")]
    Missing,
    /// Error: the AWS SDK found a region that does not look like an AWS region, such as
    /// `eu-north-1`. The region comes from an AWS profile or from the instance metadata service.
    #[error(
        "the AWS profile has the region {0:?}, which is not a region like eu-north-1: correct the \
         profile, or set SIDEKEY_REGION"
    )]
    Malformed(Box<str>),
}

/// A client that reads secrets from AWS Secrets Manager, in any AWS region. The `Debug` output
/// omits the objects of the AWS SDK, which would print environment variables.
pub struct SecretsManager {
    clients: Clients,
    session: Arc<Session>,
    /// Where the AWS credentials come from, for error messages.
    credentials_source: String,
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManager").field("region", &self.region()).finish_non_exhaustive()
    }
}

impl SecretsManager {
    /// Creates a client for Secrets Manager. The function does not call Secrets Manager. Outside
    /// Lambda, the AWS SDK may call the instance metadata service to find the region.
    ///
    /// `own_ports` are the loopback ports on which the agent itself listens. The client refuses to
    /// call these ports, because the agent would call itself.
    ///
    /// `tokens` are the tokens that the agent accepts in requests. When the client gets AWS
    /// credentials, it adds their session token to `tokens`.
    ///
    /// # Errors
    ///
    /// Returns an error if no AWS region is configured and the AWS SDK finds no valid region.
    pub async fn prepare(
        config: Config,
        own_ports: Vec<u16>,
        tokens: Arc<Tokens>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegionError> {
        let attempt_timeout = config.attempt_timeout;
        let credentials_source = advice::credentials_source(&config.environment);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(attempt_timeout))
            .operation_attempt_timeout(attempt_timeout)
            .build();
        let idle_policy = if config.is_snapshot { IdlePolicy::Close } else { IdlePolicy::Reuse };
        let mut settings = Settings {
            environment: config.environment,
            region: config.region,
            http: http::client(config.trust, own_ports, idle_policy, clock.clone()),
            timeouts,
            attempt_timeout,
            #[cfg(feature = "host")]
            process_runner: Arc::new(Runner::new(config.credential_process_timeout, clock.clone())),
        };
        let (sdk, chain) = sdk_config::load(&settings).await;
        let region: Box<str> = sdk.region().ok_or(RegionError::Missing)?.as_ref().into();
        if !is_region(&region) {
            return Err(RegionError::Malformed(region));
        }
        // The region is stored, so that the SDK does not determine the region again when
        // credentials are loaded later.
        settings.region = Some(region.to_string());
        let session = Arc::new(Session::new(settings, chain, config.is_snapshot, clock, tokens));
        let provider = SharedCredentialsProvider::new(CachedProvider(session.clone()));
        let shared = sdk.into_builder().credentials_provider(provider).build();
        Ok(Self {
            clients: Clients::new(region, config.region_only, config.endpoint, shared),
            session,
            credentials_source,
        })
    }

    pub(crate) fn region(&self) -> &str {
        self.clients.region()
    }

    /// Returns the AWS region with the most similar name if the configured region does not exist.
    /// Returns `None` if the configured region exists, or if a custom endpoint is set, because a
    /// custom endpoint may have regions of its own.
    pub(crate) fn nearest_region_if_unknown(&self) -> Option<&'static str> {
        nearest_if_unknown(self.region()).filter(|_| !self.clients.has_custom_endpoint())
    }

    /// Calls `DescribeSecret` to find out whether and when AWS rotates a secret automatically.
    ///
    /// Only commands such as `sidekey check` call this function. The agent never calls it, so the
    /// agent's IAM role does not need the permission for `DescribeSecret`.
    pub(crate) async fn rotation(&self, id: &SecretId) -> Result<Rotation, FetchError> {
        let request = self.clients.for_secret(id)?.describe_secret().secret_id(id.as_str());
        self.signed(id.region(), pin!(request.send())).await.map(Rotation::from)
    }

    async fn get(&self, key: &Key) -> Result<Version, FetchError> {
        let request = self
            .clients
            .for_secret(&key.id)?
            .get_secret_value()
            .secret_id(key.id.as_str())
            .set_version_stage(requested_stage(key))
            .set_version_id(key.selector.version().map(str::to_owned));
        response::single_version(self.signed(key.id.region(), pin!(request.send())).await?)
    }

    async fn batch(&self, keys: &[Key]) -> Result<Vec<Result<Version, FetchError>>, FetchError> {
        let ids = keys.iter().map(|key| key.id.as_str().to_owned()).collect();
        let request = self.clients.home().batch_get_secret_value().set_secret_id_list(Some(ids));
        let region = keys.first().and_then(|key| key.id.region());
        let batch = Batch::from(self.signed(region, pin!(request.send())).await?);
        Ok(keys.iter().map(|key| batch.result_for(&key.id)).collect())
    }

    /// Makes a call to AWS, which the AWS SDK signs with the agent's AWS credentials. Gets new
    /// credentials first if the cached credentials cannot be used. `region` is the AWS region of
    /// the called endpoint, or `None` for the agent's own region.
    ///
    /// If AWS rejects the credentials, marks them as rejected, so that a later call gets new
    /// credentials.
    async fn signed<T, E>(
        &self,
        region: Option<&str>,
        call: Pin<&mut impl Future<Output = Result<T, SdkError<E, HttpResponse>>>>,
    ) -> Result<T, FetchError>
    where
        E: ProvideErrorMetadata + RequestId + Error + 'static,
    {
        self.attempt(call).await.map_err(|error| {
            let region = region.unwrap_or_else(|| self.region());
            let url = self.clients.url(region);
            let credentials = &*self.credentials_source;
            let advice = advice::of(&error, CallSite { url: &url, region, credentials });
            FetchError { advice: advice.map(Into::into), ..error }
        })
    }

    async fn attempt<T, E>(
        &self,
        call: Pin<&mut impl Future<Output = Result<T, SdkError<E, HttpResponse>>>>,
    ) -> Result<T, FetchError>
    where
        E: ProvideErrorMetadata + RequestId + Error + 'static,
    {
        let credentials = self.session.ready().await?;
        call.await.map_err(|error| {
            let error = sdk_error::from_sdk_error(&error);
            if error.kind == FetchErrorKind::Credentials {
                credentials.mark_rejected();
            }
            error
        })
    }
}

impl Renew for SecretsManager {
    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.session.renew())
    }
}

impl Source for SecretsManager {
    fn deadline(&self) -> Duration {
        self.session.deadline()
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(self.get(key))
    }

    fn fetch_batch<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> FetchFuture<'a, Vec<Result<Version, FetchError>>> {
        Box::pin(self.batch(keys))
    }
}

/// Returns the staging label for a call to AWS, such as `AWSPREVIOUS`. Returns `None` for the
/// current version, because AWS returns this version by default.
fn requested_stage(key: &Key) -> Option<String> {
    key.selector.stage().filter(|_| !key.selector.is_current()).map(str::to_owned)
}
