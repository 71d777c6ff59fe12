//! The dialect of AWS's Parameters and Secrets Lambda Extension.
//!
//! That one is a Go program, and its answers are what Go's `encoding/json` makes of an answer of the
//! AWS SDK for Go v2. They are written here as Go writes them.

use super::{Value, answer, json_error, render_as};
use crate::secret::value::SecretValue;
use crate::secret::version::Version;
use crate::server::Response;
use crate::server::gate::Refusal;
use crate::server::problem::Problem;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::ser::Formatter;
use std::io::{self, Write};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where AWS's front doors, and this agent, name an error's type.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// How every error but that of a wrong token begins.
const FAILED: &str = "an unexpected error occurred while executing request";

/// A version, in the order of Go's structure. What is absent is `null`.
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
    version_stages: &'a [Box<str>],
    result_metadata: Metadata,
}

#[derive(Serialize)]
struct Metadata {}

/// Renders a version.
pub(super) fn body(version: &Version) -> SecretValue {
    let value = Value::of(&version.content);
    let body = Body {
        arn: &version.arn,
        // As Go writes a time: zeros at the end of the fraction are left out.
        created_date: version
            .created
            .and_then(|created| OffsetDateTime::from(created).format(&Rfc3339).ok()),
        name: &version.name,
        secret_binary: value.binary(),
        secret_string: value.text(),
        version_id: &version.id,
        version_stages: &version.labels,
        result_metadata: Metadata {},
    };
    render_as(&body, Escaping)
}

/// Writes strings as Go does, so that they can stand in HTML and JavaScript.
///
/// Source: `Marshal` in the documentation of Go's `encoding/json`.
#[derive(Clone, Copy)]
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let mut plain = 0;
        for (at, c) in fragment.char_indices() {
            let escaped: &[u8] = match c {
                '<' => b"\\u003c",
                '>' => b"\\u003e",
                '&' => b"\\u0026",
                '\u{2028}' => b"\\u2028",
                '\u{2029}' => b"\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            writer.write_all(escaped)?;
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

/// Answers a request that failed: plain text with the type in a header. Its clients try any 400 again,
/// so whatever may pass is one.
pub(super) fn problem(problem: &Problem) -> Response {
    let (status, text) = match problem {
        Problem::Refused(Refusal::Token) => {
            (StatusCode::UNAUTHORIZED, "bad session token or header key".to_owned())
        }
        Problem::NotServed(_) => return json_error(StatusCode::NOT_IMPLEMENTED, problem),
        Problem::Method | Problem::MethodPost => (StatusCode::METHOD_NOT_ALLOWED, told(problem)),
        Problem::Path => (StatusCode::NOT_FOUND, told(problem)),
        _ => (StatusCode::BAD_REQUEST, told(problem)),
    };
    let mut response = answer(status, "text/plain; charset=utf-8", text.into());
    if let Ok(kind) = HeaderValue::from_str(problem.kind()) {
        response.headers_mut().insert(ERROR_TYPE, kind);
    }
    response
}

fn told(problem: &Problem) -> String {
    format!("{FAILED}: {}: {} ({})", problem.kind(), problem.message(), problem.hint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ReadError;
    use crate::secret::version::Content;
    use crate::server::problem::NotServed;
    use crate::source::{FetchError, FetchErrorKind};
    use http_body_util::BodyExt;
    use std::time::{Duration, UNIX_EPOCH};

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";

    #[track_caller]
    fn check(content: Content, created_ms: Option<u64>, expected: &str) {
        let version = Version {
            arn: ARN.into(),
            name: "app/db".into(),
            id: "v-1".into(),
            labels: vec!["AWSCURRENT".into(), "BLUE".into()],
            created: created_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            content,
        };
        let body = body(&version);
        assert_eq!(std::str::from_utf8(body.expose()).expect("text"), expected);
    }

    #[test]
    fn bodies_are_those_of_the_extension_to_the_byte() {
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

    async fn sent(failed: Problem) -> (u16, Option<String>, String) {
        let response = problem(&failed);
        let status = response.status().as_u16();
        let kind = response.headers().get(ERROR_TYPE);
        let kind = kind.map(|kind| kind.to_str().expect("text").to_owned());
        let body = response.into_body().collect().await.expect("a full body").to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn a_wrong_token_is_told_in_the_words_of_the_extension() {
        let (status, kind, body) = sent(Problem::Refused(Refusal::Token)).await;
        assert_eq!((status, &*body), (401, "bad session token or header key"));
        assert_eq!(kind.as_deref(), Some("AccessDeniedException"));
    }

    #[tokio::test]
    async fn failures_begin_as_those_of_the_extension_and_say_why() {
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
            (Problem::Refused(Refusal::Connections), 400, "TooManyConnectionsException"),
            (Problem::Read(ReadError::OutOfScope), 400, "AccessDeniedException"),
            (Problem::Read(ReadError::WaitOver(Duration::ZERO)), 400, "TimeoutError"),
            (Problem::HeadTooLarge(1), 400, "BadRequestException"),
            (Problem::Body, 400, "BadRequestException"),
            (Problem::Method, 405, "MethodNotAllowedException"),
            (Problem::MethodPost, 405, "MethodNotAllowedException"),
            (Problem::Path, 404, "NotFoundException"),
        ] {
            let (status, own, body) = sent(problem).await;
            assert_eq!((status, own.as_deref()), (expected, Some(kind)));
            assert!(body.starts_with(&format!("{FAILED}: {kind}: ")), "{body}");
        }
    }

    #[tokio::test]
    async fn what_is_not_served_is_told_in_json() {
        let (status, _, body) = sent(Problem::NotServed(NotServed::Parameters)).await;
        assert_eq!(status, 501);
        assert!(body.starts_with(r#"{"__type":"UnsupportedOperationException","#), "{body}");
    }

    #[tokio::test]
    async fn a_type_that_is_no_header_is_told_in_the_text_alone() {
        let odd = FetchError::new(FetchErrorKind::Invalid, "Odd\nException", "m");
        let (status, kind, body) = sent(Problem::Read(odd.into())).await;
        assert_eq!((status, kind), (400, None));
        assert!(body.contains("Odd\nException"), "{body}");
    }
}
