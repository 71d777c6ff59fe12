//! Reads secrets from AWS. No other module uses the AWS SDK.
//!
//! ```text
//!  secrets_manager  the calls of Secrets Manager
//!  parameter_store  the calls of Parameter Store
//!  failover         the region whose replicas are read while the own region fails
//!  account          what all calls with the same credentials share, and how they are signed
//!  session          caches AWS credentials
//!  sts              assumes roles
//!  reach            reads secrets with the credentials of one account
//!  roles            the assumed roles
//!  credentials      loads the region and the providers of AWS credentials
//!  aws_error        converts errors of AWS and of the SDK to Sidekey's errors
//!  http             the HTTP client for all calls
//!  signing          signs requests
//!  json_client      calls in AWS's JSON protocol
//!  json_request     the requests of these calls
//!  json_response    their responses
//!  endpoint         the custom endpoint of SIDEKEY_ENDPOINT
//!  public_endpoint  the URLs of AWS's own endpoints
//!  timestamp        converts times in responses
//!  advice           what the user can do after a failed call
//! ```

mod roles;
mod reach;
mod sts;
mod secrets_manager;
mod parameter_store;
mod failover;
mod account;
mod session;
mod credentials;
mod aws_error;
mod http;
mod signing;
mod json_client;
mod json_request;
mod json_response;
mod endpoint;
mod public_endpoint;
mod timestamp;
mod advice;

pub(crate) use crate::outbound::Trust;
pub(crate) use endpoint::Endpoint;
pub use failover::BadFailover;
pub(crate) use failover::check_failover;
pub(crate) use secrets_manager::Rotation;
pub(crate) use sts::{AssumableRole, DURATION, SESSION_NAME};

use super::{BatchResult, FetchError, FetchFuture, FoundPage, OwnCredentials, ReplicaCall, Source};
use crate::clock::Clock;
use crate::outbound::{IdlePolicy, Outbound};
use crate::secret::arn::is_region;
use crate::secret::key::Key;
use crate::secret::region::nearest_if_unknown;
use crate::secret::secret_pattern::SecretPattern;
use crate::secret::version::Version;
use crate::tokens::{Renew, Tokens};
use account::Account;
#[cfg(feature = "host")]
use credentials::Runner;
use credentials::{Loaded, Settings};
use failover::Failover;
use http::Timeouts;
use reach::{Means, Reach};
use roles::Roles;
use session::Session;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use sts::Sts;

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
    /// The URL at which the agent assumes roles. If `None`, the agent uses `endpoint`.
    pub(crate) sts_endpoint: Option<Endpoint>,
    /// The roles in the tables `[[role]]` of the configuration file.
    pub(crate) roles: Vec<AssumableRole>,
    /// The AWS region whose replicas of secrets the agent reads while its own region fails, from
    /// `SIDEKEY_FAILOVER_REGION`.
    pub(crate) failover_region: Option<String>,
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
            .field("sts_endpoint", &self.sts_endpoint)
            .field("roles", &self.roles)
            .field("failover_region", &self.failover_region)
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
    /// Error: AWS cannot replicate secrets from the agent's own region to the configured failover
    /// region.
    #[error("SIDEKEY_FAILOVER_REGION: {0}")]
    Failover(#[from] BadFailover),
}

/// A client that reads secrets from AWS, in any AWS region. The `Debug` output omits the objects of
/// the AWS SDK, which would print environment variables.
pub struct Aws {
    outbound: Arc<Outbound>,
    has_custom_endpoint: bool,
    failover: Option<Failover>,
    own: Reach,
    roles: Roles,
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
    /// Returns an error if no AWS region is configured and the AWS SDK finds no valid region, or if
    /// secrets cannot be replicated from this region to the failover region.
    pub async fn prepare(
        config: Config,
        own_ports: Vec<u16>,
        tokens: Arc<Tokens>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegionError> {
        let attempt_timeout = config.attempt_timeout;
        let credentials_source = advice::credentials_source(&config.environment);
        let idle_policy = if config.is_snapshot { IdlePolicy::Close } else { IdlePolicy::Reuse };
        let outbound = Arc::new(Outbound::new(config.trust, own_ports, idle_policy, clock.clone()));
        let http = http::Client::new(outbound.clone());
        let mut settings = Settings {
            environment: config.environment,
            region: config.region,
            http: http.clone(),
            timeouts: Timeouts::for_attempt(attempt_timeout),
            #[cfg(feature = "host")]
            process_runner: Arc::new(Runner::new(config.credential_process_timeout, clock.clone())),
        };
        let Loaded { region, variant, chain } = credentials::load(&settings).await;
        let region: Box<str> = region.ok_or(RegionError::Missing)?.into();
        if !is_region(&region) {
            return Err(RegionError::Malformed(region));
        }
        let failover = config.failover_region.map(|failover| Failover::new(&failover, &region));
        let failover = failover.transpose()?;
        // The region is stored, so that the SDK does not determine the region again when
        // credentials are loaded later.
        settings.region = Some(region.to_string());
        let session =
            Arc::new(Session::new(settings, chain, config.is_snapshot, clock.clone(), tokens));
        let account = Arc::new(Account {
            role: None,
            region,
            is_home_region_only: config.region_only,
            variant,
            session,
            credentials_source,
        });
        let sts = Sts::new(
            account.clone(),
            http.clone(),
            clock.clone(),
            config.sts_endpoint.or_else(|| config.endpoint.clone()),
            Timeouts::for_attempt(attempt_timeout),
        );
        let has_custom_endpoint = config.endpoint.is_some();
        let means = Means {
            http,
            clock,
            endpoint: config.endpoint,
            parameter_store_endpoint: config.parameter_store_endpoint,
            attempt_timeout,
            parameter_store_timeouts: Timeouts::for_attempt(
                config.parameter_store_timeout.duration,
            ),
            parameter_store_timeout_setting: config.parameter_store_timeout.variable,
        };
        Ok(Self {
            outbound,
            has_custom_endpoint,
            failover,
            own: Reach::new(account.clone(), &means),
            roles: Roles::new(account, sts, means, attempt_timeout, config.roles),
        })
    }

    pub(crate) fn region(&self) -> &str {
        &self.own.account.region
    }

    /// Returns the HTTP client for calls to AWS. Calls to other servers can use this client too.
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
    pub(crate) async fn rotation(&self, key: &Key) -> Result<Rotation, FetchError> {
        match &key.role {
            None => self.own.rotation(&key.id).await,
            Some(role) => self.roles.reach(role).rotation(&key.id).await,
        }
    }

    #[cfg(test)]
    pub(crate) fn parameter_store(&self) -> &parameter_store::ParameterStore {
        self.own.parameter_store()
    }
}

impl Renew for Aws {
    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.own.account.session.renew())
    }
}

impl Source for Aws {
    fn deadline(&self, key: &Key) -> Duration {
        match &key.role {
            None => self.own.deadline(&key.id),
            Some(role) => self.roles.reach(role).deadline(&key.id),
        }
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version> {
        match &key.role {
            None => Box::pin(self.own.fetch(key)),
            Some(role) => {
                let reach = self.roles.reach(role);
                Box::pin(async move { reach.fetch(key).await })
            }
        }
    }

    fn fetch_replica<'a>(&'a self, key: &'a Key) -> Option<ReplicaCall<'a>> {
        let failover = self.failover.as_ref()?;
        let replica = failover.replica_of(key)?;
        let call = Box::pin(async move {
            let region = failover.region();
            let answer = match &key.role {
                None => self.own.fetch_in(region, &replica).await?,
                Some(role) => self.roles.reach(role).fetch_in(region, &replica).await?,
            };
            Ok(failover.with_home_arn(answer))
        });
        Some(ReplicaCall { region: failover.region(), call })
    }

    fn fetch_batch<'a>(&'a self, keys: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>> {
        match keys.first().and_then(|key| key.role.as_ref()) {
            None => Box::pin(self.own.fetch_batch(keys)),
            Some(role) => {
                let reach = self.roles.reach(role);
                Box::pin(async move { reach.fetch_batch(keys).await })
            }
        }
    }

    fn own_credentials(&self) -> Option<OwnCredentials> {
        self.own.account.session.own_credentials()
    }

    fn find_deadline(&self) -> Duration {
        self.own.secrets_manager_deadline()
    }

    fn find<'a>(
        &'a self,
        pattern: &'a SecretPattern,
        page: Option<&'a str>,
    ) -> FetchFuture<'a, FoundPage> {
        Box::pin(self.own.find(pattern, page))
    }
}
