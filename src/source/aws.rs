//! Reads secrets from AWS. No other module uses the AWS SDK.
//!
//! ```text
//!  secrets_manager  the calls of Secrets Manager
//!  parameter_store  the calls of Parameter Store
//!  account          what all calls share, and how they are signed
//!  session          caches the agent's own AWS credentials
//!  sdk_config       loads the region and the credential providers of the SDK
//!  sdk_error        converts errors of the SDK to Sidekey's errors
//!  http             the HTTP client for all calls
//!  endpoint         the custom endpoint of SIDEKEY_ENDPOINT
//!  public_endpoint  the URLs of AWS's own endpoints
//!  timestamp        converts times in responses
//!  advice           what the user can do after a failed call
//! ```

mod secrets_manager;
mod parameter_store;
mod account;
mod session;
mod sdk_config;
mod sdk_error;
mod http;
mod endpoint;
mod public_endpoint;
mod timestamp;
mod advice;

pub(crate) use crate::outbound::Trust;
pub(crate) use endpoint::Endpoint;
pub(crate) use secrets_manager::Rotation;

use super::{BatchResult, FetchError, FetchFuture, Source};
use crate::clock::Clock;
use crate::outbound::{IdlePolicy, Outbound};
use crate::secret::arn::is_region;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::region::nearest_if_unknown;
use crate::secret::service::Service;
use crate::secret::version::Version;
use crate::tokens::{Renew, Tokens};
use account::Account;
use aws_sdk_secretsmanager::config::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use http::Timeouts;
use parameter_store::ParameterStore;
#[cfg(feature = "host")]
use sdk_config::Runner;
use sdk_config::Settings;
use secrets_manager::SecretsManager;
use session::{CachedProvider, Session};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The configuration of the calls to AWS.
///
/// The `Debug` output contains the names of the environment variables but not their values, because
/// the values include keys and session tokens.
pub struct Config {
    /// The AWS region in Sidekey's configuration. If `None`, the AWS SDK determines the region.
    pub(crate) region: Option<String>,
    /// The URL that the agent calls instead of AWS's own endpoints, from `SIDEKEY_ENDPOINT`.
    pub(crate) endpoint: Option<Endpoint>,
    /// The URL that the agent calls instead of AWS's own endpoints of Parameter Store. If `None`,
    /// the agent uses `endpoint`.
    pub(crate) parameter_store_endpoint: Option<Endpoint>,
    /// Whether the agent refuses to read secrets of other AWS regions than its own region.
    pub(crate) region_only: bool,
    /// The maximum time for one attempt to call AWS, including the time to open a connection.
    pub(crate) attempt_timeout: Duration,
    /// The maximum time for one attempt to call Parameter Store.
    pub(crate) parameter_store_timeout: CallTimeout,
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
            .field("parameter_store_endpoint", &self.parameter_store_endpoint)
            .field("region_only", &self.region_only)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("parameter_store_timeout", &self.parameter_store_timeout)
            .field("credential_process_timeout", &self.credential_process_timeout)
            .field("trust", &self.trust)
            .field("environment", &self.environment.keys())
            .field("is_snapshot", &self.is_snapshot)
            .finish()
    }
}

/// The maximum time for one attempt to call AWS, and the environment variable that sets this time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallTimeout {
    pub(crate) duration: Duration,
    /// The name of the environment variable that sets `duration`. If a call takes too long, the
    /// error names this variable.
    pub(crate) variable: &'static str,
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

/// A client that reads secrets from AWS, in any AWS region. The `Debug` output omits the objects of
/// the AWS SDK, which would print environment variables.
pub struct Aws {
    account: Arc<Account>,
    outbound: Arc<Outbound>,
    has_custom_endpoint: bool,
    attempt_timeout: Duration,
    secrets_manager: SecretsManager,
    parameter_store: ParameterStore,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region()).finish_non_exhaustive()
    }
}

impl Aws {
    /// Creates a client for AWS. The function calls no service that stores secrets. Outside Lambda,
    /// the AWS SDK may call the instance metadata service to find the region.
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
        let timeouts = Timeouts::for_attempt(attempt_timeout);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(timeouts.connect)
            .operation_attempt_timeout(timeouts.attempt)
            .build();
        let idle_policy = if config.is_snapshot { IdlePolicy::Close } else { IdlePolicy::Reuse };
        let outbound = Arc::new(Outbound::new(config.trust, own_ports, idle_policy, clock.clone()));
        let http = http::Client::new(outbound.clone());
        let mut settings = Settings {
            environment: config.environment,
            region: config.region,
            http: SharedHttpClient::from(&http),
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
        let session =
            Arc::new(Session::new(settings, chain, config.is_snapshot, clock.clone(), tokens));
        let provider = SharedCredentialsProvider::new(CachedProvider(session.clone()));
        let account = Arc::new(Account {
            region,
            is_home_region_only: config.region_only,
            sdk_config: sdk.into_builder().credentials_provider(provider).build(),
            session,
            credentials_source,
        });
        let parameter_store = ParameterStore::new(
            account.clone(),
            http,
            clock,
            config.parameter_store_endpoint.or_else(|| config.endpoint.clone()),
            Timeouts::for_attempt(config.parameter_store_timeout.duration),
            config.parameter_store_timeout.variable,
        );
        Ok(Self {
            parameter_store,
            has_custom_endpoint: config.endpoint.is_some(),
            attempt_timeout,
            secrets_manager: SecretsManager::new(account.clone(), config.endpoint),
            account,
            outbound,
        })
    }

    pub(crate) fn region(&self) -> &str {
        &self.account.region
    }

    /// Returns the HTTP client for calls to AWS, which other calls can share.
    pub(crate) fn outbound(&self) -> &Arc<Outbound> {
        &self.outbound
    }

    /// Returns the AWS region with the most similar name if the configured region does not exist.
    /// Returns `None` if the configured region exists, or if a custom endpoint is set, because a
    /// custom endpoint may have regions of its own.
    pub(crate) fn nearest_region_if_unknown(&self) -> Option<&'static str> {
        nearest_if_unknown(self.region()).filter(|_| !self.has_custom_endpoint)
    }

    /// Calls `DescribeSecret` to find out whether and when AWS rotates a secret automatically.
    ///
    /// Only commands such as `sidekey check` call this function. The agent never calls it, so the
    /// agent's IAM role does not need the permission for `DescribeSecret`.
    pub(crate) async fn rotation(&self, id: &SecretId) -> Result<Rotation, FetchError> {
        self.secrets_manager.rotation(id).await
    }

    #[cfg(test)]
    pub(crate) fn parameter_store(&self) -> &ParameterStore {
        &self.parameter_store
    }
}

impl Renew for Aws {
    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.account.session.renew())
    }
}

impl Source for Aws {
    fn deadline(&self, id: &SecretId) -> Duration {
        match (id, id.service()) {
            (SecretId::Path(_), _) => self.parameter_store.deadline_by_path(),
            (_, Service::ParameterStore) => self.parameter_store.deadline(),
            (_, Service::SecretsManager) => self.account.session.timeout() + self.attempt_timeout,
        }
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version> {
        match key.id.service() {
            Service::SecretsManager => Box::pin(self.secrets_manager.get(key)),
            Service::ParameterStore => Box::pin(self.parameter_store.fetch(key)),
        }
    }

    fn fetch_batch<'a>(&'a self, keys: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>> {
        match keys.first().map(|key| key.id.service()) {
            Some(Service::ParameterStore) => Box::pin(self.parameter_store.fetch_batch(keys)),
            _ => Box::pin(self.secrets_manager.batch(keys)),
        }
    }
}
