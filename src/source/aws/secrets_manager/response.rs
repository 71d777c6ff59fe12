//! Parses responses of Secrets Manager.
//!
//! A response contains secret values, so no error quotes a response. Each value is copied only
//! once, into memory of its final size.

use crate::secret::arn::Arn;
use crate::secret::json_text;
use crate::secret::reference::SecretId;
use crate::secret::service::Service;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Details, Version};
use crate::source::FetchError;
use crate::source::aws::aws_error;
use crate::source::aws::json_response::{Body, parsed, required};
use crate::source::aws::timestamp::from_seconds;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::SystemTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) is_enabled: bool,
    /// When AWS last rotated the secret, or `None` if AWS reports no time.
    pub(crate) last: Option<SystemTime>,
}

/// The secrets and the errors in a response of `BatchGetSecretValue`. Their order can differ from
/// the order in the request, because AWS does not promise to keep that order.
pub(super) struct Batch {
    pub(super) secrets: Vec<BatchSecret>,
    pub(super) errors: Vec<SecretError>,
    /// The token for requesting the next page. `None` if this page is the last.
    pub(super) next_token: Option<Box<str>>,
}

/// The name of a secret in a batch, and its current version. `version` is an error if the response
/// lacks a part of the version, such as its id, or if the value is not valid.
pub(super) struct BatchSecret {
    pub(super) name: Option<Box<str>>,
    pub(super) version: Result<Version, FetchError>,
}

/// An error of AWS about one secret of a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretError {
    pub(super) secret_id: Option<Box<str>>,
    error_code: Option<Box<str>>,
    message: Option<Box<str>>,
}

/// A response of `ListSecrets`, which contains one page of the list of secrets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) secret_list: Option<Vec<ListedSecret>>,
    /// The token for requesting the next page. `None` or empty if this page is the last.
    pub(super) next_token: Option<Box<str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedSecret {
    pub(super) name: Option<Box<str>>,
    pub(super) tags: Option<Vec<Tag>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeResponse {
    rotation_enabled: Option<bool>,
    /// Seconds since 1970, with milliseconds as a fraction.
    last_rotated_date: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchResponse<'a> {
    #[serde(borrow)]
    secret_values: Option<Vec<Entry<'a>>>,
    errors: Option<Vec<SecretError>>,
    next_token: Option<Box<str>>,
}

/// One version of a secret in a response. The values are borrowed from the response, so that they
/// are not copied.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(rename = "ARN")]
    arn: Option<Box<str>>,
    name: Option<Box<str>>,
    version_id: Option<Box<str>>,
    version_stages: Option<Vec<Box<str>>>,
    /// When this version was created: seconds since 1970, with milliseconds as a fraction.
    created_date: Option<f64>,
    #[serde(borrow)]
    secret_string: Option<&'a RawValue>,
    #[serde(borrow)]
    secret_binary: Option<&'a RawValue>,
}

pub(super) fn single(body: &Body) -> Result<Version, FetchError> {
    let entry: Entry<'_> = parsed(body, Service::SecretsManager)?;
    entry.try_into()
}

pub(super) fn batch(body: &Body) -> Result<Batch, FetchError> {
    let response: BatchResponse<'_> = parsed(body, Service::SecretsManager)?;
    let entries = response.secret_values.unwrap_or_default().into_iter();
    let secret =
        |entry: Entry<'_>| BatchSecret { name: entry.name.clone(), version: entry.try_into() };
    Ok(Batch {
        secrets: entries.map(secret).collect(),
        errors: response.errors.unwrap_or_default(),
        next_token: response.next_token.filter(|token| !token.is_empty()),
    })
}

pub(super) fn listed(body: &Body) -> Result<Listed, FetchError> {
    parsed(body, Service::SecretsManager)
}

pub(super) fn rotation(body: &Body) -> Result<Rotation, FetchError> {
    let response: DescribeResponse = parsed(body, Service::SecretsManager)?;
    Ok(Rotation {
        is_enabled: response.rotation_enabled.unwrap_or(false),
        last: response.last_rotated_date.and_then(from_seconds),
    })
}

impl Batch {
    /// Returns the current version of the secret `id` from the response, or the error that AWS
    /// reported for this secret.
    pub(super) fn result_for(&self, id: &SecretId) -> Result<Version, FetchError> {
        let is_wanted = |version: &&Version| {
            Arn::parse(&version.arn).is_ok_and(|arn| id.means(&arn, &version.name))
        };
        let mut versions = self.secrets.iter().filter_map(|secret| secret.version.as_ref().ok());
        if let Some(version) = versions.find(is_wanted) {
            return Ok(version.clone());
        }
        let error =
            self.errors.iter().find(|error| error.secret_id.as_deref() == Some(id.as_str()));
        Err(error.map_or_else(aws_error::missing_in_batch, FetchError::from))
    }
}

impl From<&SecretError> for FetchError {
    fn from(error: &SecretError) -> Self {
        aws_error::from_code(error.error_code.as_deref(), error.message.as_deref(), None)
    }
}

impl TryFrom<Entry<'_>> for Version {
    type Error = FetchError;

    fn try_from(entry: Entry<'_>) -> Result<Self, FetchError> {
        Ok(Self {
            content: required(content(&entry), "secret value")?,
            arn: required(entry.arn, "ARN")?,
            name: required(entry.name, "name")?,
            id: required(entry.version_id, "version id")?,
            details: Details::Secret { labels: entry.version_stages.unwrap_or_default() },
            created: entry.created_date.and_then(from_seconds),
        })
    }
}

/// Returns the value of a secret. Returns `None` if the response has no value, or if its value is
/// neither a JSON string nor Base64 in a JSON string.
fn content(entry: &Entry<'_>) -> Option<Content> {
    if let Some(text) = entry.secret_string {
        let text = json_text::decoded(text)?.into_owned();
        return Some(Content::Text(SecretValue::from(text)));
    }
    let base64 = json_text::decoded(entry.secret_binary?)?;
    Some(Content::Binary(SecretValue::new(STANDARD.decode(&*base64).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FetchErrorKind;
    use crate::source::aws::json_response::body;
    use bytes::Bytes;
    use std::time::Duration;

    fn ok(json: &str) -> Body {
        let response = hyper::Response::new(Bytes::from(json.to_owned()));
        body(response, Service::SecretsManager, 1000)
            .expect("a successful response must have a body")
    }

    #[test]
    fn all_parts_of_a_version_are_read() {
        let version =
            single(&ok(r#"{"ARN": "arn", "CreatedDate": 1.569534789046E9, "Name": "app/db",
            "SecretString": "a\"\n\ud83d\ude00", "SecretBinary": null, "VersionId": "v1",
            "VersionStages": ["AWSCURRENT", "x"], "Novel": [null]}"#))
            .expect("the response must be complete");
        assert_eq!((&*version.arn, &*version.name, &*version.id), ("arn", "app/db", "v1"));
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_569_534_789_046);
        assert_eq!(version.created, Some(created));
        let Details::Secret { labels } = version.details else { panic!("it must be a secret") };
        assert_eq!(labels.iter().map(|own| &**own).collect::<Vec<_>>(), ["AWSCURRENT", "x"]);
        let Content::Text(value) = version.content else { panic!("the value must be text") };
        assert_eq!(value.expose(), "a\"\n\u{1f600}".as_bytes());
    }

    #[test]
    fn binary_value_is_decoded_from_base64() {
        let version =
            single(&ok(r#"{"ARN": "a", "Name": "n", "VersionId": "v", "SecretBinary": "AP8\/"}"#))
                .expect("the response must be complete");
        let Content::Binary(value) = version.content else { panic!("the value must be binary") };
        assert_eq!(value.expose(), [0, 255, 63]);
        let Details::Secret { labels } = version.details else { panic!("it must be a secret") };
        assert!(labels.is_empty());
        assert_eq!(version.created, None);
    }

    #[test]
    fn unusable_response_is_unreadable_and_never_quoted() {
        for (json, expected) in [
            ("hunter2", "could not be read"),
            (r#"{"SecretString": "hunter2", "CreatedDate": "x"}"#, "could not be read"),
            (r#"{"ARN": "a", "Name": "n", "VersionId": "v"}"#, "no secret value"),
            (
                r#"{"ARN": "a", "Name": "n", "VersionId": "v", "SecretString": 7}"#,
                "no secret value",
            ),
            (
                r#"{"ARN": "a", "Name": "n", "VersionId": "v", "SecretBinary": "hunter2"}"#,
                "no secret value",
            ),
            (r#"{"Name": "n", "VersionId": "v", "SecretString": "hunter2"}"#, "no ARN"),
            (r#"{"ARN": "a", "VersionId": "v", "SecretString": "hunter2"}"#, "no name"),
            (r#"{"ARN": "a", "Name": "n", "SecretString": "hunter2"}"#, "no version id"),
        ] {
            let error = single(&ok(json)).expect_err("an unusable response must cause an error");
            assert_eq!(error.kind, FetchErrorKind::Unreadable, "{json}");
            assert!(error.message.contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn batch_has_a_result_for_each_secret() {
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        let json = format!(
            r#"{{"SecretValues": [
                    {{"ARN": "{arn}", "Name": "app/db", "VersionId": "v", "SecretString": "x"}},
                    {{"ARN": "{arn}", "Name": "app/incomplete", "SecretString": "x"}}],
                "Errors": [{{"SecretId": "app/gone", "ErrorCode": "ResourceNotFoundException"}}],
                "NextToken": ""}}"#
        );
        let batch = batch(&ok(&json)).expect("the response must be complete");
        assert_eq!(batch.next_token, None);
        let result = |id: &str| {
            batch.result_for(&SecretId::parse(id).expect("the name or ARN must be valid"))
        };
        assert_eq!(result("app/db").map(|version| version.id).ok(), Some("v".into()));
        assert_eq!(result(arn).map(|version| version.id).ok(), Some("v".into()));
        let kind = |id: &str| result(id).err().map(|error| error.kind);
        assert_eq!(kind("app/gone"), Some(FetchErrorKind::NotFound));
        assert_eq!(kind("app/incomplete"), Some(FetchErrorKind::Unreadable));
        assert_eq!(kind("app/unmentioned"), Some(FetchErrorKind::Unreadable));
    }

    #[test]
    fn rotation_is_read() {
        let on = rotation(&ok(r#"{"RotationEnabled": true, "LastRotatedDate": 1.5E9}"#));
        let last = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000));
        assert_eq!(on.ok(), Some(Rotation { is_enabled: true, last }));
        let off = rotation(&ok(r#"{"Name": "n", "LastRotatedDate": null}"#));
        assert_eq!(off.ok(), Some(Rotation { is_enabled: false, last: None }));
    }

    #[test]
    fn listed_names_and_tags_are_read() {
        let listed = listed(&ok(r#"{"SecretList":[{"ARN":"a","Name":"app/db","CreatedDate":1.5,
            "Tags":[{"Key":"channel","Value":"sms"}]},{"Name":"b","Tags":null},{}]}"#))
        .expect("the response must be valid");
        let secrets = listed.secret_list.expect("the page must have secrets");
        let names: Vec<_> = secrets.iter().map(|own| own.name.as_deref()).collect();
        assert_eq!(names, [Some("app/db"), Some("b"), None]);
        let tags = secrets[0].tags.as_ref().expect("the secret must have tags");
        assert_eq!(tags[0].value.as_deref(), Some("sms"));
        assert_eq!(listed.next_token, None);
    }
}
