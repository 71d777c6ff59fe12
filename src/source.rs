//! Defines the trait [`Source`] for services that provide secrets and parameters, its errors, and
//! its implementation for AWS.

pub mod aws;
pub(crate) mod misconfigured;

use crate::secret::key::Key;
use crate::secret::secret_pattern::SecretPattern;
use crate::secret::service::Service;
use crate::secret::version::Version;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// The boxed future of a call that fetches secrets. A box costs one memory allocation, which is
/// cheap compared with a network call.
pub type FetchFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, FetchError>> + Send + 'a>>;

/// The services from which the agent fetches secrets and parameters: AWS Secrets Manager and AWS
/// Parameter Store, or a replacement in a test.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Returns the maximum duration of one fetch of `key`. The source itself ends a fetch after
    /// this time. If a fetch took much longer, Lambda froze the process during the fetch.
    fn deadline(&self, key: &Key) -> Duration;

    /// Fetches one version of one secret or parameter. The source does not retry failed fetches,
    /// because the cache decides about retries.
    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version>;

    /// Returns a call that fetches the replica of the secret `key` in another region. The call
    /// returns the replica's value, but the ARN of the secret itself. Returns `None` if no other
    /// region is configured, or if `key` can have no replica there.
    fn fetch_replica<'a>(&'a self, _key: &'a Key) -> Option<ReplicaCall<'a>> {
        None
    }

    /// Fetches several secrets or several parameters with one call. The results have the same order
    /// as `keys`.
    ///
    /// `keys` contains the current versions of at most [`BATCH_MAX`] secrets, or any versions of at
    /// most [`PARAMETERS_BATCH_MAX`] different parameters of one region. All keys have the same
    /// role. Names and ARNs must not be mixed.
    ///
    /// A result is `None` if the answer does not say why the secret or parameter is missing. A
    /// separate call for it can find the reason.
    fn fetch_batch<'a>(&'a self, keys: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>>;

    /// Returns what is known about the agent's own AWS credentials. Returns `None` if the source
    /// has no credentials yet, or needs none.
    fn own_credentials(&self) -> Option<OwnCredentials> {
        None
    }

    /// Returns the maximum duration of one call of [`find`](Self::find). The source itself ends a
    /// call after this time.
    fn find_deadline(&self) -> Duration {
        Duration::ZERO
    }

    /// Finds secrets that match `pattern` in the agent's own account and region, with one call.
    /// `page` is the token that the previous page contained, or `None` for the first page.
    ///
    /// A source without a search finds no secrets.
    fn find<'a>(
        &'a self,
        _pattern: &'a SecretPattern,
        _page: Option<&'a str>,
    ) -> FetchFuture<'a, FoundPage> {
        Box::pin(async { Ok(FoundPage::default()) })
    }
}

/// The facts about the agent's own AWS credentials that users may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnCredentials {
    /// When the AWS credentials expire. `None` if they never expire.
    pub(crate) expires: Option<SystemTime>,
    /// Whether AWS has rejected a call with these credentials. The agent then gets new credentials
    /// for the next call.
    pub(crate) is_rejected: bool,
}

/// One page of the secrets that match a pattern. A page can be empty although further pages follow.
#[derive(Debug, Default)]
pub struct FoundPage {
    pub(crate) found: Vec<Found>,
    /// The token of the next page. `None` if this page is the last.
    pub(crate) next: Option<Box<str>>,
}

/// A secret that matches a pattern.
#[derive(Debug)]
pub(crate) enum Found {
    /// The search returned the current version of the secret.
    Version(Version),
    /// The search returned only the name of the secret.
    Name(Box<str>),
    /// The secret `name` exists, but the search could not read its value.
    Unreadable { name: Box<str>, error: FetchError },
}

impl Found {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Version(version) => &version.name,
            Self::Name(name) | Self::Unreadable { name, .. } => name,
        }
    }
}

/// A call that fetches the replica of a secret in another region. The call is not sent yet.
pub struct ReplicaCall<'a> {
    /// The AWS region of the replica, such as `eu-west-1`.
    pub region: &'a str,
    /// The future that makes the call.
    pub call: FetchFuture<'a, Version>,
}

impl fmt::Debug for ReplicaCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaCall").field("region", &self.region).finish_non_exhaustive()
    }
}

/// The result for one secret or parameter, from a call for several. `None` if the answer does not
/// say why the secret or parameter is missing.
pub type BatchResult = Option<Result<Version, FetchError>>;

/// The maximum number of secrets in one call of `BatchGetSecretValue`.
///
/// Source: `SecretIdList` of `BatchGetSecretValue` in AWS's API reference.
pub const BATCH_MAX: usize = 20;

/// The maximum number of parameters in one call of `GetParameters`.
///
/// Source: `Names` of `GetParameters` in AWS's API reference.
pub const PARAMETERS_BATCH_MAX: usize = 10;

/// Returns the error code with which `service` reports a failure of its own servers.
///
/// Source: the errors of `GetSecretValue` and `GetParameter` in AWS's API reference.
pub(crate) fn internal_error_code(service: Service) -> &'static str {
    match service {
        Service::SecretsManager => "InternalServiceError",
        Service::ParameterStore => "InternalServerError",
    }
}

/// An error that occurred when the agent fetched a secret.
///
/// This error does not contain the error of the AWS SDK, because the `Debug` output of an SDK error
/// contains the raw response. The raw response may contain a secret value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct FetchError {
    /// The category of the error. The category decides whether the agent retries the call, and
    /// which advice the user gets.
    pub(crate) kind: FetchErrorKind,
    /// The error code of AWS, such as `ResourceNotFoundException`. If AWS sent no code, the
    /// agent chooses the code of AWS that fits the failure best.
    pub(crate) code: Box<str>,
    /// The error message of AWS, or a message of the agent if AWS sent none. The agent never quotes
    /// an unreadable response, because such a response may contain a secret value.
    pub(crate) message: Box<str>,
    /// The request id of the failed call, which AWS returned. AWS support asks for this id.
    pub(crate) request_id: Option<Box<str>>,
    /// Advice for the user about this error, with the host, the region and the credentials of the
    /// failed call. `None` if the general advice for the category of the error is enough.
    pub(crate) advice: Option<Box<str>>,
}

/// A category of errors that can occur when the agent fetches a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchErrorKind {
    /// Error: the secret does not exist, or it does not have the requested version.
    NotFound,
    /// Error: IAM does not allow the agent's role to read the secret.
    Denied,
    /// Error: AWS does not allow the agent to assume the role with which the secret is read.
    RoleDenied,
    /// Error: the secret exists, but its value cannot be read. Either its deletion is scheduled, or
    /// no value has been stored yet.
    Unavailable,
    /// Error: AWS cannot decrypt the value with the KMS key of the secret.
    Decryption,
    /// Error: AWS rejects the agent's call as invalid.
    Invalid,
    /// Error: AWS returned a secret that the configuration (`SIDEKEY_ALLOW`) does not allow the
    /// agent to serve.
    OutOfScope,
    /// Error: the agent makes no calls to the AWS region in the secret's ARN, or the region is
    /// invalid.
    OtherRegion,
    /// Error: the agent made no call to AWS, because too many calls of the agent are already
    /// waiting.
    Overloaded,
    /// Error: AWS throttles the agent. The agent or its AWS account makes too many calls.
    Throttled,
    /// Error: Secrets Manager or Parameter Store had an internal failure.
    Service,
    /// Error: AWS did not respond within the timeout for one call.
    Timeout,
    /// Error: the agent could not connect to AWS, or the connection broke during the call.
    Connection,
    /// Error: AWS sent a response that the agent cannot interpret.
    Unreadable,
    /// Error: AWS returned another secret or another version than the agent asked for.
    Mismatched,
    /// Error: AWS returned an older version of the secret than the cached version. The agent serves
    /// the older version only after a second response from AWS has confirmed it.
    Lagging,
    /// Error: the agent has no AWS credentials, or AWS rejects the credentials.
    Credentials,
    /// Error: the agent's configuration is invalid.
    Misconfigured,
    /// Error: Sidekey has a bug.
    Internal,
}

impl FetchErrorKind {
    /// All categories of errors that can occur when the agent fetches a secret.
    pub const ALL: [Self; 19] = [
        Self::NotFound,
        Self::Denied,
        Self::RoleDenied,
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
        Self::Mismatched,
        Self::Lagging,
        Self::Credentials,
        Self::Misconfigured,
        Self::Internal,
    ];

    /// Returns whether AWS itself can cause this category of error. The agent detects all other
    /// errors without AWS, so metrics do not count them as failed calls to AWS.
    pub(crate) fn is_call_result(self) -> bool {
        !matches!(
            self,
            Self::OutOfScope
                | Self::OtherRegion
                | Self::Overloaded
                | Self::Mismatched
                | Self::Lagging
                | Self::Misconfigured
        )
    }

    /// Returns whether a retry may succeed although the configuration, the permissions and the
    /// secret are unchanged.
    pub(crate) fn is_transient(self) -> bool {
        match self {
            Self::Overloaded
            | Self::Throttled
            | Self::Service
            | Self::Timeout
            | Self::Connection
            | Self::Unreadable
            | Self::Mismatched
            | Self::Lagging
            | Self::Credentials
            | Self::Internal => true,
            Self::NotFound
            | Self::Denied
            | Self::RoleDenied
            | Self::Unavailable
            | Self::Decryption
            | Self::Invalid
            | Self::OutOfScope
            | Self::OtherRegion
            | Self::Misconfigured => false,
        }
    }

    /// Returns the name of the error category in metric labels and in logs, such as `not_found`.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::RoleDenied => "role_denied",
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
            Self::Mismatched => "mismatched",
            Self::Lagging => "lagging",
            Self::Credentials => "credentials",
            Self::Misconfigured => "misconfigured",
            Self::Internal => "internal",
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::NotFound => {
                "check the name, the region and the account; a plain name refers to the function's own \
                 account and region"
            }
            Self::Denied => {
                "grant secretsmanager:GetSecretValue on this secret to the function's role, and \
                 kms:Decrypt if the secret has its own KMS key"
            }
            Self::RoleDenied => {
                "allow sts:AssumeRole on the role in the policy of Sidekey's own role, and allow \
                 Sidekey's own role in the trust policy of the role"
            }
            Self::Unavailable => {
                "if the deletion of the secret is scheduled, restore the secret; otherwise store a \
                 value in the secret"
            }
            Self::Decryption => {
                "enable the KMS key of this secret and grant kms:Decrypt on the key"
            }
            Self::Invalid => {
                "check the secret's name or ARN, the version id and the staging label in the request"
            }
            Self::OutOfScope => "add the name or ARN to SIDEKEY_ALLOW",
            Self::OtherRegion => {
                "correct the secret's ARN; if SIDEKEY_REGION_ONLY is set, Sidekey reads \
                 only secrets of the function's own region"
            }
            Self::Overloaded => {
                "send the request again; if the error persists, find the client that requests many \
                 names that do not exist"
            }
            Self::Throttled => "Secrets Manager throttles Sidekey; Sidekey retries automatically",
            Self::Service => "Secrets Manager failed; Sidekey retries automatically",
            Self::Timeout => {
                "AWS did not respond within SIDEKEY_UPSTREAM_TIMEOUT; check the network, the VPC \
                 endpoint and DNS"
            }
            Self::Connection => {
                "check the network: the VPC endpoint, the security group, DNS and the proxy"
            }
            Self::Unreadable => {
                "the response is not in the format of Secrets Manager; check the endpoint"
            }
            Self::Mismatched => {
                "check SIDEKEY_ENDPOINT and the proxies between Sidekey and AWS, which may mix up \
                 responses"
            }
            Self::Lagging => {
                "AWS returned an older version than the cached one, soon after a change or because \
                 an older version is current again; Sidekey retries automatically"
            }
            Self::Credentials => {
                "check the role, the profile or the environment variables that provide Sidekey's \
                 credentials; Sidekey detects new credentials without a restart, except in \
                 environment variables"
            }
            Self::Misconfigured => "correct Sidekey's configuration and deploy again",
            Self::Internal => "this is a bug in Sidekey; please report it",
        }
    }
}

impl FetchError {
    /// Returns advice for the user on how to correct this error.
    pub(crate) fn hint(&self) -> &str {
        self.advice.as_deref().unwrap_or_else(|| self.kind.hint())
    }

    /// Creates an error of the category `kind`, with an error code and a message, but without an
    /// AWS request id and without its own advice.
    pub fn new(kind: FetchErrorKind, code: &str, message: impl Into<Box<str>>) -> Self {
        Self { kind, code: code.into(), message: message.into(), request_id: None, advice: None }
    }
}
