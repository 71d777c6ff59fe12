//! Where do values come from?

pub mod secrets_manager;

use crate::secret::key::Key;
use crate::secret::version::Version;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A fetch under way. Boxed: one allocation beside a call over a network is nothing.
pub type Fetching<'a, T> = Pin<Box<dyn Future<Output = Result<T, FetchError>> + Send + 'a>>;

/// A service that values come from.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Returns how long a call may take at most: its own deadline.
    fn deadline(&self) -> Duration;

    /// Asks for one version of one secret, once: what to do about a failure is decided elsewhere.
    fn fetch<'a>(&'a self, key: &'a Key) -> Fetching<'a, Version>;

    /// Asks for the current versions of up to [`BATCH_MAX`] secrets at once. The answers come in
    /// the order of `keys`, which are all names or all ARNs.
    fn fetch_batch<'a>(&'a self, keys: &'a [Key])
    -> Fetching<'a, Vec<Result<Version, FetchError>>>;
}

/// How many secrets one batch may ask for.
///
/// Source: `SecretIdList` of `BatchGetSecretValue` in AWS's API reference.
pub const BATCH_MAX: usize = 20;

/// Why a fetch failed: a kind, a code and a request id, never an SDK's error, whose `Debug` prints
/// the raw answer and so, where it could not be read, the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct FetchError {
    /// What can be done about it.
    pub kind: FetchErrorKind,
    /// The service's own name of the error, or one in its style.
    pub code: Box<str>,
    /// The service's own message where it sent one, else ours. Never a part of an unread answer.
    pub message: Box<str>,
    /// The id that AWS's support asks for.
    pub request_id: Option<Box<str>>,
}

/// What can be done about a failed fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchErrorKind {
    /// There is no such secret or version.
    NotFound,
    /// The role may not read it.
    Denied,
    /// The service does not hand it out: marked for deletion, or no value yet.
    Unavailable,
    /// The key that encrypts it cannot be used.
    Decryption,
    /// The service does not understand what was asked.
    Invalid,
    /// The answer is about a secret outside what may be read.
    OutOfScope,
    /// The secret is in a region that is not called.
    Abroad,
    /// Too many calls of this agent's own are waiting.
    Overloaded,
    /// Too many calls.
    Throttled,
    /// The service failed.
    Service,
    /// No answer within the time for one attempt.
    Timeout,
    /// The service could not be reached, or the connection broke.
    Connection,
    /// There was an answer that makes no sense.
    Unreadable,
    /// There was an answer older than what is held, which no second one has confirmed yet.
    Lagging,
    /// The agent has no credentials, or the service refuses them: expired, unknown, unsigned.
    Credentials,
    /// The agent's own configuration is mistaken.
    Misconfigured,
    /// A fault of this program.
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
        Self::Abroad,
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

    /// Returns whether this is how a call to upstream ends: what is refused here never was one, and
    /// what lags is judged afterwards.
    pub fn is_of_a_call(self) -> bool {
        !matches!(
            self,
            Self::OutOfScope
                | Self::Abroad
                | Self::Overloaded
                | Self::Lagging
                | Self::Misconfigured
        )
    }

    /// Returns whether the same call may succeed later without anybody changing anything. What is
    /// not transient is a refusal: the service was there and said no.
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
            | Self::Abroad
            | Self::Misconfigured => false,
        }
    }

    /// Returns the kind's name as a metric label and in logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Decryption => "decryption",
            Self::Invalid => "invalid",
            Self::OutOfScope => "out_of_scope",
            Self::Abroad => "abroad",
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

    /// Returns what the reader, or whoever operates the function, can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NotFound => {
                "check the name, the region and the account; a name means the function's own"
            }
            Self::Denied => {
                "grant secretsmanager:GetSecretValue on this secret to the function's role, and \
                 kms:Decrypt where it has a key of its own"
            }
            Self::Unavailable => "restore the secret, or give it a value",
            Self::Decryption => "enable the KMS key of this secret and grant kms:Decrypt on it",
            Self::Invalid => "check the name or ARN, the version id and the stage",
            Self::OutOfScope => "add the secret to SIDEKEY_ALLOW",
            Self::Abroad => {
                "use the ARN as Secrets Manager shows it; where SIDEKEY_REGION_ONLY is set, only \
                 secrets of the function's own region are read"
            }
            Self::Overloaded => "ask again; if it lasts, look for a caller that invents names",
            Self::Throttled => "Secrets Manager asks to slow down; Sidekey retries by itself",
            Self::Service => "Secrets Manager failed; Sidekey retries by itself",
            Self::Timeout => {
                "no answer within SIDEKEY_UPSTREAM_TIMEOUT; check the network, VPC endpoint and DNS"
            }
            Self::Connection => "check the network: VPC endpoint, security group, DNS, proxy",
            Self::Unreadable => "something other than Secrets Manager answered; check the endpoint",
            Self::Lagging => {
                "a replica lags behind a rotation, or a label was moved back; Sidekey asks again"
            }
            Self::Credentials => {
                "check the role, the profile or the variables that Sidekey's credentials come from; \
                 new ones are found without a restart, except in variables"
            }
            Self::Misconfigured => "correct Sidekey's configuration and deploy again",
            Self::Internal => "this is a fault of Sidekey; please report it",
        }
    }
}

impl FetchError {
    /// Makes an error of this program's own words.
    pub fn new(kind: FetchErrorKind, code: &str, message: impl Into<Box<str>>) -> Self {
        Self { kind, code: code.into(), message: message.into(), request_id: None }
    }
}

/// What stands in for a source where the configuration is mistaken: every read is answered with the
/// mistakes, so that the function's own log says what is wrong.
#[derive(Debug)]
pub struct Misconfigured(FetchError);

impl Misconfigured {
    /// Answers every fetch with `mistakes`.
    pub fn new(mistakes: &str) -> Self {
        let kind = FetchErrorKind::Misconfigured;
        Self(FetchError::new(kind, "InvalidConfigurationException", mistakes))
    }
}

impl Source for Misconfigured {
    fn deadline(&self) -> Duration {
        Duration::ZERO
    }

    fn fetch<'a>(&'a self, _key: &'a Key) -> Fetching<'a, Version> {
        Box::pin(async { Err(self.0.clone()) })
    }

    fn fetch_batch<'a>(
        &'a self,
        _keys: &'a [Key],
    ) -> Fetching<'a, Vec<Result<Version, FetchError>>> {
        Box::pin(async { Err(self.0.clone()) })
    }
}
