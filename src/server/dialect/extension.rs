//! Builds HTTP answers in the format of AWS's Parameters and Secrets Lambda Extension.
//!
//! AWS's extension is a Go program that sends the structures of AWS's SDK for Go as JSON. So this
//! module writes JSON as Go's package `encoding/json` does.

use super::go_json::{Metadata, render_as_go, rfc_3339};
use super::json::JsonValue;
use crate::secret::value::SecretValue;
use crate::secret::version::Version;
use crate::server::gate::Refusal;
use crate::server::problem::Problem;
use crate::server::response::{PLAIN_TEXT, Response, with_body};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;

/// The HTTP header in which AWS's servers send the type of an error, such as
/// `AccessDeniedException`.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The beginning of each error text of AWS's Lambda extension, except the text about a wrong token.
const ERROR_START: &str = "an unexpected error occurred while executing request";

/// The JSON body of the answer to a read of a secret. The keys have the order of the structure in
/// AWS's SDK for Go. Missing values are `null`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    created_date: Option<String>,
    name: &'a str,
    secret_binary: Option<&'a str>,
    secret_string: Option<&'a str>,
    version_id: &'a str,
    version_stages: Option<&'a [Box<str>]>,
    result_metadata: Metadata,
}

pub(super) fn body(version: &Version) -> SecretValue {
    let value = JsonValue::of(&version.content);
    let body = Body {
        arn: &version.arn,
        created_date: version.created.and_then(rfc_3339),
        name: &version.name,
        secret_binary: value.base64(),
        secret_string: value.text(),
        version_id: &version.id,
        // Go writes a list without items that AWS left out as `null`.
        version_stages: Some(version.labels()).filter(|labels| !labels.is_empty()),
        result_metadata: Metadata {},
    };
    render_as_go(&body)
}

/// Builds the response to a failed request, in the format of AWS's Lambda extension: usually plain
/// text, with the type of the error in a header.
///
/// The status is 400 for errors that may be temporary, because the clients of AWS's extension retry
/// after this status.
pub(super) fn problem(problem: &Problem) -> Response {
    let (status, text) = match problem {
        Problem::Refused(Refusal::Token) => {
            (StatusCode::UNAUTHORIZED, "bad session token or header key".to_owned())
        }
        Problem::MethodNotGet | Problem::MethodNotPost => {
            (StatusCode::METHOD_NOT_ALLOWED, text_of(problem))
        }
        Problem::UnknownPath => (StatusCode::NOT_FOUND, text_of(problem)),
        _ => (StatusCode::BAD_REQUEST, text_of(problem)),
    };
    let mut response = with_body(status, PLAIN_TEXT, text.into());
    if let Ok(kind) = HeaderValue::from_str(problem.kind()) {
        response.headers_mut().insert(ERROR_TYPE, kind);
    }
    response
}

/// Returns the text of an error: the beginning that all errors of AWS's Lambda extension have, and
/// then the error's type, message and hint.
fn text_of(problem: &Problem) -> String {
    format!("{ERROR_START}: {}: {} ({})", problem.kind(), problem.message(), problem.hint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ReadError;
    use crate::secret::version::{Content, Details};
    use crate::source::{FetchError, FetchErrorKind};
    use http_body_util::BodyExt;
    use std::time::{Duration, UNIX_EPOCH};

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";

    #[track_caller]
    fn check(content: Content, created_ms: Option<u64>, expected: &str) {
        check_with_labels(&["AWSCURRENT", "BLUE"], content, created_ms, expected);
    }

    #[track_caller]
    fn check_with_labels(
        labels: &[&str],
        content: Content,
        created_ms: Option<u64>,
        expected: &str,
    ) {
        let version = Version {
            arn: ARN.into(),
            name: "app/db".into(),
            id: "v-1".into(),
            details: Details::Secret {
                labels: labels.iter().map(|label| (*label).into()).collect(),
            },
            created: created_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            content,
        };
        let body = body(&version);
        assert_eq!(std::str::from_utf8(body.expose()).expect("the body must be UTF-8"), expected);
    }

    #[test]
    fn bodies_equal_those_of_aws_extension_byte_for_byte() {
        let text = |text: &str| Content::Text(text.to_owned().into());
        check(
            text("{\"user\":\"ann\"}"),
            Some(1_668_586_960_499),
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":"2022-11-16T08:22:40.499Z","Name":"app/db","SecretBinary":null,"SecretString":"{\"user\":\"ann\"}","VersionId":"v-1","VersionStages":["AWSCURRENT","BLUE"],"ResultMetadata":{}}"#,
        );
        check(
            Content::Binary(SecretValue::new(vec![0, 255, 16])),
            None,
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":null,"Name":"app/db","SecretBinary":"AP8Q","SecretString":null,"VersionId":"v-1","VersionStages":["AWSCURRENT","BLUE"],"ResultMetadata":{}}"#,
        );
        check(
            text("<b>&amp;</b> \u{2028}\u{2029}\u{7f} ä\u{1} \n\"\\<"),
            Some(1_668_586_960_500),
            concat!(
                r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":"2022-11-16T08:22:40.5Z","Name":"app/db","SecretBinary":null,"SecretString":"\u003cb\u003e\u0026amp;\u003c/b\u003e \u2028\u2029"#,
                "\u{7f} ä",
                r#"\u0001 \n\"\\\u003c","VersionId":"v-1","VersionStages":["AWSCURRENT","BLUE"],"ResultMetadata":{}}"#,
            ),
        );
    }

    #[test]
    fn absent_stages_are_null() {
        check_with_labels(
            &[],
            Content::Text(String::from("a").into()),
            None,
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":null,"Name":"app/db","SecretBinary":null,"SecretString":"a","VersionId":"v-1","VersionStages":null,"ResultMetadata":{}}"#,
        );
    }

    async fn sent(failed: Problem) -> (u16, Option<String>, String) {
        let response = problem(&failed);
        let status = response.status().as_u16();
        let kind = response.headers().get(ERROR_TYPE);
        let kind =
            kind.map(|kind| kind.to_str().expect("the header value must be text").to_owned());
        let body =
            response.into_body().collect().await.expect("the body must be in memory").to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).expect("the body must be UTF-8"))
    }

    #[tokio::test]
    async fn wrong_token_gets_error_of_aws_extension() {
        let (status, kind, body) = sent(Problem::Refused(Refusal::Token)).await;
        assert_eq!((status, &*body), (401, "bad session token or header key"));
        assert_eq!(kind.as_deref(), Some("AccessDeniedException"));
    }

    #[tokio::test]
    async fn failures_begin_like_those_of_aws_extension_and_give_the_cause() {
        let kind = FetchErrorKind::NotFound;
        let missing = FetchError::new(kind, "ResourceNotFoundException", "can't find it.");
        let (status, kind, body) = sent(Problem::Read(missing.into())).await;
        assert_eq!(status, 400);
        assert_eq!(kind.as_deref(), Some("ResourceNotFoundException"));
        assert_eq!(
            body,
            "an unexpected error occurred while executing request: ResourceNotFoundException: \
             can't find it. (check the name, the region and the account; a plain name refers to \
             the function's own account and region)"
        );
        for (problem, expected, kind) in [
            (Problem::Refused(Refusal::Host), 400, "ForbiddenException"),
            (Problem::Refused(Refusal::TooManyConnections), 400, "TooManyConnectionsException"),
            (Problem::Read(ReadError::OutOfScope), 400, "AccessDeniedException"),
            (Problem::Read(ReadError::WaitOver(Duration::ZERO)), 400, "TimeoutError"),
            (Problem::HeadTooLarge(1), 400, "BadRequestException"),
            (Problem::IgnoredBodyTooLarge(1), 400, "BadRequestException"),
            (Problem::MethodNotGet, 405, "MethodNotAllowedException"),
            (Problem::MethodNotPost, 405, "MethodNotAllowedException"),
            (Problem::UnknownPath, 404, "NotFoundException"),
        ] {
            let (status, own, body) = sent(problem).await;
            assert_eq!((status, own.as_deref()), (expected, Some(kind)));
            assert!(body.starts_with(&format!("{ERROR_START}: {kind}: ")), "{body}");
        }
    }

    #[tokio::test]
    async fn type_that_is_not_a_valid_header_is_only_in_the_text() {
        let odd = FetchError::new(FetchErrorKind::Invalid, "Odd\nException", "m");
        let (status, kind, body) = sent(Problem::Read(odd.into())).await;
        assert_eq!((status, kind), (400, None));
        assert!(body.contains("Odd\nException"), "{body}");
    }
}
