//! All reasons for which a request fails, with an error type, a message and a hint for each.
//!
//! Pure, and independent of the dialects: a dialect chooses the status and the format of the answer.

use super::gate::Refusal;
use super::operation::BadCall;
use super::request::BadQuery;
use crate::cache::ReadError;
use crate::cache::malformed::Malformed;
use crate::message::body::BadBody;
use crate::secret::field::FieldError;
use crate::secret::reference::BadReference;
use std::sync::Arc;

/// Why a request fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The gate refused the request.
    #[error("{}", refusal(*.0))]
    Refused(Refusal),
    /// The endpoint serves only `GET`, and the request has another method.
    #[error("this path serves only GET requests")]
    MethodNotGet,
    /// The endpoint serves only `POST`, and the request has another method.
    #[error("this path serves only POST requests")]
    MethodNotPost,
    /// Sidekey serves nothing at the path of the request.
    #[error("Sidekey serves nothing at this path")]
    UnknownPath,
    /// The query is not valid.
    #[error(transparent)]
    Query(#[from] BadQuery),
    /// The reference to the secret is not valid.
    #[error("secretId: {0}")]
    Reference(#[from] BadReference),
    /// A `GET` request has a body.
    #[error("a GET request must not have a body")]
    UnexpectedBody,
    /// A call of the AWS API is not valid, or Sidekey does not serve its operation.
    #[error(transparent)]
    Call(#[from] BadCall),
    /// The body of a `/resolve` request is not valid, or exceeds a limit.
    #[error(transparent)]
    Messages(#[from] BadBody),
    /// A list of references names more distinct secrets than this number.
    #[error("the request refers to more than {0} secrets")]
    TooManySecrets(usize),
    /// The answer to a list of references would be larger than this number of bytes.
    #[error("the answer would be larger than {0} bytes")]
    AnswerTooLarge(usize),
    /// Other `/resolve` requests used the memory for such requests for so long that this request timed
    /// out.
    #[error("too many large requests are being answered")]
    Overloaded,
    /// The body is larger than this number of bytes.
    #[error("the request's body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The body was not complete within this time.
    #[error("the request's body was not complete within {0:?}")]
    BodyTooSlow(std::time::Duration),
    /// The connection closed before the body was complete.
    #[error("the request's body is incomplete")]
    BodyIncomplete,
    /// The request line and headers are larger than this number of bytes.
    #[error("the request's head is larger than {0} bytes")]
    HeadTooLarge(usize),
    /// The request line and headers were not complete within this time.
    #[error("the request's head was not complete within {0:?}")]
    HeadTooSlow(std::time::Duration),
    /// The request line or the headers are not HTTP/1.1.
    #[error("the request's head is not HTTP/1.1")]
    HeadUnreadable,
    /// The URI in the request line is too long.
    #[error("the request's target is too long")]
    TargetTooLong,
    /// The request needs a feature that this release does not have.
    #[error("{0}")]
    NotServed(NotServed),
    /// The cache could not provide the secret.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The value is malformed, and the configuration says to withhold malformed values.
    #[error("Sidekey refused this read: {0}")]
    Malformed(Arc<Malformed>),
    /// The secret has no field of the requested name.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// A feature of AWS's agents that this release does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// Reading a secret with an assumed role, which AWS's agent does for `roleArn`.
    #[error("reading with an assumed role (roleArn) is not supported yet")]
    RoleArn,
    /// Reading parameters of Parameter Store, which AWS's extension does.
    #[error("Parameter Store is not supported yet")]
    Parameters,
}

impl Problem {
    /// Returns the error type that the caller receives, such as `AccessDeniedException`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Refused(
                Refusal::Token | Refusal::WrongSessionToken | Refusal::NoSessionToken,
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
            Self::UnexpectedBody
            | Self::BodyTooLarge(_)
            | Self::BodyTooSlow(_)
            | Self::BodyIncomplete
            | Self::HeadTooLarge(_)
            | Self::HeadTooSlow(_)
            | Self::HeadUnreadable
            | Self::TargetTooLong => "BadRequestException",
            Self::Overloaded => "OverloadedException",
            Self::NotServed(_) => "UnsupportedOperationException",
            Self::Read(ReadError::OutOfScope) => "AccessDeniedException",
            Self::Read(ReadError::WaitOver(_)) => "TimeoutError",
            Self::Read(ReadError::Upstream(error)) => &error.code,
            Self::Malformed(_) => "MalformedSecretException",
            Self::Field(_) => "FieldNotFoundException",
        }
    }

    /// Returns the message that the caller receives. For a failure at AWS this is AWS's own message.
    pub fn message(&self) -> String {
        match self {
            Self::Read(ReadError::Upstream(error)) => error.message.to_string(),
            other => other.to_string(),
        }
    }

    /// Returns what the caller or the operator should do about the problem.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Token) => {
                "send the function's AWS_SESSION_TOKEN (or SIDEKEY_TOKEN) in the header \
                 X-Aws-Parameters-Secrets-Token"
            }
            Self::Refused(Refusal::WrongSessionToken) => {
                "sign with the credentials that Sidekey runs with, or set AWS_SESSION_TOKEN to \
                 Sidekey's own token for this client"
            }
            Self::Refused(Refusal::NoSessionToken) => {
                "static keys have no session token: sign with the temporary credentials that \
                 Sidekey runs with, or set AWS_SESSION_TOKEN to Sidekey's own token for this client"
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
                "the parameters are secretId, versionId, versionStage, field, refreshNow and wait"
            }
            Self::Reference(_) => "use the secret's name or its ARN, percent-encoded",
            Self::Call(bad) => bad.hint(),
            Self::Messages(
                BadBody::NotJson { .. }
                | BadBody::NotAnObject
                | BadBody::ReferenceNotString(_)
                | BadBody::InvalidRecord(_),
            ) => {
                "send {\"references\": [\"NAME\"]}, a Context Object, or an SQS event as the function \
                 received it"
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
            Self::UnexpectedBody => "send the parameters in the query",
            Self::BodyTooLarge(_) => {
                "ask for fewer secrets, or send fewer messages, in one request"
            }
            Self::BodyTooSlow(_) | Self::BodyIncomplete => "send the complete body without pauses",
            Self::HeadTooLarge(_) | Self::TargetTooLong => "send fewer or shorter headers",
            Self::HeadTooSlow(_) | Self::HeadUnreadable => {
                "send the complete request line and headers without pauses"
            }
            Self::NotServed(NotServed::RoleArn) => {
                "allow the function's own role to read the secret; in another account this takes a \
                 resource policy on the secret"
            }
            Self::NotServed(NotServed::Parameters) => "read the parameter with an AWS SDK",
            Self::Read(ReadError::OutOfScope) => "add the secret to SIDEKEY_ALLOW",
            Self::Read(ReadError::WaitOver(_)) => {
                "check the network, or raise SIDEKEY_READER_WAIT; the call to AWS continues, so a \
                 later read may find its answer in the cache"
            }
            Self::Read(ReadError::Upstream(error)) => error.kind.hint(),
            Self::Malformed(_) => {
                "put a complete value into the secret: Sidekey fetches it again within seconds; with \
                 SIDEKEY_STRICT=false Sidekey serves malformed values"
            }
            Self::Field(_) => "check the name of the field and the secret's value",
        }
    }

    /// Returns whether Sidekey refused the request. Otherwise the request was allowed, and reading the
    /// secret failed.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Read(ReadError::Upstream(_) | ReadError::WaitOver(_))
                | Self::Malformed(_)
                | Self::Field(_)
        )
    }
}

/// Returns the message of a refusal of the gate.
fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TooManyConnections => "Connection limit exceeded",
        Refusal::ForwardedFor | Refusal::Forwarded => "the request came through a proxy",
        Refusal::Origin => "the request came from a browser",
        Refusal::Host => "the request is meant for another host",
        Refusal::Token => "the token is missing or wrong",
        Refusal::WrongSessionToken => {
            "the session token of this request is not a token that Sidekey accepts"
        }
        Refusal::NoSessionToken => "this request has no session token (X-Amz-Security-Token)",
    }
}
