//! Reads secrets from AWS Secrets Manager with the AWS SDK. No other module uses the AWS SDK.
//!
//! ```text
//!  clients      one SDK client per region
//!  response     from responses of the SDK to our types
//!  session      the agent's own credentials
//!  sdk_config   the region and the credential providers
//!  sdk_error    from errors of the SDK to our errors
//!  http         the HTTP client of all SDK clients
//!  endpoint     a custom endpoint
//! ```

mod clients;
mod response;
mod session;
mod sdk_config;
mod sdk_error;
mod http;
mod endpoint;

pub use clients::REGIONS_MAX;
pub use endpoint::{BadEndpoint, Endpoint};
pub use http::{BadTrust, Trust};
pub use response::Rotation;

use super::{FetchError, FetchErrorKind, FetchFuture, Source};
use crate::clock::Clock;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::version::Version;
use crate::tokens::{Renew, Tokens};
use aws_sdk_secretsmanager::config::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use clients::Clients;
use http::IdlePolicy;
use response::Batch;
use sdk_config::Settings;
use session::{CachedProvider, Session};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

/// The maximum time for a TCP and TLS handshake. The SDK's own default.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// The configuration of [`SecretsManager`]. `Debug` prints the names of the environment variables without their
/// values, because the values include keys and session tokens.
pub struct Config {
    /// The function's region. Without a configured region, the SDK looks for one.
    pub region: Option<String>,
    /// The endpoint that replaces AWS's own endpoints.
    pub endpoint: Option<Endpoint>,
    /// Whether the agent refuses secrets of other regions.
    pub region_only: bool,
    /// The maximum time for one attempt, including the time to connect.
    pub attempt_timeout: Duration,
    /// The root certificates that TLS connections trust.
    pub trust: Trust,
    /// The environment variables that the SDK reads.
    pub environment: BTreeMap<String, String>,
    /// Whether the process may be restored from a snapshot. If so, each call gets new credentials from
    /// the environment, and connections are not reused.
    pub is_snapshot: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("region_only", &self.region_only)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("trust", &self.trust)
            .field("environment", &self.environment.keys())
            .field("is_snapshot", &self.is_snapshot)
            .finish()
    }
}

/// No region is configured and the SDK found none, so the agent does not know which region to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no region is known: set SIDEKEY_REGION or AWS_REGION")]
pub struct NoRegion;

/// A client of Secrets Manager in all regions. `Debug` omits the SDK's parts, because they print the
/// environment.
pub struct SecretsManager {
    clients: Clients,
    session: Arc<Session>,
    deadline: Duration,
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManager").field("region", &self.region()).finish_non_exhaustive()
    }
}

impl SecretsManager {
    /// Creates a client. This makes no call to Secrets Manager, but outside Lambda the SDK may ask the
    /// instance metadata service for the region.
    ///
    /// `own_ports` are the loopback ports of the agent, which the client refuses to call. The session
    /// tokens of all credentials that the client gets are added to `tokens`.
    ///
    /// # Errors
    ///
    /// Returns an error if no region is known.
    pub async fn prepare(
        config: Config,
        own_ports: Vec<u16>,
        tokens: Arc<Tokens>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoRegion> {
        let attempt_timeout = config.attempt_timeout;
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
        };
        let loaded = sdk_config::load(&settings).await;
        let region: Box<str> = loaded.region().ok_or(NoRegion)?.as_ref().into();
        // Later loads, which only look for credentials, must not look for the region again.
        settings.region = Some(region.to_string());
        let session = Arc::new(Session::new(
            settings,
            loaded.credentials_provider(),
            attempt_timeout,
            config.is_snapshot,
            clock,
            tokens,
        ));
        let provider = SharedCredentialsProvider::new(CachedProvider(session.clone()));
        let shared = loaded.into_builder().credentials_provider(provider).build();
        Ok(Self {
            clients: Clients::new(region, config.region_only, config.endpoint, shared),
            session,
            // The agent may have to get credentials before the attempt. Each part has the timeout.
            deadline: attempt_timeout * 2,
        })
    }

    /// Returns the function's region.
    pub fn region(&self) -> &str {
        self.clients.region()
    }

    /// Reads the state of the automatic rotation of a secret, with the operation `DescribeSecret`. Only commands call
    /// this method: the agent itself does not need the permission for `DescribeSecret`.
    ///
    /// # Errors
    ///
    /// Returns an error if the call fails. Many roles that may read a secret may not describe it.
    pub async fn rotation(&self, id: &SecretId) -> Result<Rotation, FetchError> {
        let request = self.clients.for_secret(id)?.describe_secret().secret_id(id.as_str());
        self.signed(pin!(request.send())).await.map(Rotation::from)
    }

    async fn get(&self, key: &Key) -> Result<Version, FetchError> {
        let request = self
            .clients
            .for_secret(&key.id)?
            .get_secret_value()
            .secret_id(key.id.as_str())
            .set_version_stage(requested_stage(key))
            .set_version_id(key.selector.version().map(str::to_owned));
        response::single_version(self.signed(pin!(request.send())).await?)
    }

    async fn batch(&self, keys: &[Key]) -> Result<Vec<Result<Version, FetchError>>, FetchError> {
        let ids = keys.iter().map(|key| key.id.as_str().to_owned()).collect();
        let request = self.clients.home().batch_get_secret_value().set_secret_id_list(Some(ids));
        let batch = Batch::from(self.signed(pin!(request.send())).await?);
        Ok(keys.iter().map(|key| batch.result_for(&key.id)).collect())
    }

    /// Makes sure that credentials are cached, makes a call, and records if AWS rejects the
    /// credentials.
    async fn signed<T, E>(
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
        self.deadline
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

/// Returns the staging label to send. A read of the current version sends no label: this has the same
/// meaning in AWS, and it is what other clients send.
fn requested_stage(key: &Key) -> Option<String> {
    key.selector.stage().filter(|_| !key.selector.is_current()).map(str::to_owned)
}
