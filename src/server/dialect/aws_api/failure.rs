//! How the AWS API says that a call failed, so that an SDK raises its own typed error.
//!
//! Always JSON, since plain text makes SDKs fail in other ways; 500 where trying again may help, which
//! is what they do then, and 400 where it cannot.

use super::JSON;
use crate::cache::ReadError;
use crate::server::Response;
use crate::server::dialect::json_error_of;
use crate::server::gate::Refusal;
use crate::server::problem::Problem;
use crate::source::{FetchError, FetchErrorKind};
use hyper::StatusCode;

/// What AWS calls its own failures.
const INTERNAL: &str = "InternalServiceError";

/// Answers a request that failed.
pub(in crate::server) fn problem(problem: &Problem) -> Response {
    let (status, kind) = fault(problem);
    json_error_of(status, kind, &message(problem), problem.hint(), JSON)
}

/// Returns the status and AWS's name of a failure.
pub(super) fn fault(problem: &Problem) -> (StatusCode, &str) {
    let caller = |kind| (StatusCode::BAD_REQUEST, kind);
    let server = |kind| (StatusCode::INTERNAL_SERVER_ERROR, kind);
    match problem {
        Problem::Refused(Refusal::Session | Refusal::NoSession) => {
            caller("UnrecognizedClientException")
        }
        Problem::Refused(Refusal::Connections) | Problem::Read(ReadError::WaitOver(_)) => {
            server(INTERNAL)
        }
        Problem::Read(ReadError::Upstream(error)) => match error.kind {
            FetchErrorKind::Service => server(&error.code),
            _ if is_of_aws(error) || !error.kind.is_transient() => caller(&error.code),
            _ => server(INTERNAL),
        },
        other => caller(other.kind()),
    }
}

/// Returns AWS's own words where there are some. Elsewhere the hint is part of the message, which is
/// all that an SDK shows.
pub(super) fn message(problem: &Problem) -> String {
    match problem {
        Problem::Read(ReadError::Upstream(error)) if is_of_aws(error) => error.message.to_string(),
        other => format!("{}; {}", other.message(), other.hint()),
    }
}

/// Returns whether a failure is AWS's own answer, in AWS's own words.
fn is_of_aws(error: &FetchError) -> bool {
    match error.kind {
        FetchErrorKind::NotFound
        | FetchErrorKind::Denied
        | FetchErrorKind::Unavailable
        | FetchErrorKind::Decryption
        | FetchErrorKind::Invalid
        | FetchErrorKind::Throttled
        | FetchErrorKind::Service => true,
        // There were none, and so nobody to answer.
        FetchErrorKind::Credentials => &*error.code != "InternalFailure",
        FetchErrorKind::OutOfScope
        | FetchErrorKind::OtherRegion
        | FetchErrorKind::Overloaded
        | FetchErrorKind::Timeout
        | FetchErrorKind::Connection
        | FetchErrorKind::Unreadable
        | FetchErrorKind::Lagging
        | FetchErrorKind::Misconfigured
        | FetchErrorKind::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::reference::BadReference;
    use crate::server::dialect::aws_api::operation::BadCall;
    use http_body_util::BodyExt;
    use hyper::header::CONTENT_TYPE;
    use serde_json::Value;
    use std::time::Duration;

    async fn sent(failed: &Problem) -> (u16, Value) {
        let response = problem(failed);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/x-amz-json-1.1");
        assert!(!response.headers().contains_key("x-amzn-errortype"), "it would win");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a full body").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    #[tokio::test]
    async fn errors_are_what_an_sdk_reads_and_retries_only_where_that_may_help() {
        let upstream = |kind, code| Problem::Read(FetchError::new(kind, code, "m").into());
        for (failed, status, kind) in [
            (Problem::Refused(Refusal::Session), 400, "UnrecognizedClientException"),
            (Problem::Refused(Refusal::NoSession), 400, "UnrecognizedClientException"),
            (Problem::Refused(Refusal::Host), 400, "ForbiddenException"),
            (Problem::Refused(Refusal::Connections), 500, INTERNAL),
            (Problem::Call(BadCall::Unsupported), 400, "UnsupportedOperationException"),
            (Problem::Call(BadCall::Missing("secretId")), 400, "ValidationException"),
            (Problem::Reference(BadReference::Empty), 400, "ValidationException"),
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
            (upstream(FetchErrorKind::Lagging, "StaleAnswer"), 500, INTERNAL),
            (upstream(FetchErrorKind::Overloaded, "OverloadedException"), 500, INTERNAL),
            (upstream(FetchErrorKind::Internal, "InternalFailure"), 500, INTERNAL),
        ] {
            let (own, body) = sent(&failed).await;
            assert_eq!((own, &body["__type"]), (status, &Value::from(kind)), "{failed:?}");
        }
    }

    #[tokio::test]
    async fn awss_words_are_kept_and_others_say_what_to_do() {
        let message = async |failed: &Problem| {
            let (_, body) = sent(failed).await;
            assert!(body["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
            body["message"].as_str().expect("a text").to_owned()
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
        let keys = message(&Problem::Refused(Refusal::NoSession)).await;
        assert!(keys.contains("no session token") && keys.contains("AWS_SESSION_TOKEN"), "{keys}");
        let allow = message(&Problem::Read(ReadError::OutOfScope)).await;
        assert!(allow.contains("SIDEKEY_ALLOW does not cover it; add"), "{allow}");
    }
}
