//! All errors with which the server answers a request. Each error has a type, a message and a hint.
//!
//! The same errors apply whether Sidekey imitates AWS's agent or AWS's extension. The `dialect`
//! module chooses the status and the format of the answer.

use super::gate::Refusal;
use super::operation::BadCall;
use super::request::BadQuery;
use crate::cache::ReadError;
use crate::cache::malformed::Malformed;
use crate::message::body::BadBody;
use crate::secret::field::FieldError;
use crate::secret::reference::BadReference;
use std::sync::Arc;

/// Why a request fails. The caller receives the text of the error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// Error: the request is refused because of its headers, its token, or the number of
    /// connections.
    #[error("{}", refusal(*.0))]
    Refused(Refusal),
    #[error("this path serves only GET requests")]
    MethodNotGet,
    #[error("this path serves only POST requests")]
    MethodNotPost,
    #[error("Sidekey serves nothing at this path")]
    UnknownPath,
    /// Error: the query of the request is not valid.
    #[error(transparent)]
    Query(#[from] BadQuery),
    /// Error: the reference in the request (the name or ARN of a secret) is not valid.
    #[error("secretId: {0}")]
    Reference(#[from] BadReference),
    /// Error: the body of a GET request is larger than this number of bytes. Smaller bodies of GET
    /// requests are ignored.
    #[error("the body of this GET request is larger than {0} bytes")]
    IgnoredBodyTooLarge(u64),
    /// Error: a call of the AWS API is not valid, or Sidekey does not serve its operation.
    #[error(transparent)]
    Call(#[from] BadCall),
    /// Error: the body of a `/resolve` request is not valid, or exceeds a limit.
    #[error(transparent)]
    Messages(#[from] BadBody),
    #[error("the request refers to more than {0} secrets")]
    TooManySecrets(usize),
    #[error("the answer would be larger than {0} bytes")]
    AnswerTooLarge(usize),
    #[error("other /resolve requests use all the memory that Sidekey allows for them")]
    Overloaded,
    #[error("the request's body is larger than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the request's body was not complete within {0:?}")]
    BodyTooSlow(std::time::Duration),
    #[error("the request's body is incomplete")]
    BodyIncomplete,
    #[error("the request line and headers are larger than {0} bytes")]
    HeadTooLarge(usize),
    #[error("the request has more than {0} headers")]
    TooManyHeaders(usize),
    #[error("the request line and headers were not complete within {0:?}")]
    HeadTooSlow(std::time::Duration),
    #[error("the request line or a header is not valid HTTP/1.1")]
    HeadUnreadable,
    /// Error: the request needs a feature of AWS's agents that Sidekey does not have yet.
    #[error("{0}")]
    NotServed(NotServed),
    /// Error: neither the cache nor AWS could provide the secret.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Error: the secret's value is malformed (it breaks the rules for its kind of secret), and
    /// Sidekey is configured to refuse such values.
    #[error("Sidekey refused this read: {0}")]
    Malformed(Arc<Malformed>),
    /// Error: the value of the secret has no field with the requested name.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// A feature of AWS's agents that Sidekey does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotServed {
    #[error("reading with an assumed role (roleArn) is not supported yet")]
    RoleArn,
    #[error("Parameter Store is not supported yet")]
    Parameters,
}

impl Problem {
    /// Returns the error type that the caller receives, such as `AccessDeniedException`.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Refused(
                Refusal::Token
                | Refusal::WrongSessionToken
                | Refusal::NoSessionToken
                | Refusal::NoSessionKnown,
            ) => "AccessDeniedException",
            Self::Refused(Refusal::TooManyConnections) => "TooManyConnectionsException",
            Self::Refused(_) => "ForbiddenException",
            Self::MethodNotGet | Self::MethodNotPost => "MethodNotAllowedException",
            Self::UnknownPath => "NotFoundException",
            Self::Query(_) | Self::Reference(_) => "ValidationException",
            Self::Call(bad) => bad.kind(),
            Self::Messages(BadBody::NotJson { .. }) => "SerializationException",
            Self::Messages(_) | Self::TooManySecrets(_) | Self::AnswerTooLarge(_) => {
                "ValidationException"
            }
            Self::IgnoredBodyTooLarge(_)
            | Self::BodyTooLarge(_)
            | Self::BodyTooSlow(_)
            | Self::BodyIncomplete
            | Self::HeadTooLarge(_)
            | Self::HeadTooSlow(_)
            | Self::TooManyHeaders(_)
            | Self::HeadUnreadable => "BadRequestException",
            Self::Overloaded => "OverloadedException",
            Self::NotServed(_) => "UnsupportedOperationException",
            Self::Read(ReadError::OutOfScope) => "AccessDeniedException",
            Self::Read(ReadError::WaitOver(_)) => "TimeoutError",
            Self::Read(ReadError::Upstream(error)) => &error.code,
            Self::Malformed(_) => "MalformedSecretException",
            Self::Field(_) => "FieldNotFoundException",
        }
    }

    /// Returns the text of the error that the caller receives. If AWS answered with an error, this
    /// is AWS's own text.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Read(ReadError::Upstream(error)) => error.message.to_string(),
            other => other.to_string(),
        }
    }

    /// Returns advice for the caller or the operator: what to do about the error.
    pub(crate) fn hint(&self) -> &str {
        match self {
            Self::Refused(Refusal::Token) => {
                "send the function's AWS_SESSION_TOKEN (or SIDEKEY_TOKEN) in the header \
                 X-Aws-Parameters-Secrets-Token"
            }
            Self::Refused(Refusal::WrongSessionToken) => {
                "sign with the credentials that Sidekey runs with, or set AWS_SESSION_TOKEN of this \
                 client to the agent's SIDEKEY_TOKEN"
            }
            Self::Refused(Refusal::NoSessionToken) => {
                "static keys have no session token: sign with the temporary credentials that \
                 Sidekey runs with, or set AWS_SESSION_TOKEN of this client to the agent's \
                 SIDEKEY_TOKEN"
            }
            Self::Refused(Refusal::NoSessionKnown) => {
                "static keys have no session token: set AWS_SESSION_TOKEN of this client to the \
                 agent's SIDEKEY_TOKEN, or to the token in the agent's token file"
            }
            Self::Refused(Refusal::TooManyConnections) => {
                "reuse connections, close unused connections, or raise SIDEKEY_MAX_CONNECTIONS"
            }
            Self::Refused(Refusal::ForwardedFor | Refusal::Forwarded) => {
                "send the request to Sidekey directly, not through a proxy"
            }
            Self::Refused(Refusal::Origin) => {
                "do not read secrets from a browser: Sidekey refuses requests with an Origin header"
            }
            Self::Refused(Refusal::Host) => "send the request to localhost, 127.0.0.1 or [::1]",
            Self::MethodNotGet => "use GET",
            Self::MethodNotPost => "use POST",
            Self::UnknownPath => "use /secretsmanager/get?secretId=NAME or /v1/NAME",
            Self::Query(_) => {
                "the supported parameters are secretId, versionId, versionStage, field, refreshNow and wait"
            }
            Self::Reference(_) => "use the secret's name or its ARN, percent-encoded",
            Self::Call(bad) => bad.hint(),
            Self::Messages(
                BadBody::NotJson { .. }
                | BadBody::NotAnObject
                | BadBody::NotificationNotAnObject
                | BadBody::ReferenceNotString(_)
                | BadBody::InvalidRecord(_),
            ) => {
                "send {\"references\": [\"NAME\"]}, a Context Object, or an event of SQS or SNS as the \
                 function received it"
            }
            Self::Messages(BadBody::MessageTooLarge | BadBody::LimitExceeded(_)) => {
                "send only the part of the message that has references"
            }
            Self::Messages(BadBody::TooManyRecords | BadBody::TooManyReferences)
            | Self::TooManySecrets(_)
            | Self::AnswerTooLarge(_) => "send the messages in several requests",
            Self::Overloaded => {
                "send the request again later, or send fewer messages in one request"
            }
            Self::IgnoredBodyTooLarge(_) => {
                "send the parameters in the query of the URI, without a body"
            }
            Self::BodyTooLarge(_) => {
                "ask for fewer secrets, or send fewer messages, in one request"
            }
            Self::BodyTooSlow(_) | Self::BodyIncomplete => "send the complete body without pauses",
            Self::HeadTooLarge(_) => "send a shorter URI, or fewer or shorter headers",
            Self::TooManyHeaders(_) => "send fewer headers",
            Self::HeadTooSlow(_) | Self::HeadUnreadable => {
                "send the complete request line and headers without pauses"
            }
            Self::NotServed(NotServed::RoleArn) => {
                "allow the function's own role to read the secret; a secret in another account \
                 also needs a resource policy"
            }
            Self::NotServed(NotServed::Parameters) => "read the parameter with an AWS SDK",
            Self::Read(ReadError::OutOfScope) => "add the secret to SIDEKEY_ALLOW",
            Self::Read(ReadError::WaitOver(_)) => {
                "check the network, or raise SIDEKEY_READER_WAIT; the call to AWS continues, so a \
                 later read may find the secret in the cache"
            }
            Self::Read(ReadError::Upstream(error)) => error.hint(),
            Self::Malformed(_) => {
                "store a complete value in the secret, and Sidekey fetches the value within seconds; \
                 to serve malformed values, set SIDEKEY_STRICT=false"
            }
            Self::Field(FieldError::Null(_)) => "store a value in this field of the secret",
            Self::Field(_) => "check the name of the field and the secret's value",
        }
    }

    /// Returns `true` if Sidekey refused the request. Returns `false` if the request was allowed,
    /// but reading the secret failed.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Read(ReadError::Upstream(_) | ReadError::WaitOver(_))
                | Self::Malformed(_)
                | Self::Field(_)
        )
    }
}

fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TooManyConnections => "Connection limit exceeded",
        Refusal::ForwardedFor | Refusal::Forwarded => "the request came through a proxy",
        Refusal::Origin => "the request came from a browser",
        Refusal::Host => "the request names a host that is not this machine",
        Refusal::Token => "the token is missing or wrong",
        Refusal::WrongSessionToken => "Sidekey does not accept the session token of this request",
        Refusal::NoSessionKnown => {
            "Sidekey knows no session token, because it has static keys or no credentials"
        }
        Refusal::NoSessionToken => "this request has no session token (X-Amz-Security-Token)",
    }
}
