//! Secrets of Secrets Manager that requests read as parameters, by the name
//! `/aws/reference/secretsmanager/` and the id of the secret.

use super::context::Context;
use super::parameter_id::ParameterId;
use crate::aws_json::{Response, epoch_seconds};
use crate::error::AwsError;
use crate::secrets_manager::plaintext::Plaintext;
use crate::secrets_manager::secret::{Secret, Version};
use serde::Serialize;
use serde_json::json;
use std::time::SystemTime;
use time::OffsetDateTime;

/// The member `SourceResult` of a response. If a request reads a secret through Parameter Store,
/// this member describes the secret and the version that was read. Parameter Store sends this JSON
/// as a string.
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
    secret_binary: Option<BinaryDump<'a>>,
    version_stages: &'a [String],
    created_date: String,
}

/// The bytes of a binary secret, in the form in which Parameter Store sends them: as a Java buffer
/// that was converted to JSON.
#[derive(Serialize)]
struct BinaryDump<'a> {
    hb: &'a [u8],
    offset: usize,
}

impl Context<'_> {
    /// Reads a secret, and returns it in the form of a parameter. The response omits the value of a
    /// binary secret.
    pub(crate) fn referenced_secret(&self, id: &ParameterId<'_>, secret_id: &str) -> Response {
        let (secret, version) = self
            .select_secret(secret_id, id.selector)
            .map_err(|error| reference_error(&error, id))?;
        let mut entry = json!({
            "ARN": secret.arn,
            "LastModifiedDate": epoch_seconds(version.created),
            "Name": id.name,
            "SourceResult": source_result(secret, version),
            "Type": "SecureString",
            "Version": 0,
        });
        if let Plaintext::Text(text) = &version.plaintext {
            entry["Value"] = json!(text);
        }
        if let Some(selector) = id.selector {
            entry["Selector"] = json!(format!(":{selector}"));
        }
        Ok(entry)
    }

    fn select_secret(
        &self,
        secret_id: &str,
        selector: Option<&str>,
    ) -> Result<(&Secret, &Version), AwsError> {
        let secret = self.secrets.readable_secret(secret_id)?;
        let version = match selector.and_then(|selector| secret.version(selector)) {
            Some(version) => version,
            None => secret.select(None, selector)?,
        };
        self.secrets.check_key(secret_id)?;
        Ok((secret, version))
    }
}

/// Converts an error of Secrets Manager to the error that Parameter Store returns instead.
fn reference_error(error: &AwsError, id: &ParameterId<'_>) -> AwsError {
    let referencing = |kind: &'static str, message: &str| {
        let prefix = format!("An error occurred ({kind}) when referencing Secrets Manager: ");
        AwsError::new(kind, prefix + message)
    };
    match error.kind.as_ref() {
        // AWS writes the name without the slash at its beginning, and `null` for a missing
        // selector.
        "ResourceNotFoundException" => {
            let name = id.name.trim_start_matches('/');
            let selector = id.selector.map_or_else(|| "null".to_owned(), |it| format!(":{it}"));
            referencing("ParameterNotFound", &format!("Secret {name}{selector} not found."))
        }
        "InvalidRequestException" => AwsError::validation("Invalid Request to Secrets Manager"),
        "DecryptionFailure" => referencing("InvalidKeyId", &error.message),
        "AccessDeniedException" => referencing("AccessDeniedException", &error.message),
        _ => error.clone(),
    }
}

fn source_result(secret: &Secret, version: &Version) -> String {
    let (secret_string, secret_binary) = match &version.plaintext {
        Plaintext::Text(text) => (Some(text.as_str()), None),
        Plaintext::Binary(bytes) => (None, Some(BinaryDump { hb: bytes, offset: 0 })),
    };
    let source = SourceResult {
        arn: &secret.arn,
        name: &secret.name,
        version_id: &version.id,
        secret_string,
        secret_binary,
        version_stages: &version.labels,
        created_date: date(version.created),
    };
    serde_json::to_string(&source)
        .expect("the secret that a parameter name refers to must be serializable as JSON")
}

/// Formats a time in the form `Nov 16, 2022, 8:22:40 AM`, in UTC.
fn date(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let month = &time.month().to_string()[..3];
    let (hour, am_or_pm) = match time.hour() {
        hour @ 0..=11 => (hour, "AM"),
        hour => (hour - 12, "PM"),
    };
    let hour = if hour == 0 { 12 } else { hour };
    let (day, year, minute, second) = (time.day(), time.year(), time.minute(), time.second());
    format!("{month} {day}, {year}, {hour}:{minute:02}:{second:02} {am_or_pm}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Operation;
    use crate::parameter_store::tests::Account;
    use crate::resource::Resource;
    use serde_json::Value;
    use std::time::Duration;

    const PREFIX: &str = "/aws/reference/secretsmanager/";

    #[track_caller]
    fn get(account: &mut Account, id: &str) -> Value {
        let body = json!({ "Name": format!("{PREFIX}{id}"), "WithDecryption": true });
        account.call(Operation::GetParameter, body)["Parameter"].take()
    }

    #[test]
    fn secret_has_the_form_of_a_parameter() {
        let mut account = Account::default();
        let (arn, version) = account.create_secret("app/db", "hunter2");
        let source = format!(
            r#"{{"ARN":"{arn}","name":"app/db","versionId":"{version}","secretString":"hunter2","versionStages":["AWSCURRENT"],"createdDate":"Jan 1, 1970, 12:00:01 AM"}}"#
        );
        let expected = json!({
            "ARN": arn,
            "LastModifiedDate": 1.5,
            "Name": "/aws/reference/secretsmanager/app/db",
            "SourceResult": source,
            "Type": "SecureString",
            "Value": "hunter2",
            "Version": 0,
        });
        assert_eq!(get(&mut account, "app/db"), expected);
        let body = json!({ "Names": [format!("{PREFIX}app/db")], "WithDecryption": true });
        let response = account.call(Operation::GetParameters, body);
        assert_eq!(response["Parameters"], json!([expected]));
    }

    #[test]
    fn binary_secret_has_no_value() {
        let mut account = Account::default();
        account.create_secret("key", vec![0, 255]);
        let entry = get(&mut account, "key");
        assert_eq!(entry.get("Value"), None);
        let source =
            entry["SourceResult"].as_str().expect("the member `SourceResult` must be a string");
        assert!(source.contains(r#""secretBinary":{"hb":[0,255],"offset":0}"#), "{source}");
    }

    #[test]
    fn selector_is_a_staging_label_or_a_version_id() {
        let mut account = Account::default();
        let (_, first) = account.create_secret("db", "one");
        account.put_secret("db", "two");
        for (selector, value) in
            [("AWSCURRENT", "two"), ("AWSPREVIOUS", "one"), (first.as_str(), "one")]
        {
            let entry = get(&mut account, &format!("db:{selector}"));
            assert_eq!(entry["Selector"], format!(":{selector}"));
            assert_eq!(
                (&entry["Value"], &entry["Name"]),
                (&json!(value), &json!(format!("{PREFIX}db")))
            );
        }
    }

    #[test]
    fn unreadable_secrets_fail_with_the_errors_of_parameter_store() {
        let mut account = Account::default();
        for name in ["db", "deleted", "denied", "locked"] {
            account.create_secret(name, "hunter2");
        }
        account.delete_secret("deleted");
        account.policy.set_denied(Resource::secret("denied"), true);
        account.policy.set_key_broken(Resource::secret("locked"), true);
        let mut check = |id: &str, decrypts: bool, kind: &str, message: &str| {
            let body = json!({ "Name": format!("{PREFIX}{id}"), "WithDecryption": decrypts });
            let (found, text) = account.call_and_fail(Operation::GetParameter, body);
            assert_eq!(found, kind, "{id}");
            assert!(text.starts_with(message), "{text}");
        };
        check(
            "absent",
            true,
            "ParameterNotFound",
            "An error occurred (ParameterNotFound) when referencing Secrets Manager: Secret \
             aws/reference/secretsmanager/absentnull not found.",
        );
        check(
            "db:none",
            true,
            "ParameterNotFound",
            "An error occurred (ParameterNotFound) when referencing Secrets Manager: Secret \
             aws/reference/secretsmanager/db:none not found.",
        );
        check(
            "db",
            false,
            "ValidationException",
            "WithDecryption flag must be True for retrieving a Secret Manager secret.",
        );
        check("db:a:b", false, "ValidationException", "Invalid parameter name.");
        check("deleted", true, "ValidationException", "Invalid Request to Secrets Manager");
        let denied =
            "An error occurred (AccessDeniedException) when referencing Secrets Manager: User";
        check("denied", true, "AccessDeniedException", denied);
        check("locked", true, "InvalidKeyId", "An error occurred (InvalidKeyId) when referencing");
    }

    #[test]
    fn date_has_twelve_hours() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        };
        check(1_668_586_960, "Nov 16, 2022, 8:22:40 AM");
        check(0, "Jan 1, 1970, 12:00:00 AM");
        check(43_199, "Jan 1, 1970, 11:59:59 AM");
        check(43_200, "Jan 1, 1970, 12:00:00 PM");
        check(46_800, "Jan 1, 1970, 1:00:00 PM");
    }
}
