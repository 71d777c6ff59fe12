//! Builds HTTP answers in the format of AWS's Secrets Manager Agent.

use super::error_body::json_error;
use super::json::{JsonValue, render};
use crate::cache::ReadError;
use crate::secret::value::SecretValue;
use crate::secret::version::Version;
use crate::server::gate::Refusal;
use crate::server::problem::Problem;
use crate::server::response::{PLAIN_TEXT, Response, with_body};
use crate::source::FetchErrorKind;
use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// The JSON body of the answer to a read of a secret. The keys have the order that AWS's Secrets
/// Manager Agent uses. Missing values are omitted, but a missing `CreatedDate` is `null`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    name: &'a str,
    version_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_binary: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    version_stages: &'a [Box<str>],
    created_date: Option<String>,
}

pub(super) fn body(version: &Version) -> SecretValue {
    let value = JsonValue::of(&version.content);
    render(&Body {
        arn: &version.arn,
        name: &version.name,
        version_id: &version.id,
        secret_string: value.text(),
        secret_binary: value.base64(),
        version_stages: version.labels(),
        created_date: version.created.map(epoch_seconds),
    })
}

/// Returns the seconds since 1970 as a string, such as `1569534789.046`. The fraction has at most
/// three digits, and does not end in zeros.
fn epoch_seconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    match since.subsec_millis() {
        0 => since.as_secs().to_string(),
        millis => {
            let text = format!("{}.{millis:03}", since.as_secs());
            text.trim_end_matches('0').to_owned()
        }
    }
}

/// Builds the response to a failed request, in the format of AWS's Secrets Manager Agent. The
/// response is plain text if AWS's agent sends this error as plain text, and otherwise JSON.
pub(super) fn problem(problem: &Problem) -> Response {
    match problem {
        Problem::Refused(Refusal::TooManyConnections) => {
            text(StatusCode::TOO_MANY_REQUESTS, "Connection limit exceeded")
        }
        Problem::Refused(Refusal::ForwardedFor) => text(StatusCode::BAD_REQUEST, "Forwarded"),
        Problem::Refused(Refusal::Token) => text(StatusCode::FORBIDDEN, "Bad Token"),
        Problem::MethodNotGet | Problem::MethodNotPost => {
            text(StatusCode::METHOD_NOT_ALLOWED, "Not allowed")
        }
        Problem::UnknownPath => text(StatusCode::NOT_FOUND, "Not found"),
        Problem::Query(bad) => text(StatusCode::BAD_REQUEST, &bad.to_string()),
        other => json_error(status(other), other),
    }
}

fn text(status: StatusCode, text: &str) -> Response {
    with_body(status, PLAIN_TEXT, Bytes::copy_from_slice(text.as_bytes()))
}

fn status(problem: &Problem) -> StatusCode {
    match problem {
        Problem::IgnoredBodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Problem::HeadTooLarge(_) | Problem::TooManyHeaders(_) => {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        }
        Problem::HeadTooSlow(_) => StatusCode::REQUEST_TIMEOUT,
        Problem::Role(_) => StatusCode::FORBIDDEN,
        Problem::Read(ReadError::WaitOver(_)) => StatusCode::GATEWAY_TIMEOUT,
        Problem::Read(ReadError::Upstream(error)) => match error.kind {
            FetchErrorKind::RoleDenied => StatusCode::FORBIDDEN,
            FetchErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            FetchErrorKind::Connection
            | FetchErrorKind::Unreadable
            | FetchErrorKind::Mismatched => StatusCode::BAD_GATEWAY,
            FetchErrorKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            FetchErrorKind::Service | FetchErrorKind::Misconfigured | FetchErrorKind::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            // If AWS refuses the agent's credentials, the status is 400, as in AWS's answer. If
            // Sidekey found no credentials, the fault is Sidekey's, and the status is 500.
            FetchErrorKind::Credentials if &*error.code == "InternalFailure" => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            _ => StatusCode::BAD_REQUEST,
        },
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::version::{Content, Details};
    use crate::source::FetchError;
    use http_body_util::BodyExt;
    use std::time::Duration;

    fn version(content: Content, created_ms: Option<u64>) -> Version {
        Version {
            arn: "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123".into(),
            name: "app/db".into(),
            id: "v-1".into(),
            details: Details::Secret { labels: vec!["AWSCURRENT".into(), "BLUE".into()] },
            created: created_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            content,
        }
    }

    #[track_caller]
    fn check(version: &Version, expected: &str) {
        let body = body(version);
        assert_eq!(std::str::from_utf8(body.expose()).expect("the body must be UTF-8"), expected);
    }

    #[test]
    fn bodies_equal_those_of_aws_agent_byte_for_byte() {
        let text = Content::Text(String::from("a\"<b>&").into());
        check(
            &version(text, Some(1_569_534_789_046)),
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","Name":"app/db","VersionId":"v-1","SecretString":"a\"<b>&","VersionStages":["AWSCURRENT","BLUE"],"CreatedDate":"1569534789.046"}"#,
        );
        let binary = Content::Binary(SecretValue::new(vec![0, 255, 16]));
        check(
            &version(binary, Some(1_569_534_789_000)),
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","Name":"app/db","VersionId":"v-1","SecretBinary":"AP8Q","VersionStages":["AWSCURRENT","BLUE"],"CreatedDate":"1569534789"}"#,
        );
    }

    #[test]
    fn absent_date_is_null_and_absent_stages_are_omitted() {
        let text = Content::Text(String::from("a").into());
        let absent =
            Version { details: Details::Secret { labels: Vec::new() }, ..version(text, None) };
        check(
            &absent,
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","Name":"app/db","VersionId":"v-1","SecretString":"a","CreatedDate":null}"#,
        );
    }

    #[test]
    fn fractions_of_seconds_have_no_trailing_zeros() {
        for (millis, expected) in [(1000, "1"), (1500, "1.5"), (1050, "1.05"), (1001, "1.001")] {
            assert_eq!(epoch_seconds(UNIX_EPOCH + Duration::from_millis(millis)), expected);
        }
    }

    async fn sent(failed: Problem) -> (u16, String) {
        let response = problem(&failed);
        let status = response.status().as_u16();
        let body =
            response.into_body().collect().await.expect("the body must be in memory").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("the body must be UTF-8"))
    }

    #[tokio::test]
    async fn plain_text_errors_equal_those_of_aws_agent() {
        for (problem, status, body) in [
            (Problem::Refused(Refusal::TooManyConnections), 429, "Connection limit exceeded"),
            (Problem::Refused(Refusal::ForwardedFor), 400, "Forwarded"),
            (Problem::Refused(Refusal::Token), 403, "Bad Token"),
            (Problem::MethodNotGet, 405, "Not allowed"),
            (Problem::MethodNotPost, 405, "Not allowed"),
            (Problem::UnknownPath, 404, "Not found"),
        ] {
            assert_eq!(sent(problem).await, (status, body.to_owned()));
        }
    }

    #[tokio::test]
    async fn service_errors_keep_their_type_and_are_escaped() {
        let error =
            FetchError::new(FetchErrorKind::Denied, "AccessDeniedException", "User \"x\" may not");
        let (status, body) = sent(Problem::Read(error.into())).await;
        assert_eq!(status, 400);
        assert!(
            body.starts_with(
                r#"{"__type":"AccessDeniedException","message":"User \"x\" may not","hint":"#
            ),
            "{body}"
        );
    }

    #[tokio::test]
    async fn failures_get_the_statuses_of_aws_agent() {
        for (kind, code, expected) in [
            (FetchErrorKind::Timeout, "TimeoutError", 504),
            (FetchErrorKind::Connection, "ConnectionError", 502),
            (FetchErrorKind::Unreadable, "ConnectionError", 502),
            (FetchErrorKind::Mismatched, "MismatchedAnswer", 502),
            (FetchErrorKind::Service, "InternalServiceError", 500),
            (FetchErrorKind::Overloaded, "OverloadedException", 503),
            (FetchErrorKind::Credentials, "InternalFailure", 500),
            (FetchErrorKind::Credentials, "ExpiredTokenException", 400),
            (FetchErrorKind::Throttled, "ThrottlingException", 400),
        ] {
            let problem = Problem::Read(FetchError::new(kind, code, "m").into());
            assert_eq!(sent(problem).await.0, expected, "{kind:?}");
        }
    }
}
