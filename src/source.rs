//! Where secrets come from: the trait [`Source`], its errors, and the implementation for AWS.

pub mod secrets_manager;

use crate::secret::key::Key;
use crate::secret::version::Version;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The future of a fetch. The future is boxed: one allocation is cheap compared with a network call.
pub type FetchFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, FetchError>> + Send + 'a>>;

/// A service that provides secrets.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Returns the maximum time that a fetch can take. The source enforces this limit itself.
    fn deadline(&self) -> Duration;

    /// Fetches one version of one secret. The source does not retry: the cache decides about retries.
    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version>;

    /// Fetches the current versions of up to [`BATCH_MAX`] secrets with one call. The results are in
    /// the order of `keys`. The keys must be either all names or all ARNs.
    fn fetch_batch<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> FetchFuture<'a, Vec<Result<Version, FetchError>>>;
}

/// The maximum number of secrets in one batch.
///
/// Source: `SecretIdList` of `BatchGetSecretValue` in AWS's API reference.
pub const BATCH_MAX: usize = 20;

/// Why a fetch failed. This type does not contain the error of the SDK, because the `Debug` output of an SDK
/// error contains the raw response, which may contain a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct FetchError {
    /// The kind of failure, which decides whether to retry and which hint to give.
    pub kind: FetchErrorKind,
    /// AWS's error code, or a code in the same style if AWS sent no code.
    pub code: Box<str>,
    /// AWS's error message, or our own message if AWS sent no message. The message never quotes an
    /// unreadable response.
    pub message: Box<str>,
    /// The request id that AWS support asks for.
    pub request_id: Option<Box<str>>,
}

/// The kind of a failed fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchErrorKind {
    /// The secret or the version does not exist.
    NotFound,
    /// IAM denies the call.
    Denied,
    /// The secret has no readable value: a deletion is scheduled, or the secret has no value yet.
    Unavailable,
    /// The KMS key of the secret cannot decrypt the value.
    Decryption,
    /// AWS rejects the request as invalid.
    Invalid,
    /// The response is about a secret that the configuration does not allow to read.
    OutOfScope,
    /// The secret is in a region that the agent does not call.
    OtherRegion,
    /// Too many calls of this agent are waiting.
    Overloaded,
    /// AWS throttles the agent.
    Throttled,
    /// The service failed.
    Service,
    /// No response arrived within the timeout for one attempt.
    Timeout,
    /// The service could not be reached, or the connection broke.
    Connection,
    /// A response arrived, but the agent cannot interpret it.
    Unreadable,
    /// The response is older than the cached version, and no second response has confirmed the older
    /// version yet.
    Lagging,
    /// The agent has no credentials, or AWS rejects the credentials.
    Credentials,
    /// The agent's configuration is invalid.
    Misconfigured,
    /// A bug in this program.
    Internal,
}

impl FetchErrorKind {
    /// Every kind, in the order of the variants.
    pub const ALL: [Self; 17] = [
        Self::NotFound,
        Self::Denied,
        Self::Unavailable,
        Self::Decryption,
        Self::Invalid,
        Self::OutOfScope,
        Self::OtherRegion,
        Self::Overloaded,
        Self::Throttled,
        Self::Service,
        Self::Timeout,
        Self::Connection,
        Self::Unreadable,
        Self::Lagging,
        Self::Credentials,
        Self::Misconfigured,
        Self::Internal,
    ];

    /// Returns whether a call to AWS can end with this kind of error. The other kinds are errors that
    /// the agent finds before a call, or after a successful call.
    pub fn is_call_result(self) -> bool {
        !matches!(
            self,
            Self::OutOfScope
                | Self::OtherRegion
                | Self::Overloaded
                | Self::Lagging
                | Self::Misconfigured
        )
    }

    /// Returns whether the same call may succeed later without a change of the configuration, the
    /// permissions or the secret.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Overloaded
            | Self::Throttled
            | Self::Service
            | Self::Timeout
            | Self::Connection
            | Self::Unreadable
            | Self::Lagging
            | Self::Credentials
            | Self::Internal => true,
            Self::NotFound
            | Self::Denied
            | Self::Unavailable
            | Self::Decryption
            | Self::Invalid
            | Self::OutOfScope
            | Self::OtherRegion
            | Self::Misconfigured => false,
        }
    }

    /// Returns the name of this kind in metric labels and in logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Decryption => "decryption",
            Self::Invalid => "invalid",
            Self::OutOfScope => "out_of_scope",
            Self::OtherRegion => "abroad",
            Self::Overloaded => "overloaded",
            Self::Throttled => "throttled",
            Self::Service => "service",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Unreadable => "unreadable",
            Self::Lagging => "lagging",
            Self::Credentials => "credentials",
            Self::Misconfigured => "misconfigured",
            Self::Internal => "internal",
        }
    }

    /// Returns a hint: what the caller or the operator can do about this kind of error.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NotFound => {
                "check the name, the region and the account; a plain name refers to the function's own \
                 account and region"
            }
            Self::Denied => {
                "grant secretsmanager:GetSecretValue on this secret to the function's role, and \
                 kms:Decrypt if the secret has its own KMS key"
            }
            Self::Unavailable => "restore the secret, or give it a value",
            Self::Decryption => {
                "enable the KMS key of this secret and grant kms:Decrypt on the key"
            }
            Self::Invalid => "check the name or ARN, the version id and the stage",
            Self::OutOfScope => "add the secret to SIDEKEY_ALLOW",
            Self::OtherRegion => {
                "use the ARN as Secrets Manager shows it; if SIDEKEY_REGION_ONLY is set, Sidekey reads \
                 only secrets of the function's own region"
            }
            Self::Overloaded => "retry; if this continues, look for a caller that invents names",
            Self::Throttled => "Secrets Manager throttles Sidekey; Sidekey retries automatically",
            Self::Service => "Secrets Manager failed; Sidekey retries automatically",
            Self::Timeout => {
                "no response within SIDEKEY_UPSTREAM_TIMEOUT; check the network, the VPC endpoint and \
                 DNS"
            }
            Self::Connection => "check the network: VPC endpoint, security group, DNS, proxy",
            Self::Unreadable => "the response is not from Secrets Manager; check the endpoint",
            Self::Lagging => {
                "a replica lags behind a rotation, or a label was moved back; Sidekey retries \
                 automatically"
            }
            Self::Credentials => {
                "check the role, the profile or the variables that Sidekey's credentials come from; \
                 Sidekey finds new credentials without a restart, except in variables"
            }
            Self::Misconfigured => "correct Sidekey's configuration and deploy again",
            Self::Internal => "this is a bug in Sidekey; please report it",
        }
    }
}

impl FetchError {
    /// Creates an error without a request id.
    pub fn new(kind: FetchErrorKind, code: &str, message: impl Into<Box<str>>) -> Self {
        Self { kind, code: code.into(), message: message.into(), request_id: None }
    }
}

/// A source for an agent with an invalid configuration. Every fetch fails with the list of mistakes, so
/// the mistakes appear in the function's own log.
#[derive(Debug)]
pub struct Misconfigured(FetchError);

impl Misconfigured {
    /// Creates a source whose fetches all fail with the message `mistakes`.
    pub fn new(mistakes: &str) -> Self {
        let kind = FetchErrorKind::Misconfigured;
        Self(FetchError::new(kind, "InvalidConfigurationException", mistakes))
    }
}

impl Source for Misconfigured {
    fn deadline(&self) -> Duration {
        Duration::ZERO
    }

    fn fetch<'a>(&'a self, _key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(async { Err(self.0.clone()) })
    }

    fn fetch_batch<'a>(
        &'a self,
        _keys: &'a [Key],
    ) -> FetchFuture<'a, Vec<Result<Version, FetchError>>> {
        Box::pin(async { Err(self.0.clone()) })
    }
}
