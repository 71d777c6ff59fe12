//! Builds the answers to the AWS operations `GetParameter`, `GetParameters` and
//! `GetParametersByPath`.

use super::epoch_seconds::epoch_seconds;
use crate::cache::entry::Entry;
use crate::secret::field::FieldError;
use crate::secret::secret_parameter::SecretParameter;
use crate::secret::value::SecretValue;
use crate::secret::version::Details;
use crate::server::dialect::json::{join, render, text_of};
use crate::server::dialect::parameter::Answer;
use crate::server::operation::{BadCall, RequestedPath};
use serde::Serialize;
use std::iter::once;

/// The JSON of one parameter of Parameter Store. The keys have the order that AWS uses. Missing
/// values are omitted.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_date: Option<f64>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_result: Option<&'a str>,
    #[serde(rename = "Type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    version: u64,
}

/// Returns one parameter as JSON. If `field` is given, the JSON contains this text instead of the
/// parameter's value.
pub(super) fn parameter_body(answer: Answer<'_>, field: Option<&SecretValue>) -> SecretValue {
    let answer = match field {
        Some(field) => answer.with_field(field),
        None => answer,
    };
    render(&Body {
        arn: answer.arn,
        data_type: answer.data_type,
        last_modified_date: answer.modified.map(epoch_seconds),
        name: answer.name,
        selector: answer.selector.as_deref(),
        source_result: answer.source_result.as_ref().map(text_of),
        kind: answer.kind,
        value: answer.value,
        version: answer.version,
    })
}

/// Returns the JSON of a cached secret for a caller that reads the secret as a parameter, by a name
/// such as `/aws/reference/secretsmanager/app/db`. If `field` is given, the JSON contains this
/// field of the secret's value instead of the full value.
///
/// # Errors
///
/// Fails if the secret's value has no such field.
pub(in crate::server) fn secret_as_parameter(
    entry: &Entry,
    asked: &SecretParameter<'_>,
    field: Option<&str>,
) -> Result<SecretValue, FieldError> {
    let field = field.map(|field| entry.fields().field(field)).transpose()?;
    Ok(parameter_body(Answer::of_secret(&entry.version, asked), field))
}

/// Returns the body of the answer to `GetParameter`. `parameter` is the JSON of the parameter.
pub(in crate::server) fn one_parameter(parameter: &SecretValue) -> SecretValue {
    join(br#"{"Parameter":"#, once(parameter), b"}")
}

/// Returns the body of the answer to `GetParameters`: the JSON of each parameter that exists, and
/// the requested names that are not the names of parameters.
pub(in crate::server) fn many_parameters<'a>(
    parameters: impl Iterator<Item = &'a SecretValue> + Clone,
    invalid: &[&str],
) -> SecretValue {
    let invalid =
        serde_json::to_string(invalid).expect("a list of names must be serializable as JSON");
    let end = format!(r#"],"InvalidParameters":{invalid}}}"#);
    join(br#"{"Parameters":["#, parameters, end.as_bytes())
}

/// Returns the body of the answer to `GetParametersByPath`: one page of the parameters in `list`,
/// the cached list of all parameters under the path.
///
/// # Errors
///
/// Fails if the call's `NextToken` belongs to another list of parameters.
pub(in crate::server) fn page(
    requested: &RequestedPath,
    list: &Entry,
) -> Result<SecretValue, BadCall> {
    let (page, token) = requested.page.slice(
        list.version.parameters(),
        |parameter| &parameter.name,
        requested.fingerprint(),
    )?;
    let parameters: Vec<SecretValue> = page
        .iter()
        .filter_map(|version| match &version.details {
            Details::Parameter(parameter) => {
                let answer = Answer::of_parameter(version, parameter, &list.selector);
                Some(parameter_body(answer, None))
            }
            Details::Secret { .. } | Details::Path(_) => None,
        })
        .collect();
    let end =
        token.map_or_else(|| "]}".to_owned(), |token| format!(r#"],"NextToken":"{token}"}}"#));
    Ok(join(br#"{"Parameters":["#, parameters.iter(), end.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::value::value;
    use super::*;
    use crate::cache::freshness::Policy;
    use crate::clock::Moment;
    use crate::secret::parameter_path::ParameterPath;
    use crate::secret::selector::Selector;
    use crate::secret::version::{Content, Parameter, ParameterKind, Version};
    use crate::server::operation::{Call, Operation};
    use std::time::{Duration, UNIX_EPOCH};

    fn version(name: &str, value: &str) -> Version {
        Version {
            arn: format!("arn:aws:ssm:eu-north-1:123456789012:parameter{name}").into(),
            name: name.into(),
            id: "3".into(),
            created: Some(UNIX_EPOCH + Duration::from_millis(1_668_586_960_362)),
            content: Content::Text(value.to_owned().into()),
            details: Details::Parameter(Parameter {
                number: 3,
                kind: ParameterKind::String,
                data_type: Some("text".into()),
            }),
        }
    }

    fn entry(version: Version, selector: Selector) -> Entry {
        let sent = Moment { wall: UNIX_EPOCH, steady: Duration::ZERO };
        Entry::new(version, selector, Policy::default(), sent, 0, 0.5)
    }

    #[track_caller]
    fn check(body: &SecretValue, expected: &str) {
        assert_eq!(std::str::from_utf8(body.expose()).expect("the body must be UTF-8"), expected);
    }

    #[test]
    fn answers_equal_those_of_aws_byte_for_byte() {
        let newest = entry(version("/app/url", "<a> \"b\""), Selector::parameter(None, None, true));
        let one = value(&newest, None).expect("a read of the full value must not fail");
        check(
            &one_parameter(&one),
            r#"{"Parameter":{"ARN":"arn:aws:ssm:eu-north-1:123456789012:parameter/app/url","DataType":"text","LastModifiedDate":1668586960.362,"Name":"/app/url","Type":"String","Value":"<a> \"b\"","Version":3}}"#,
        );
        let live = Selector::parameter(Some("live"), None, true);
        let live = entry(version("/app/db", r#"{"user":"ann"}"#), live);
        let two = value(&live, Some("user")).expect("the value must have the field");
        check(
            &many_parameters([&one, &two].into_iter(), &["/none", "/\"none\""]),
            r#"{"Parameters":[{"ARN":"arn:aws:ssm:eu-north-1:123456789012:parameter/app/url","DataType":"text","LastModifiedDate":1668586960.362,"Name":"/app/url","Type":"String","Value":"<a> \"b\"","Version":3},{"ARN":"arn:aws:ssm:eu-north-1:123456789012:parameter/app/db","DataType":"text","LastModifiedDate":1668586960.362,"Name":"/app/db","Selector":":live","Type":"String","Value":"ann","Version":3}],"InvalidParameters":["/none","/\"none\""]}"#,
        );
        check(&many_parameters([].iter(), &[]), r#"{"Parameters":[],"InvalidParameters":[]}"#);
    }

    #[test]
    fn secret_has_the_form_of_a_parameter() {
        let secret = Version {
            arn: "arn".into(),
            name: "app/db".into(),
            id: "v-1".into(),
            created: Some(UNIX_EPOCH + Duration::from_millis(1500)),
            content: Content::Binary(SecretValue::new(vec![7])),
            details: Details::Secret { labels: vec!["AWSCURRENT".into()] },
        };
        let secret = entry(secret, Selector::current());
        let asked = SecretParameter::of("/aws/reference/secretsmanager/app/db")
            .expect("the name must mean a secret");
        let body =
            secret_as_parameter(&secret, &asked, None).expect("the call must not need a field");
        check(
            &body,
            r#"{"ARN":"arn","LastModifiedDate":1.5,"Name":"/aws/reference/secretsmanager/app/db","SourceResult":"{\"ARN\":\"arn\",\"name\":\"app/db\",\"versionId\":\"v-1\",\"secretBinary\":{\"hb\":[7]},\"versionStages\":[\"AWSCURRENT\"],\"createdDate\":\"Jan 1, 1970, 12:00:01 AM\"}","Type":"SecureString","Version":0}"#,
        );
        assert!(secret_as_parameter(&secret, &asked, Some("user")).is_err());
    }

    fn requested(body: &str) -> RequestedPath {
        match Operation::GetParametersByPath.parse(body.as_bytes()) {
            Ok(Call::GetParametersByPath(path)) => path,
            other => panic!("unexpected call: {other:?}"),
        }
    }

    #[test]
    fn list_is_answered_page_by_page() {
        let list = |names: &[&str]| {
            let path = ParameterPath::new("/a", false, None);
            let parameters = names.iter().map(|name| version(name, "v")).collect();
            entry(Version::of_path(&path, parameters), Selector::parameter(None, None, true))
        };
        let three = list(&["/a/x", "/a/y", "/a/z"]);
        let first = page(&requested(r#"{"Path":"/a","MaxResults":2}"#), &three)
            .expect("the first page of the list must not need a token");
        let first: serde_json::Value =
            serde_json::from_slice(first.expose()).expect("the body must be JSON");
        assert_eq!(first["Parameters"].as_array().map(Vec::len), Some(2));
        let token = first["NextToken"].as_str().expect("a second page must follow");
        let second = format!(r#"{{"Path":"/a","MaxResults":2,"NextToken":"{token}"}}"#);
        check(
            &page(&requested(&second), &three).expect("the token must be valid"),
            r#"{"Parameters":[{"ARN":"arn:aws:ssm:eu-north-1:123456789012:parameter/a/z","DataType":"text","LastModifiedDate":1668586960.362,"Name":"/a/z","Type":"String","Value":"v","Version":3}]}"#,
        );
        let two = list(&["/a/x", "/a/y"]);
        let rest = page(&requested(&second), &two)
            .expect("a list that changes between two pages must not be an error");
        check(&rest, r#"{"Parameters":[]}"#);
        let other = second.replace("/a", "/b");
        assert_eq!(page(&requested(&other), &three).err(), Some(BadCall::NextToken));
        let empty = page(&requested(r#"{"Path":"/a"}"#), &list(&[]))
            .expect("the call must not need a token");
        check(&empty, r#"{"Parameters":[]}"#);
    }
}
