//! Builds answers to reads of parameters, in the format of AWS's Parameters and Secrets Lambda
//! Extension.

use super::go_json::{Metadata, render_as_go, rfc_3339};
use super::json::{render, text_of};
use crate::secret::secret_parameter::SecretParameter;
use crate::secret::selector::Selector;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Parameter, ParameterKind, Version};
use serde::Serialize;
use std::time::SystemTime;
use time::OffsetDateTime;

/// What an answer contains about one parameter, or about a secret that the caller reads as a
/// parameter.
pub(in crate::server) struct Answer<'a> {
    pub(super) arn: &'a str,
    pub(super) data_type: Option<&'a str>,
    pub(super) modified: Option<SystemTime>,
    pub(super) name: &'a str,
    /// The requested version number or label of the parameter, after a colon, such as `:3`. `None`
    /// if the caller gives neither.
    pub(super) selector: Option<String>,
    /// The JSON about the secret, if the caller reads a secret as a parameter, by a name such as
    /// `/aws/reference/secretsmanager/app/db`. `None` if the caller reads a parameter or only one
    /// field of the secret.
    pub(super) source_result: Option<SecretValue>,
    pub(super) kind: &'static str,
    /// The value as text. `None` if the caller reads a secret as the parameter
    /// `/aws/reference/secretsmanager/NAME`, and the secret's value is binary.
    pub(super) value: Option<&'a str>,
    pub(super) version: u64,
}

impl<'a> Answer<'a> {
    /// Collects what an answer contains about a parameter. `selector` is the version that the
    /// caller asks for.
    pub(in crate::server) fn of_parameter(
        version: &'a Version,
        parameter: &'a Parameter,
        selector: &Selector,
    ) -> Self {
        Self {
            arn: &version.arn,
            data_type: parameter.data_type.as_deref(),
            modified: version.created,
            name: &version.name,
            selector: selector.version().or_else(|| selector.stage()).map(after_colon),
            source_result: None,
            kind: parameter.kind.label(),
            value: text_of_content(&version.content),
            version: parameter.number,
        }
    }

    /// Collects what an answer contains about a secret that the caller reads as the parameter
    /// `asked`, whose name is for example `/aws/reference/secretsmanager/app/db`.
    pub(in crate::server) fn of_secret(version: &'a Version, asked: &SecretParameter<'a>) -> Self {
        Self {
            arn: &version.arn,
            data_type: None,
            modified: version.created,
            name: asked.name,
            selector: asked.selector.map(after_colon),
            source_result: Some(source_result(version)),
            kind: ParameterKind::SecureString.label(),
            value: text_of_content(&version.content),
            version: 0,
        }
    }

    /// Replaces the value in the answer with one field of the value. Also removes the JSON about
    /// the secret, which contains the full value.
    #[must_use]
    pub(in crate::server) fn with_field(self, field: &'a SecretValue) -> Self {
        Self { value: Some(text_of(field)), source_result: None, ..self }
    }

    /// Returns the answer's JSON body for a caller of AWS's Lambda extension.
    pub(in crate::server) fn body(&self) -> SecretValue {
        render_as_go(&Body {
            parameter: Members {
                arn: self.arn,
                data_type: self.data_type,
                last_modified_date: self.modified.and_then(rfc_3339),
                name: self.name,
                selector: self.selector.as_deref(),
                source_result: self.source_result.as_ref().map(text_of),
                kind: self.kind,
                value: self.value,
                version: self.version,
            },
            result_metadata: Metadata {},
        })
    }
}

/// The JSON body of the answer to a read of a parameter. The keys have the order that AWS's SDK for
/// Go uses. Missing values are `null`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    parameter: Members<'a>,
    result_metadata: Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Members<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    data_type: Option<&'a str>,
    last_modified_date: Option<String>,
    name: &'a str,
    selector: Option<&'a str>,
    source_result: Option<&'a str>,
    #[serde(rename = "Type")]
    kind: &'a str,
    value: Option<&'a str>,
    version: u64,
}

/// The JSON in the string `SourceResult` of an answer. It describes the secret that a caller reads
/// as a parameter.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceResult<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    name: &'a str,
    version_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_binary: Option<Binary<'a>>,
    version_stages: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<String>,
}

/// The value of a binary secret, as a JSON list of its bytes.
#[derive(Serialize)]
struct Binary<'a> {
    hb: &'a [u8],
}

fn source_result(version: &Version) -> SecretValue {
    let binary = match &version.content {
        Content::Text(_) => None,
        Content::Binary(bytes) => Some(Binary { hb: bytes.expose() }),
    };
    render(&SourceResult {
        arn: &version.arn,
        name: &version.name,
        version_id: &version.id,
        secret_string: text_of_content(&version.content),
        secret_binary: binary,
        version_stages: version.labels(),
        created_date: version.created.map(twelve_hour_date),
    })
}

fn after_colon(selector: &str) -> String {
    format!(":{selector}")
}

fn text_of_content(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) => Some(text_of(text)),
        Content::Binary(_) => None,
    }
}

/// Formats a time in UTC as `Nov 16, 2022, 8:22:40 AM`.
fn twelve_hour_date(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let month = time.month().to_string();
    let month = month.get(..3).unwrap_or_default();
    let half = if time.hour() < 12 { "AM" } else { "PM" };
    let hour = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let (day, year, minute, second) = (time.day(), time.year(), time.minute(), time.second());
    format!("{month} {day}, {year}, {hour}:{minute:02}:{second:02} {half}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::version::Details;
    use std::time::{Duration, UNIX_EPOCH};

    const MODIFIED_MS: u64 = 1_668_586_960_362;

    fn version(details: Details, content: Content) -> Version {
        let is_secret = matches!(details, Details::Secret { .. });
        let (arn, name) = match is_secret {
            true => {
                ("arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123", "app/db")
            }
            false => ("arn:aws:ssm:eu-north-1:123456789012:parameter/app/url", "/app/url"),
        };
        Version {
            arn: arn.into(),
            name: name.into(),
            id: "v-1".into(),
            details,
            created: Some(UNIX_EPOCH + Duration::from_millis(MODIFIED_MS)),
            content,
        }
    }

    fn text(text: &str) -> Content {
        Content::Text(text.to_owned().into())
    }

    #[track_caller]
    fn check(answer: &Answer<'_>, expected: &str) {
        let body = answer.body();
        assert_eq!(std::str::from_utf8(body.expose()).expect("the body must be UTF-8"), expected);
    }

    #[track_caller]
    fn check_parameter(
        kind: ParameterKind,
        data_type: Option<&str>,
        selector: (Option<&str>, Option<&str>),
        value: &str,
        expected: &str,
    ) {
        let parameter = Parameter { number: 3, kind, data_type: data_type.map(Into::into) };
        let version = version(Details::Parameter(parameter.clone()), text(value));
        let selector = Selector::parameter(selector.0, selector.1, true);
        check(&Answer::of_parameter(&version, &parameter, &selector), expected);
    }

    #[test]
    fn bodies_equal_those_of_aws_extension_byte_for_byte() {
        check_parameter(
            ParameterKind::String,
            Some("text"),
            (None, None),
            "a \"<b>&\"",
            r#"{"Parameter":{"ARN":"arn:aws:ssm:eu-north-1:123456789012:parameter/app/url","DataType":"text","LastModifiedDate":"2022-11-16T08:22:40.362Z","Name":"/app/url","Selector":null,"SourceResult":null,"Type":"String","Value":"a \"\u003cb\u003e\u0026\"","Version":3},"ResultMetadata":{}}"#,
        );
        check_parameter(
            ParameterKind::StringList,
            None,
            (Some("live"), None),
            "a,b",
            r#"{"Parameter":{"ARN":"arn:aws:ssm:eu-north-1:123456789012:parameter/app/url","DataType":null,"LastModifiedDate":"2022-11-16T08:22:40.362Z","Name":"/app/url","Selector":":live","SourceResult":null,"Type":"StringList","Value":"a,b","Version":3},"ResultMetadata":{}}"#,
        );
        check_parameter(
            ParameterKind::SecureString,
            Some("text"),
            (None, Some("3")),
            "AQICAH==",
            r#"{"Parameter":{"ARN":"arn:aws:ssm:eu-north-1:123456789012:parameter/app/url","DataType":"text","LastModifiedDate":"2022-11-16T08:22:40.362Z","Name":"/app/url","Selector":":3","SourceResult":null,"Type":"SecureString","Value":"AQICAH==","Version":3},"ResultMetadata":{}}"#,
        );
    }

    fn secret(content: Content) -> Version {
        version(Details::Secret { labels: vec!["AWSCURRENT".into()] }, content)
    }

    #[test]
    fn secret_has_the_form_of_a_parameter() {
        let asked = SecretParameter::of("/aws/reference/secretsmanager/app/db:AWSCURRENT")
            .expect("the name must mean a secret");
        let (text, binary) =
            (secret(text("<\"a\">")), Content::Binary(SecretValue::new(vec![0, 255])));
        check(
            &Answer::of_secret(&text, &asked),
            r#"{"Parameter":{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","DataType":null,"LastModifiedDate":"2022-11-16T08:22:40.362Z","Name":"/aws/reference/secretsmanager/app/db","Selector":":AWSCURRENT","SourceResult":"{\"ARN\":\"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123\",\"name\":\"app/db\",\"versionId\":\"v-1\",\"secretString\":\"\u003c\\\"a\\\"\u003e\",\"versionStages\":[\"AWSCURRENT\"],\"createdDate\":\"Nov 16, 2022, 8:22:40 AM\"}","Type":"SecureString","Value":"\u003c\"a\"\u003e","Version":0},"ResultMetadata":{}}"#,
        );
        let binary = secret(binary);
        check(
            &Answer::of_secret(&binary, &SecretParameter { selector: None, ..asked }),
            r#"{"Parameter":{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","DataType":null,"LastModifiedDate":"2022-11-16T08:22:40.362Z","Name":"/aws/reference/secretsmanager/app/db","Selector":null,"SourceResult":"{\"ARN\":\"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123\",\"name\":\"app/db\",\"versionId\":\"v-1\",\"secretBinary\":{\"hb\":[0,255]},\"versionStages\":[\"AWSCURRENT\"],\"createdDate\":\"Nov 16, 2022, 8:22:40 AM\"}","Type":"SecureString","Value":null,"Version":0},"ResultMetadata":{}}"#,
        );
    }

    #[test]
    fn answer_with_a_field_contains_nothing_else_of_the_secret() {
        let asked = SecretParameter::of("/aws/reference/secretsmanager/app/db#user")
            .expect("the name must mean a secret");
        let (version, field) = (secret(text("hunter2")), "ann".to_owned().into());
        let body = Answer::of_secret(&version, &asked).with_field(&field).body();
        let body = std::str::from_utf8(body.expose()).expect("the body must be UTF-8").to_owned();
        assert!(body.contains(r#""Value":"ann""#) && !body.contains("hunter2"), "{body}");
    }

    #[test]
    fn dates_have_twelve_hours() {
        for (seconds, expected) in [
            (0, "Jan 1, 1970, 12:00:00 AM"),
            (43_199, "Jan 1, 1970, 11:59:59 AM"),
            (43_200, "Jan 1, 1970, 12:00:00 PM"),
            (46_805, "Jan 1, 1970, 1:00:05 PM"),
        ] {
            assert_eq!(twelve_hour_date(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
