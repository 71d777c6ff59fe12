//! Builds error responses for AWS SDKs. The body is always JSON, because SDKs cannot parse plain
//! text.
//!
//! If a retry may help, the status is 500, because SDKs retry after this status. Otherwise the
//! status is 400.

use crate::cache::ReadError;
use crate::secret::service::Service;
use crate::server::dialect::error_body::{ErrorBody, error_response};
use crate::server::gate::Refusal;
use crate::server::problem::Problem;
use crate::server::response::{AWS_JSON, Response};
use crate::source::{FetchError, FetchErrorKind, internal_error_code};
use hyper::StatusCode;

/// Builds the error response to a call of the AWS service `service`.
pub(in crate::server) fn problem(problem: &Problem, service: Service) -> Response {
    let (status, kind) = status_and_kind(problem, service);
    let body = ErrorBody { kind, message: &message(problem), hint: problem.hint() };
    error_response(status, AWS_JSON, &body)
}

/// Returns the HTTP status and the error type that an AWS SDK receives for this error of a call of
/// `service`.
pub(super) fn status_and_kind(problem: &Problem, service: Service) -> (StatusCode, &str) {
    const CALLER: StatusCode = StatusCode::BAD_REQUEST;
    const SERVER: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
    match problem {
        Problem::Refused(
            Refusal::WrongSessionToken | Refusal::NoSessionToken | Refusal::NoSessionKnown,
        ) => (CALLER, "UnrecognizedClientException"),
        Problem::Refused(Refusal::TooManyConnections) | Problem::Read(ReadError::WaitOver(_)) => {
            (SERVER, internal_error_code(service))
        }
        Problem::Read(ReadError::Upstream(error)) => match error.kind {
            FetchErrorKind::Service => (SERVER, &error.code),
            _ if is_answer_of_aws(error) || !error.kind.is_transient() => (CALLER, &error.code),
            _ => (SERVER, internal_error_code(service)),
        },
        other => (CALLER, other.kind()),
    }
}

/// Returns the text of an error for an AWS SDK. If AWS sent the error, this is AWS's own text.
///
/// Any other text ends with a hint what to do, because SDKs display only the text.
pub(super) fn message(problem: &Problem) -> String {
    match problem {
        Problem::Read(ReadError::Upstream(error)) if is_answer_of_aws(error) => {
            error.message.to_string()
        }
        other => format!("{}; {}", other.message(), other.hint()),
    }
}

/// Returns whether AWS itself sent this error, so that the error's type and text are AWS's own.
fn is_answer_of_aws(error: &FetchError) -> bool {
    match error.kind {
        FetchErrorKind::NotFound
        | FetchErrorKind::Denied
        | FetchErrorKind::Unavailable
        | FetchErrorKind::Decryption
        | FetchErrorKind::Invalid
        | FetchErrorKind::Throttled
        | FetchErrorKind::Service => true,
        // The code `InternalFailure` means that Sidekey found no credentials, so AWS received no
        // call.
        FetchErrorKind::Credentials => &*error.code != "InternalFailure",
        FetchErrorKind::RoleDenied
        | FetchErrorKind::OutOfScope
        | FetchErrorKind::OtherRegion
        | FetchErrorKind::Overloaded
        | FetchErrorKind::Timeout
        | FetchErrorKind::Connection
        | FetchErrorKind::Unreadable
        | FetchErrorKind::Mismatched
        | FetchErrorKind::Lagging
        | FetchErrorKind::Misconfigured
        | FetchErrorKind::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::reference::BadReference;
    use crate::server::operation::BadCall;
    use crate::server::parameter_name::BadParameterName;
    use http_body_util::BodyExt;
    use hyper::header::CONTENT_TYPE;
    use serde_json::Value;
    use std::time::Duration;

    const INTERNAL: &str = "InternalServiceError";

    async fn sent(failed: &Problem) -> (u16, Value) {
        sent_by(Service::SecretsManager, failed).await
    }

    async fn sent_by(service: Service, failed: &Problem) -> (u16, Value) {
        let response = problem(failed, service);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/x-amz-json-1.1");
        assert!(
            !response.headers().contains_key("x-amzn-errortype"),
            "no header must contain the error type, because SDKs would then ignore the type in the body"
        );
        let status = response.status().as_u16();
        let body =
            response.into_body().collect().await.expect("the body must be in memory").to_bytes();
        (status, serde_json::from_slice(&body).expect("the body must be JSON"))
    }

    #[tokio::test]
    async fn errors_are_typed_for_sdks_and_retried_only_if_that_may_help() {
        let upstream = |kind, code| Problem::Read(FetchError::new(kind, code, "m").into());
        for (failed, status, kind) in [
            (Problem::Refused(Refusal::WrongSessionToken), 400, "UnrecognizedClientException"),
            (Problem::Refused(Refusal::NoSessionToken), 400, "UnrecognizedClientException"),
            (Problem::Refused(Refusal::NoSessionKnown), 400, "UnrecognizedClientException"),
            (Problem::Refused(Refusal::Host), 400, "ForbiddenException"),
            (Problem::Refused(Refusal::TooManyConnections), 500, INTERNAL),
            (
                Problem::Call(BadCall::Unsupported(Service::SecretsManager)),
                400,
                "UnsupportedOperationException",
            ),
            (Problem::Call(BadCall::Missing("secretId")), 400, "ValidationException"),
            (
                Problem::Call(BadCall::Unsupported(Service::ParameterStore)),
                400,
                "UnsupportedOperationException",
            ),
            (Problem::Call(BadCall::NextToken), 400, "InvalidNextToken"),
            (Problem::Call(BadCall::Name(BadParameterName::OtherArn)), 400, "ValidationException"),
            (
                Problem::reference("ssm:a:1:2", BadReference::TooManyParameterParts { at: 8 }),
                400,
                "ValidationException",
            ),
            (upstream(FetchErrorKind::NotFound, "ParameterNotFound"), 400, "ParameterNotFound"),
            (upstream(FetchErrorKind::Decryption, "InvalidKeyId"), 400, "InvalidKeyId"),
            (Problem::BodyTooLarge(1), 400, "BadRequestException"),
            (Problem::Read(ReadError::OutOfScope), 400, "AccessDeniedException"),
            (Problem::Read(ReadError::WaitOver(Duration::ZERO)), 500, INTERNAL),
            (
                upstream(FetchErrorKind::NotFound, "ResourceNotFoundException"),
                400,
                "ResourceNotFoundException",
            ),
            (upstream(FetchErrorKind::Decryption, "DecryptionFailure"), 400, "DecryptionFailure"),
            (
                upstream(FetchErrorKind::Throttled, "ThrottlingException"),
                400,
                "ThrottlingException",
            ),
            (
                upstream(FetchErrorKind::Credentials, "ExpiredTokenException"),
                400,
                "ExpiredTokenException",
            ),
            (upstream(FetchErrorKind::Credentials, "InternalFailure"), 500, INTERNAL),
            (
                upstream(FetchErrorKind::OtherRegion, "InvalidParameterException"),
                400,
                "InvalidParameterException",
            ),
            (
                upstream(FetchErrorKind::OutOfScope, "AccessDeniedException"),
                400,
                "AccessDeniedException",
            ),
            (
                upstream(FetchErrorKind::Misconfigured, "InvalidConfigurationException"),
                400,
                "InvalidConfigurationException",
            ),
            (upstream(FetchErrorKind::Service, "ServiceUnavailable"), 500, "ServiceUnavailable"),
            (upstream(FetchErrorKind::Timeout, "TimeoutError"), 500, INTERNAL),
            (upstream(FetchErrorKind::Connection, "ConnectionError"), 500, INTERNAL),
            (upstream(FetchErrorKind::Unreadable, "ConnectionError"), 500, INTERNAL),
            (upstream(FetchErrorKind::Mismatched, "MismatchedAnswer"), 500, INTERNAL),
            (upstream(FetchErrorKind::Lagging, "StaleAnswer"), 500, INTERNAL),
            (upstream(FetchErrorKind::Overloaded, "OverloadedException"), 500, INTERNAL),
            (upstream(FetchErrorKind::Internal, "InternalFailure"), 500, INTERNAL),
        ] {
            let (own, body) = sent(&failed).await;
            assert_eq!((own, &body["__type"]), (status, &Value::from(kind)), "{failed:?}");
        }
    }

    #[tokio::test]
    async fn failures_have_the_error_type_of_the_called_service() {
        let upstream = |kind, code| Problem::Read(FetchError::new(kind, code, "m").into());
        for failed in [
            Problem::Refused(Refusal::TooManyConnections),
            Problem::Read(ReadError::WaitOver(Duration::ZERO)),
            upstream(FetchErrorKind::Timeout, "TimeoutError"),
            upstream(FetchErrorKind::Connection, "ConnectionError"),
        ] {
            for (service, kind) in [
                (Service::SecretsManager, "InternalServiceError"),
                (Service::ParameterStore, "InternalServerError"),
            ] {
                let (status, body) = sent_by(service, &failed).await;
                assert_eq!((status, &body["__type"]), (500, &Value::from(kind)), "{failed:?}");
            }
        }
    }

    #[tokio::test]
    async fn messages_of_aws_are_kept_and_others_end_with_the_hint() {
        let message = async |failed: &Problem| {
            let (_, body) = sent(failed).await;
            assert!(body["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
            body["message"].as_str().expect("the message must be a string").to_owned()
        };
        let missing = FetchError::new(
            FetchErrorKind::NotFound,
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret.",
        );
        assert_eq!(
            message(&Problem::Read(missing.into())).await,
            "Secrets Manager can't find the specified secret."
        );
        let keys = message(&Problem::Refused(Refusal::NoSessionToken)).await;
        assert!(keys.contains("no session token") && keys.contains("AWS_SESSION_TOKEN"), "{keys}");
        let allow = message(&Problem::Read(ReadError::OutOfScope)).await;
        assert!(allow.contains("SIDEKEY_ALLOW does not cover the secret; add"), "{allow}");
    }
}
