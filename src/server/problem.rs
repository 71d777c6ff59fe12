//! Every way in which a request fails, in words that no dialect owns.
//!
//! Pure: a dialect gives it status and form.

use super::dialect::aws_api::operation::BadCall;
use super::gate::Refusal;
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
    /// The gate refused.
    #[error("{}", refusal(*.0))]
    Refused(Refusal),
    /// The method is not served here.
    #[error("only GET is served here")]
    Method,
    /// The method is not served at a path that is posted to.
    #[error("only POST is served here")]
    MethodPost,
    /// There is nothing at this path.
    #[error("there is nothing at this path")]
    Path,
    /// The query makes no sense.
    #[error(transparent)]
    Query(#[from] BadQuery),
    /// The secret's name or ARN makes no sense.
    #[error("secretId: {0}")]
    Reference(#[from] BadReference),
    /// A read came with a body.
    #[error("a GET with a body is not served")]
    Body,
    /// A call of the AWS API makes no sense, or is none that is served.
    #[error(transparent)]
    Call(#[from] BadCall),
    /// What is to be resolved is no list of references, no message and no event, or too much.
    #[error(transparent)]
    Messages(#[from] BadBody),
    /// There are too many secrets to resolve.
    #[error("there are references to more than {0} secrets")]
    TooManySecrets(usize),
    /// What is resolved takes too much room.
    #[error("the answer would be larger than {0} bytes")]
    AnswerTooLarge(usize),
    /// Other requests with messages in them take all the memory that there is for such.
    #[error("too many large requests are being answered")]
    TooManyBodies,
    /// The body is larger than may be sent there.
    #[error("the request's body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The body was not complete in time.
    #[error("the request's body was not complete within {0:?}")]
    BodyTooSlow(std::time::Duration),
    /// The body ended before its end.
    #[error("the request's body was cut")]
    BodyCut,
    /// The head is larger than [`HEAD_BYTES_MAX`](super::connection::HEAD_BYTES_MAX).
    #[error("the request's head is larger than {0} bytes")]
    HeadTooLarge(usize),
    /// The head was not complete in time.
    #[error("the request's head was not complete within {0:?}")]
    HeadTooSlow(std::time::Duration),
    /// The head is not HTTP.
    #[error("the request's head is not HTTP/1.1")]
    HeadUnreadable,
    /// The request line is too long.
    #[error("the request's target is too long")]
    TargetTooLong,
    /// Something that this release does not do.
    #[error("{0}")]
    NotServed(NotServed),
    /// The secret could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The value is not as its convention says, and so withheld.
    #[error("Sidekey refused this read: {0}")]
    Malformed(Arc<Malformed>),
    /// The secret has no such field.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// What this release does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// Reading with an assumed role.
    #[error("reading with an assumed role (roleArn) is not supported yet")]
    RoleArn,
    /// Parameter Store.
    #[error("Parameter Store is not supported yet")]
    Parameters,
}

impl Problem {
    /// Returns the error's type, in the style of AWS's names.
    pub fn kind(&self) -> &str {
        match self {
            Self::Refused(Refusal::Token | Refusal::Session | Refusal::NoSession) => {
                "AccessDeniedException"
            }
            Self::Refused(Refusal::Connections) => "TooManyConnectionsException",
            Self::Refused(_) => "ForbiddenException",
            Self::Method | Self::MethodPost => "MethodNotAllowedException",
            Self::Path => "NotFoundException",
            Self::Query(_) | Self::Reference(_) => "ValidationException",
            Self::Call(bad) => bad.kind(),
            Self::Messages(BadBody::NotJson { .. }) => "SerializationException",
            Self::Messages(_) | Self::TooManySecrets(_) | Self::AnswerTooLarge(_) => {
                "ValidationException"
            }
            Self::Body
            | Self::BodyTooLarge(_)
            | Self::BodyTooSlow(_)
            | Self::BodyCut
            | Self::HeadTooLarge(_)
            | Self::HeadTooSlow(_)
            | Self::HeadUnreadable
            | Self::TargetTooLong => "BadRequestException",
            Self::TooManyBodies => "OverloadedException",
            Self::NotServed(_) => "UnsupportedOperationException",
            Self::Read(ReadError::OutOfScope) => "AccessDeniedException",
            Self::Read(ReadError::WaitOver(_)) => "TimeoutError",
            Self::Read(ReadError::Upstream(error)) => &error.code,
            Self::Malformed(_) => "MalformedSecretException",
            Self::Field(_) => "FieldNotFoundException",
        }
    }

    /// Returns the error's message.
    pub fn message(&self) -> String {
        match self {
            Self::Read(ReadError::Upstream(error)) => error.message.to_string(),
            other => other.to_string(),
        }
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Token) => {
                "send the function's AWS_SESSION_TOKEN (or SIDEKEY_TOKEN) in the header \
                 X-Aws-Parameters-Secrets-Token"
            }
            Self::Refused(Refusal::Session) => {
                "sign with the credentials that Sidekey runs with, or set AWS_SESSION_TOKEN to \
                 Sidekey's own token for this client"
            }
            Self::Refused(Refusal::NoSession) => {
                "static keys have none: sign with the temporary credentials that Sidekey runs with, \
                 or set AWS_SESSION_TOKEN to Sidekey's own token for this client"
            }
            Self::Refused(Refusal::Connections) => {
                "reuse connections, close those that are not needed, or raise \
                 SIDEKEY_MAX_CONNECTIONS"
            }
            Self::Refused(Refusal::ForwardedFor | Refusal::Forwarded) => {
                "ask Sidekey directly, not through a proxy"
            }
            Self::Refused(Refusal::Origin) => "Sidekey does not serve browsers",
            Self::Refused(Refusal::Host) => "ask localhost, 127.0.0.1 or [::1]",
            Self::Method => "use GET",
            Self::MethodPost => "use POST",
            Self::Path => "use /secretsmanager/get?secretId=NAME or /v1/NAME",
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
                 got it"
            }
            Self::Messages(BadBody::MessageTooLarge | BadBody::LimitExceeded(_)) => {
                "send the part of it that has references"
            }
            Self::Messages(BadBody::TooManyRecords | BadBody::TooManyReferences)
            | Self::TooManySecrets(_)
            | Self::AnswerTooLarge(_) => "send the messages in several requests",
            Self::TooManyBodies => "send it again, or send fewer messages at once",
            Self::Body => "send the parameters in the query",
            Self::BodyTooLarge(_) => "ask for fewer secrets, or send fewer messages, at once",
            Self::BodyTooSlow(_) | Self::BodyCut => "send the whole body at once",
            Self::HeadTooLarge(_) | Self::TargetTooLong => "send fewer or shorter headers",
            Self::HeadTooSlow(_) | Self::HeadUnreadable => "send the whole head at once",
            Self::NotServed(NotServed::RoleArn) => {
                "let the function's role read the secret, by a resource policy where it is another \
                 account's"
            }
            Self::NotServed(NotServed::Parameters) => "read the parameter with an AWS SDK",
            Self::Read(ReadError::OutOfScope) => "add the secret to SIDEKEY_ALLOW",
            Self::Read(ReadError::WaitOver(_)) => {
                "check the network, or raise SIDEKEY_READER_WAIT; the call goes on, so a later read \
                 may find its answer"
            }
            Self::Read(ReadError::Upstream(error)) => error.kind.hint(),
            Self::Malformed(_) => {
                "put a whole value into the secret: Sidekey asks for it again within seconds; with \
                 SIDEKEY_STRICT=false it hands out what there is"
            }
            Self::Field(_) => "check the field's name and the secret's value",
        }
    }

    /// Returns whether the request itself was refused, as opposed to failing.
    pub fn is_refusal(&self) -> bool {
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
        Refusal::Connections => "Connection limit exceeded",
        Refusal::ForwardedFor | Refusal::Forwarded => "the request came through a proxy",
        Refusal::Origin => "the request came from a browser",
        Refusal::Host => "the request is meant for another host",
        Refusal::Token => "the token is missing or wrong",
        Refusal::Session => "the session token of this request is none that Sidekey accepts",
        Refusal::NoSession => "this request has no session token (X-Amz-Security-Token)",
    }
}
