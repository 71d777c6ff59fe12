//! Converts responses of the AWS SDK to Sidekey's own types.

use crate::secret::arn::Arn;
use crate::secret::reference::SecretId;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Details, Version};
use crate::source::FetchError;
use crate::source::aws::sdk_error;
use crate::source::aws::timestamp::to_system_time;
use aws_sdk_secretsmanager::operation::batch_get_secret_value::BatchGetSecretValueOutput;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::types::{ApiErrorType, SecretValueEntry};
use aws_smithy_types::{Blob, DateTime};
use std::time::SystemTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) is_enabled: bool,
    /// When AWS last rotated the secret, or `None` if AWS reports no time.
    pub(crate) last: Option<SystemTime>,
}

impl From<DescribeSecretOutput> for Rotation {
    fn from(response: DescribeSecretOutput) -> Self {
        Self {
            is_enabled: response.rotation_enabled.unwrap_or(false),
            last: response.last_rotated_date.and_then(to_system_time),
        }
    }
}

/// The members of an AWS response that describe one version of a secret. `GetSecretValue` and
/// `BatchGetSecretValue` both return these members, but the AWS SDK has a different type for each
/// operation.
struct VersionParts {
    arn: Option<String>,
    name: Option<String>,
    id: Option<String>,
    labels: Option<Vec<String>>,
    created: Option<DateTime>,
    text: Option<String>,
    binary: Option<Blob>,
}

pub(super) fn single_version(response: GetSecretValueOutput) -> Result<Version, FetchError> {
    to_version(VersionParts {
        arn: response.arn,
        name: response.name,
        id: response.version_id,
        labels: response.version_stages,
        created: response.created_date,
        text: response.secret_string,
        binary: response.secret_binary,
    })
}

pub(super) fn batch_version(entry: SecretValueEntry) -> Result<Version, FetchError> {
    to_version(VersionParts {
        arn: entry.arn,
        name: entry.name,
        id: entry.version_id,
        labels: entry.version_stages,
        created: entry.created_date,
        text: entry.secret_string,
        binary: entry.secret_binary,
    })
}

/// The secrets and the errors in a response of `BatchGetSecretValue`. Their order can differ from
/// the order in the request, because AWS does not promise to keep that order.
pub(super) struct Batch {
    versions: Vec<Version>,
    errors: Vec<ApiErrorType>,
}

impl From<BatchGetSecretValueOutput> for Batch {
    fn from(response: BatchGetSecretValueOutput) -> Self {
        let entries = response.secret_values.unwrap_or_default().into_iter();
        Self {
            versions: entries.filter_map(|entry| batch_version(entry).ok()).collect(),
            errors: response.errors.unwrap_or_default(),
        }
    }
}

impl Batch {
    /// Returns the current version of the secret `id` from the response, or the error that AWS
    /// reported for this secret.
    pub(super) fn result_for(&self, id: &SecretId) -> Result<Version, FetchError> {
        let is_wanted = |version: &&Version| {
            Arn::parse(&version.arn).is_ok_and(|arn| id.means(&arn, &version.name))
        };
        if let Some(version) = self.versions.iter().find(is_wanted) {
            return Ok(version.clone());
        }
        let error = self.errors.iter().find(|error| error.secret_id() == Some(id.as_str()));
        Err(error.map_or_else(sdk_error::missing_in_batch, |error| {
            sdk_error::from_code(error.error_code(), error.message(), None)
        }))
    }
}

fn to_version(parts: VersionParts) -> Result<Version, FetchError> {
    let content = match (parts.text, parts.binary) {
        (Some(text), _) => Content::Text(SecretValue::from(text)),
        (None, Some(binary)) => Content::Binary(SecretValue::new(binary.into_inner())),
        (None, None) => {
            return Err(sdk_error::unreadable("the response of AWS contains no secret value"));
        }
    };
    Ok(Version {
        arn: required(parts.arn, "ARN")?,
        name: required(parts.name, "name")?,
        id: required(parts.id, "version id")?,
        details: Details::Secret {
            labels: parts
                .labels
                .unwrap_or_default()
                .into_iter()
                .map(String::into_boxed_str)
                .collect(),
        },
        created: parts.created.and_then(to_system_time),
        content,
    })
}

fn required(part: Option<String>, name: &str) -> Result<Box<str>, FetchError> {
    part.map(String::into_boxed_str)
        .ok_or_else(|| sdk_error::unreadable(&format!("the response of AWS contains no {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FetchErrorKind;

    #[test]
    fn incomplete_response_is_unreadable_and_the_message_names_the_missing_part() {
        let parts = |text: Option<&str>, arn: Option<&str>| VersionParts {
            arn: arn.map(str::to_owned),
            name: Some("n".to_owned()),
            id: Some("v".to_owned()),
            labels: None,
            created: None,
            text: text.map(str::to_owned),
            binary: None,
        };
        for (parts, expected) in
            [(parts(None, Some("a")), "no secret value"), (parts(Some("x"), None), "no ARN")]
        {
            let error = to_version(parts).expect_err("an incomplete response must cause an error");
            assert_eq!(error.kind, FetchErrorKind::Unreadable);
            assert!(error.message.contains(expected), "{error}");
        }
    }
}
