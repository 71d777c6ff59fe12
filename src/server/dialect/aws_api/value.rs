//! Converts one version of a secret to JSON for `GetSecretValue` and `BatchGetSecretValue`, and one
//! version of a parameter to JSON for `GetParameter` and `GetParameters`.

use super::epoch_seconds::epoch_seconds;
use super::parameter::parameter_body;
use crate::cache::entry::Entry;
use crate::cache::rendered::Form;
use crate::secret::field::FieldError;
use crate::secret::value::SecretValue;
use crate::secret::version::{Details, Version};
use crate::server::dialect::json::{JsonValue, render};
use crate::server::dialect::parameter::Answer;
use serde::Serialize;

/// The JSON of one version of a secret. The keys have the order that AWS uses. Missing values are
/// omitted.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<f64>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_binary: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_string: Option<&'a str>,
    version_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    version_stages: &'a [Box<str>],
}

/// Returns a cached secret or parameter as JSON, with the full value or only the value's field
/// `field`. The JSON with the full value is cached for later reads.
///
/// # Errors
///
/// Fails if the value has no such field.
pub(in crate::server) fn value(
    entry: &Entry,
    field: Option<&str>,
) -> Result<SecretValue, FieldError> {
    match field {
        None => Ok(entry.answer(Form::AwsApi, |_| body(entry, None)).clone()),
        Some(field) => Ok(body(entry, Some(entry.fields().field(field)?))),
    }
}

/// Returns a cached secret as JSON. If `field` is given, the JSON contains this text instead of the
/// secret's value.
fn body(entry: &Entry, field: Option<&SecretValue>) -> SecretValue {
    let version = &entry.version;
    match &version.details {
        Details::Parameter(parameter) => {
            let answer = Answer::of_parameter(version, parameter, &entry.selector);
            parameter_body(answer, field)
        }
        Details::Secret { .. } | Details::Path(_) => {
            let value = field.map_or_else(|| JsonValue::of(&version.content), JsonValue::of_text);
            secret_body(version, &value)
        }
    }
}

fn secret_body(version: &Version, value: &JsonValue<'_>) -> SecretValue {
    render(&Body {
        arn: &version.arn,
        created_date: version.created.map(epoch_seconds),
        name: &version.name,
        secret_binary: value.base64(),
        secret_string: value.text(),
        version_id: &version.id,
        version_stages: version.labels(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::freshness::Policy;
    use crate::clock::Moment;
    use crate::secret::selector::Selector;
    use crate::secret::version::Content;
    use std::time::{Duration, UNIX_EPOCH};

    fn entry(content: Content, created_ms: Option<u64>) -> Entry {
        entry_with_labels(&["AWSCURRENT", "BLUE"], content, created_ms)
    }

    fn entry_with_labels(labels: &[&str], content: Content, created_ms: Option<u64>) -> Entry {
        let version = Version {
            arn: "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123".into(),
            name: "app/db".into(),
            id: "v-1".into(),
            details: Details::Secret {
                labels: labels.iter().map(|label| (*label).into()).collect(),
            },
            created: created_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            content,
        };
        let sent = Moment { wall: UNIX_EPOCH, steady: Duration::ZERO };
        Entry::new(version, Selector::current(), Policy::default(), sent, 0, 0.5)
    }

    #[track_caller]
    fn check(entry: &Entry, field: Option<&str>, expected: &str) {
        let body = value(entry, field).expect("the secret must have the field");
        assert_eq!(std::str::from_utf8(body.expose()).expect("the body must be UTF-8"), expected);
    }

    #[test]
    fn answers_equal_those_of_aws_byte_for_byte() {
        let object = Content::Text(String::from(r#"{"user":"<ann> & \"b\""}"#).into());
        let object = entry(object, Some(1_569_534_789_046));
        check(
            &object,
            None,
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":1569534789.046,"Name":"app/db","SecretString":"{\"user\":\"<ann> & \\\"b\\\"\"}","VersionId":"v-1","VersionStages":["AWSCURRENT","BLUE"]}"#,
        );
        check(
            &object,
            Some("user"),
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":1569534789.046,"Name":"app/db","SecretString":"<ann> & \"b\"","VersionId":"v-1","VersionStages":["AWSCURRENT","BLUE"]}"#,
        );
        check(
            &entry(Content::Binary(SecretValue::new(vec![0, 255, 16])), None),
            None,
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","Name":"app/db","SecretBinary":"AP8Q","VersionId":"v-1","VersionStages":["AWSCURRENT","BLUE"]}"#,
        );
    }

    #[test]
    fn absent_stages_are_omitted() {
        check(
            &entry_with_labels(&[], Content::Text(String::from("a").into()), None),
            None,
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","Name":"app/db","SecretString":"a","VersionId":"v-1"}"#,
        );
    }

    #[test]
    fn full_value_is_rendered_once_for_each_form() {
        let entry = entry(Content::Text(String::from("hunter2").into()), Some(1000));
        let (first, second) = (value(&entry, None), value(&entry, None));
        let bytes = |value: Result<SecretValue, FieldError>| {
            value.expect("rendering a full value must succeed").share()
        };
        assert_eq!(bytes(first).as_ptr(), bytes(second).as_ptr());
        let dialect = entry.answer(Form::Dialect, |_| String::from("other").into());
        assert_eq!(dialect.expose(), b"other");
        check(
            &entry,
            None,
            r#"{"ARN":"arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123","CreatedDate":1.0,"Name":"app/db","SecretString":"hunter2","VersionId":"v-1","VersionStages":["AWSCURRENT","BLUE"]}"#,
        );
    }
}
