//! All errors with which the server answers a request. Each error has a type, a message and a hint
//! what to do.
//!
//! The module `dialect` chooses the HTTP status and the format of the answer.

use super::gate::Refusal;
use super::operation::BadCall;
use super::request::BadQuery;
use crate::cache::ReadError;
use crate::cache::malformed::Malformed;
use crate::message::body::BadBody;
use crate::secret::field::FieldError;
use crate::secret::reference::{BadReference, PARAMETER_PREFIX, is_parameter};
use crate::secret::role_rules::ForbiddenRole;
use crate::source::{FetchError, FetchErrorKind};
use std::sync::Arc;

/// Why a request fails. The caller receives the text of this error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// Error: Sidekey refuses the request because of its headers, its token, or the number of open
    /// connections.
    #[error("{}", refusal(*.0))]
    Refused(Refusal),
    #[error("Sidekey accepts only GET requests at the path of this request")]
    MethodNotGet,
    #[error("Sidekey accepts only POST requests at the path of this request")]
    MethodNotPost,
    #[error("Sidekey serves nothing at the path of this request")]
    UnknownPath,
    #[error(transparent)]
    Query(#[from] BadQuery),
    /// Error: a text in the request is not a valid name or ARN of a secret or parameter.
    #[error("{member}: {bad}")]
    Reference {
        /// The part of the request that contains the invalid name or ARN, such as `secretId`.
        member: &'static str,
        bad: BadReference,
    },
    /// Error: the body of a GET request is larger than this number of bytes. Smaller bodies of GET
    /// requests are ignored.
    #[error("the body of this GET request is larger than {0} bytes")]
    IgnoredBodyTooLarge(u64),
    #[error(transparent)]
    Call(#[from] BadCall),
    #[error(transparent)]
    Messages(#[from] BadBody),
    #[error("the request refers to more than {0} secrets")]
    TooManySecrets(usize),
    #[error("the secrets in the answer would take more than {0} bytes")]
    AnswerTooLarge(usize),
    #[error("other /resolve requests already use all the memory that Sidekey allows for /resolve")]
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
    /// Error: `SIDEKEY_ROLES` does not allow the role that the request names.
    #[error("Sidekey refused this read: {0}")]
    Role(#[from] ForbiddenRole),
    /// Error: neither the cache nor AWS could provide the secret.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Error: the secret's value breaks the rules that the configuration sets for secrets with such
    /// names, and Sidekey is configured to refuse such values.
    #[error("Sidekey refused this read: {0}")]
    Malformed(Arc<Malformed>),
    /// Error: the secret can only be used in calls to other servers. The string is the path of the
    /// agent for such calls, such as `/to/openai`.
    #[error("Sidekey refused this read: SIDEKEY_USE_ONLY allows the secret only in calls to {0}")]
    UseOnly(Arc<str>),
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Problem {
    /// Creates the error for `reference`, a text that is not a valid name or ARN of a secret, or of
    /// a parameter after `ssm:`. The positions in the error message are positions in this text.
    pub(crate) fn reference(reference: &str, bad: BadReference) -> Self {
        let member = match is_parameter(reference) {
            true if reference.starts_with(PARAMETER_PREFIX) => "ssm:NAME",
            true => "name",
            false => "secretId",
        };
        Self::Reference { member, bad }
    }

    /// Converts the error of reading a secret into the error that Parameter Store sends, because
    /// the caller asked for the secret with a name such as `/aws/reference/secretsmanager/app/db`.
    pub(crate) fn of_secret_parameter(self) -> Self {
        let Self::Read(ReadError::Upstream(error)) = self else { return self };
        let code = match error.kind {
            FetchErrorKind::NotFound => "ParameterNotFound",
            FetchErrorKind::Decryption => "InvalidKeyId",
            FetchErrorKind::Unavailable => "ValidationException",
            _ => return Self::Read(error.into()),
        };
        let FetchError { message, .. } = &error;
        let message =
            format!("An error occurred ({code}) when referencing Secrets Manager: {message}");
        let error = FetchError { code: code.into(), message: message.into(), ..error };
        Self::Read(error.into())
    }

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
            Self::Query(_) | Self::Reference { .. } => "ValidationException",
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
            Self::Role(_) | Self::Read(ReadError::OutOfScope) => "AccessDeniedException",
            Self::Read(ReadError::WaitOver(_)) => "TimeoutError",
            Self::Read(ReadError::Upstream(error)) => &error.code,
            Self::Malformed(_) => "MalformedSecretException",
            Self::UseOnly(_) => "UseOnlySecretException",
            Self::Field(_) => "FieldNotFoundException",
        }
    }

    /// Returns the text of the error that the caller receives. If AWS sent the error, this is AWS's
    /// own text.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Read(ReadError::Upstream(error)) => error.message.to_string(),
            other => other.to_string(),
        }
    }

    pub(crate) fn hint(&self) -> &str {
        match self {
            Self::Refused(Refusal::Token) => {
                "send the function's AWS_SESSION_TOKEN (or SIDEKEY_TOKEN) in the header \
                 X-Aws-Parameters-Secrets-Token"
            }
            Self::Refused(Refusal::WrongSessionToken) => {
                "sign the call with the AWS credentials of the Sidekey agent, or set \
                 AWS_SESSION_TOKEN of this client to the agent's SIDEKEY_TOKEN"
            }
            Self::Refused(Refusal::NoSessionToken) => {
                "static access keys have no session token: sign the call with the temporary AWS \
                 credentials of the Sidekey agent, or set AWS_SESSION_TOKEN of this client to the \
                 agent's SIDEKEY_TOKEN"
            }
            Self::Refused(Refusal::NoSessionKnown) => {
                "static access keys have no session token: set AWS_SESSION_TOKEN of this client to \
                 the agent's SIDEKEY_TOKEN, or to the token in the agent's token file"
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
            Self::UnknownPath => {
                "use /secretsmanager/get?secretId=NAME or /v1/NAME for a secret, and \
                 /systemsmanager/parameters/get?name=NAME for a parameter"
            }
            Self::Query(_) => {
                "the supported query parameters are secretId, versionId and versionStage for a \
                 secret; name, version, label and withDecryption for a parameter of Parameter \
                 Store; and field, refreshNow, wait and roleArn for both"
            }
            Self::Reference { .. } => {
                "use the name or ARN of the secret or parameter, percent-encoded"
            }
            Self::Call(bad) => bad.hint(),
            Self::Messages(
                BadBody::NotJson { .. }
                | BadBody::NotAnObject
                | BadBody::NotificationNotAnObject
                | BadBody::ReferenceNotString(_)
                | BadBody::InvalidRecord(_),
            ) => {
                "send {\"references\": [\"NAME\"]}, a message that is a JSON object, or a complete \
                 event of SQS or SNS as the Lambda function received it"
            }
            Self::Messages(BadBody::MessageTooLarge | BadBody::LimitExceeded(_)) => {
                "send only the part of the message that contains names or ARNs of secrets"
            }
            Self::Messages(BadBody::TooManyRecords | BadBody::TooManyReferences)
            | Self::TooManySecrets(_)
            | Self::AnswerTooLarge(_) => {
                "split the messages (or the list of secrets) into several requests"
            }
            Self::Overloaded => {
                "send the request again later, or send fewer messages in one request"
            }
            Self::IgnoredBodyTooLarge(_) => "send the query parameters in the URI, without a body",
            Self::BodyTooLarge(_) => {
                "ask for fewer secrets, or send fewer messages, in one request"
            }
            Self::BodyTooSlow(_) | Self::BodyIncomplete => "send the complete body without pauses",
            Self::HeadTooLarge(_) => "send a shorter URI, or fewer or shorter headers",
            Self::TooManyHeaders(_) => "send fewer headers",
            Self::HeadTooSlow(_) | Self::HeadUnreadable => {
                "send the complete request line and headers without pauses"
            }
            Self::Role(_) => "add a pattern for this role to SIDEKEY_ROLES",
            Self::Read(ReadError::OutOfScope) => "add the secret to SIDEKEY_ALLOW",
            Self::Read(ReadError::WaitOver(_)) => {
                "check the network to AWS, or raise SIDEKEY_READER_WAIT; the call to AWS continues, \
                 so a later read may find the secret in the cache"
            }
            Self::Read(ReadError::Upstream(error)) => error.hint(),
            Self::Malformed(_) => {
                "store a complete value in the secret, which Sidekey then fetches within seconds; to \
                 serve values that break the rules too, set SIDEKEY_STRICT=false"
            }
            Self::UseOnly(_) => {
                "send the call to this path of the agent, which adds the credential: \
                 docs/calls.md describes how"
            }
            Self::Field(FieldError::Null(_)) => "store a value in this field of the secret",
            Self::Field(_) => "check the name of the field and the secret's value",
        }
    }

    /// Returns `true` if Sidekey refused the request, and `false` if the request was allowed but
    /// the secret could not be read.
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
        Refusal::Token => "the request's token is missing or wrong",
        Refusal::WrongSessionToken => "Sidekey does not accept the session token of this request",
        Refusal::NoSessionKnown => {
            "Sidekey knows no session token, because it has static keys or no credentials"
        }
        Refusal::NoSessionToken => "this request has no session token (X-Amz-Security-Token)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::request::Target;
    use hyper::{HeaderMap, Method};

    #[test]
    fn errors_of_a_secret_become_those_of_parameter_store() {
        for (kind, code, expected) in [
            (FetchErrorKind::NotFound, "ResourceNotFoundException", "ParameterNotFound"),
            (FetchErrorKind::Decryption, "DecryptionFailure", "InvalidKeyId"),
            (FetchErrorKind::Unavailable, "InvalidRequestException", "ValidationException"),
            (FetchErrorKind::Denied, "AccessDeniedException", "AccessDeniedException"),
            (FetchErrorKind::Throttled, "ThrottlingException", "ThrottlingException"),
            (FetchErrorKind::Timeout, "TimeoutError", "TimeoutError"),
        ] {
            let problem = Problem::Read(FetchError::new(kind, code, "the cause").into());
            let converted = problem.clone().of_secret_parameter();
            assert_eq!(converted.kind(), expected);
            assert_eq!(converted == problem, code == expected, "{code}");
            assert!(converted.message().ends_with("the cause"), "{}", converted.message());
        }
        let refused = Problem::Read(ReadError::OutOfScope);
        assert_eq!(refused.clone().of_secret_parameter(), refused);
    }

    #[test]
    fn hint_for_an_unknown_path_names_each_path_that_reads_one_secret() {
        let hint = Problem::UnknownPath.hint();
        let paths = hint.split(' ').filter(|word| word.starts_with('/'));
        let targets: Vec<Target<'_>> = paths
            .map(|path| path.split('?').next().unwrap_or_default())
            .map(|path| Target::of(&Method::GET, path, &HeaderMap::new()))
            .collect();
        assert_eq!(targets, [Target::Get, Target::V1("NAME"), Target::Parameters]);
    }

    #[test]
    fn error_for_a_bad_reference_names_the_part_of_the_request() {
        for (reference, member) in [
            ("app/db", "secretId"),
            ("arn:aws:s3:::x", "secretId"),
            ("ssm:/app/url", "ssm:NAME"),
            ("arn:aws:ssm:eu-north-1:123456789012:parameter/x", "name"),
        ] {
            let problem = Problem::reference(reference, BadReference::Empty);
            let text = problem.to_string();
            assert!(text.starts_with(&format!("{member}: expected")), "{text}");
        }
    }
}
