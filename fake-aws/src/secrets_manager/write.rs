//! The operations of Secrets Manager that change secrets.

use super::context::Context;
use super::error;
use super::plaintext::{PLAINTEXT_BYTES_MAX, Plaintext};
use super::secret::{CURRENT, Secret};
use super::secret_id::{SUFFIX_LEN, arn, check_name};
use crate::aws_json::{Response, epoch_seconds, required};
use crate::error::AwsError;
use crate::operation::Operation;
use crate::random;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The minimum number of days between a `DeleteSecret` request and the deletion of the secret.
///
/// Source: `RecoveryWindowInDays` of `DeleteSecret` in AWS's API reference.
const WINDOW_DAYS_MIN: u64 = 7;

/// The maximum number of days between a `DeleteSecret` request and the deletion of the secret.
const WINDOW_DAYS_MAX: u64 = 30;

/// The number of days between a `DeleteSecret` request and the deletion of the secret, if the
/// request contains no number.
const WINDOW_DAYS_DEFAULT: u64 = 30;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The minimum length of the parameter `ClientRequestToken` in bytes. The token becomes the version
/// id of the new version.
///
/// Source: `ClientRequestTokenType` in AWS's API reference.
const TOKEN_LEN_MIN: usize = 32;
const TOKEN_LEN_MAX: usize = 64;

/// The maximum number of staging labels (such as AWSCURRENT) in one request.
///
/// Source: `SecretVersionStagesType` in AWS's API reference.
const LABELS_MAX: usize = 20;

// The request types below do not implement `Debug`, because requests contain secret values.

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateSecret {
    name: Option<String>,
    client_request_token: Option<String>,
    description: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    tags: Option<Vec<Tag>>,
}

/// A tag in a request of `CreateSecret`. AWS allows tags without a value.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutSecretValue {
    secret_id: Option<String>,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    version_stages: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateSecret {
    secret_id: Option<String>,
    client_request_token: Option<String>,
    description: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateSecretVersionStage {
    secret_id: Option<String>,
    version_stage: Option<String>,
    remove_from_version_id: Option<String>,
    move_to_version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteSecret {
    secret_id: Option<String>,
    recovery_window_in_days: Option<u64>,
    force_delete_without_recovery: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RestoreSecret {
    secret_id: Option<String>,
}

impl Context<'_> {
    pub(crate) fn create_secret(&mut self, request: CreateSecret) -> Response {
        let name = required("name", request.name)?;
        check_name(&name)?;
        self.check_permission(Operation::CreateSecret, &name)?;
        let plaintext = plaintext(request.secret_string, request.secret_binary)?;
        let version_id = version_id(request.client_request_token)?;
        let now = self.now;
        let is_repeated = self.store.find(&name).is_ok_and(|it| it.version(&version_id).is_some());
        let secret = if is_repeated {
            self.secret_mut(Operation::CreateSecret, &name)?
        } else {
            let home = self.store.home().clone();
            self.store.create(&home, &name, now)?
        };
        secret.description = request.description.or_else(|| secret.description.take());
        let tags = request.tags.into_iter().flatten();
        secret.tags.extend(tags.map(|tag| (tag.key, tag.value.unwrap_or_default())));
        let mut response = identity(secret);
        if let Some(plaintext) = plaintext {
            secret.put(&version_id, plaintext, &[CURRENT.to_owned()], now)?;
            response["VersionId"] = json!(version_id);
        }
        Ok(response)
    }

    pub(crate) fn put_secret_value(&mut self, request: PutSecretValue) -> Response {
        let id = required("secretId", request.secret_id)?;
        let plaintext =
            plaintext(request.secret_string, request.secret_binary)?.ok_or_else(|| {
                AwsError::invalid_parameter("You must provide either SecretString or SecretBinary.")
            })?;
        let version_id = version_id(request.client_request_token)?;
        let labels = request.version_stages.unwrap_or_else(|| vec![CURRENT.to_owned()]);
        if !(1..=LABELS_MAX).contains(&labels.len()) {
            let value = format!("'[{}]'", labels.join(", "));
            let constraint = "Member must have length between 1 and 20";
            return Err(AwsError::broken_constraint("versionStages", Some(&value), constraint));
        }
        let now = self.now;
        let secret = self.secret_mut(Operation::PutSecretValue, &id)?;
        secret.put(&version_id, plaintext, &labels, now)?;
        let mut response = identity(secret);
        response["VersionId"] = json!(version_id);
        response["VersionStages"] = json!(secret.select(Some(&version_id), None)?.labels);
        Ok(response)
    }

    pub(crate) fn update_secret(&mut self, request: UpdateSecret) -> Response {
        let id = required("secretId", request.secret_id)?;
        let plaintext = plaintext(request.secret_string, request.secret_binary)?;
        let version_id = version_id(request.client_request_token)?;
        let now = self.now;
        let secret = self.secret_mut(Operation::UpdateSecret, &id)?;
        let mut response = identity(secret);
        if let Some(plaintext) = plaintext {
            secret.put(&version_id, plaintext, &[CURRENT.to_owned()], now)?;
            response["VersionId"] = json!(version_id);
        }
        if let Some(description) = request.description {
            secret.description = Some(description);
            secret.changed = now;
        }
        Ok(response)
    }

    pub(crate) fn update_secret_version_stage(
        &mut self,
        request: UpdateSecretVersionStage,
    ) -> Response {
        let id = required("secretId", request.secret_id)?;
        let label = required("versionStage", request.version_stage)?;
        let now = self.now;
        let secret = self.secret_mut(Operation::UpdateSecretVersionStage, &id)?;
        let (to, from) = (request.move_to_version_id, request.remove_from_version_id);
        secret.move_label(&label, to.as_deref(), from.as_deref(), now)?;
        Ok(identity(secret))
    }

    pub(crate) fn delete_secret(&mut self, request: DeleteSecret) -> Response {
        let id = required("secretId", request.secret_id)?;
        let force = request.force_delete_without_recovery.unwrap_or(false);
        let window = recovery_window(request.recovery_window_in_days, force)?;
        self.check_permission(Operation::DeleteSecret, &id)?;
        let (mut response, deletion) = if force {
            (self.remove(&id)?, self.now)
        } else {
            let deletion = self.now + window;
            let secret = self.store.find_mut(&id)?;
            if secret.deletion.is_some() {
                return Err(AwsError::invalid_request(
                    "You can't perform this operation on the secret because it was already \
                     scheduled for deletion.",
                ));
            }
            secret.deletion = Some(deletion);
            (identity(secret), deletion)
        };
        response["DeletionDate"] = json!(epoch_seconds(deletion));
        Ok(response)
    }

    /// Deletes a secret at once. If the secret does not exist, the function succeeds and returns an
    /// invented ARN, as AWS does.
    fn remove(&mut self, id: &str) -> Response {
        match self.store.remove(id) {
            Ok(secret) => Ok(identity(&secret)),
            Err(error) if error == error::secret_not_found() => {
                let invented = arn(self.store.home(), id, &random::alphanumerics(SUFFIX_LEN));
                Ok(json!({ "ARN": invented, "Name": id }))
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn restore_secret(&mut self, request: RestoreSecret) -> Response {
        let id = required("secretId", request.secret_id)?;
        self.check_permission(Operation::RestoreSecret, &id)?;
        let secret = self.store.find_mut(&id)?;
        secret.deletion = None;
        Ok(identity(secret))
    }
}

/// Returns the ARN and the name of a secret as a JSON object. Every response to an operation that
/// changes a secret contains these members.
fn identity(secret: &Secret) -> Value {
    json!({ "ARN": secret.arn, "Name": secret.name })
}

/// Returns the secret value in a request, or `None` if the request contains none. Returns an error
/// if the request contains both `SecretString` and `SecretBinary`.
fn plaintext(
    string: Option<String>,
    binary: Option<String>,
) -> Result<Option<Plaintext>, AwsError> {
    let (member, plaintext) = match (string, binary) {
        (None, None) => return Ok(None),
        (Some(text), None) => ("secretString", Plaintext::from(text)),
        (None, Some(text)) => {
            let bytes = Plaintext::from_base64(&text).ok_or_else(AwsError::serialization)?;
            ("secretBinary", bytes)
        }
        (Some(_), Some(_)) => {
            return Err(AwsError::invalid_parameter(
                "You can't specify both a binary secret value and a string secret value in the \
                 same secret.",
            ));
        }
    };
    let constraint = match plaintext.len() {
        0 => "Member must have length greater than or equal to 1",
        1..=PLAINTEXT_BYTES_MAX => return Ok(Some(plaintext)),
        _ => "Member must have length less than or equal to 65536",
    };
    Err(AwsError::broken_constraint(member, None, constraint))
}

/// Returns the id of the version that a request creates: the `ClientRequestToken` of the request,
/// or a random id if the request has no token.
fn version_id(token: Option<String>) -> Result<String, AwsError> {
    let Some(token) = token else { return Ok(random::uuid()) };
    if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&token.len()) {
        return Err(AwsError::invalid_parameter(
            "ClientRequestToken must be 32-64 characters long.",
        ));
    }
    Ok(token)
}

/// Returns how long a secret can still be restored after a `DeleteSecret` request. Returns AWS's
/// error if the parameters of the request contradict each other or are out of range.
fn recovery_window(days: Option<u64>, force: bool) -> Result<Duration, AwsError> {
    if days.is_some() && force {
        return Err(AwsError::invalid_parameter(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    let days = days.unwrap_or(WINDOW_DAYS_DEFAULT);
    if !(WINDOW_DAYS_MIN..=WINDOW_DAYS_MAX).contains(&days) {
        return Err(AwsError::invalid_parameter(
            "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
        ));
    }
    Ok(Duration::from_secs(days * DAY.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets_manager::tests::Account;

    const ID: &str = "11111111-1111-4111-8111-111111111111";
    const OTHER_ID: &str = "22222222-2222-4222-8222-222222222222";

    #[track_caller]
    fn current(account: &mut Account, id: &str) -> String {
        let response = account.call(Operation::GetSecretValue, json!({ "SecretId": id }));
        response["SecretString"].as_str().expect("the secret value must be a string").to_owned()
    }

    #[test]
    fn repeated_create_with_the_same_token_is_a_no_op() {
        let mut account = Account::with(&[]);
        let body = json!({ "Name": "db", "SecretString": "x", "ClientRequestToken": ID });
        let first = account.call(Operation::CreateSecret, body.clone());
        assert_eq!(first["VersionId"], ID);
        assert_eq!(account.call(Operation::CreateSecret, body), first);

        let mut rejected = |body| account.call_and_fail(Operation::CreateSecret, body).0;
        let other = json!({ "Name": "db", "SecretString": "y", "ClientRequestToken": ID });
        assert_eq!(rejected(other), "ResourceExistsException");
        let new = json!({ "Name": "db", "SecretString": "x" });
        assert_eq!(rejected(new), "ResourceExistsException");
    }

    #[test]
    fn invalid_secrets_are_not_created() {
        let mut account = Account::with(&[]);
        let mut check = |body: Value, kind: &str| {
            let (found, message) = account.call_and_fail(Operation::CreateSecret, body);
            assert_eq!(found, kind);
            assert!(!message.contains("hunter2"));
        };
        check(json!({ "SecretString": "hunter2" }), "ValidationException");
        check(json!({ "Name": "a b", "SecretString": "hunter2" }), "ValidationException");
        check(json!({ "Name": "arn:aws:x", "SecretString": "hunter2" }), "ValidationException");
        check(json!({ "Name": "a", "SecretString": "" }), "ValidationException");
        let long = "hunter2".repeat(10_000);
        check(json!({ "Name": "a", "SecretString": long }), "ValidationException");
        check(json!({ "Name": "a", "SecretBinary": "hunter2?" }), "SerializationException");
        let both = json!({ "Name": "a", "SecretString": "hunter2", "SecretBinary": "AAEC" });
        check(both, "InvalidParameterException");
        let short = json!({ "Name": "a", "SecretString": "x", "ClientRequestToken": "short" });
        check(short, "InvalidParameterException");
    }

    #[test]
    fn putting_a_value_moves_the_labels() {
        let mut account = Account::with(&[("db", "one")]);
        let body =
            json!({ "SecretId": "db", "SecretString": "two", "ClientRequestToken": OTHER_ID });
        let response = account.call(Operation::PutSecretValue, body);
        assert_eq!(response["VersionId"], OTHER_ID);
        assert_eq!(response["VersionStages"], json!(["AWSCURRENT"]));
        assert_eq!(current(&mut account, "db"), "two");
        let body = json!({ "SecretId": "db", "VersionStage": "AWSPREVIOUS" });
        assert_eq!(account.call(Operation::GetSecretValue, body)["SecretString"], "one");
    }

    #[test]
    fn pending_value_becomes_current_when_the_label_moves() {
        let mut account = Account::with(&[]);
        let body = json!({ "Name": "db", "SecretString": "one", "ClientRequestToken": ID });
        account.call(Operation::CreateSecret, body);
        let body = json!({
            "SecretId": "db",
            "SecretString": "two",
            "ClientRequestToken": OTHER_ID,
            "VersionStages": ["AWSPENDING"],
        });
        account.call(Operation::PutSecretValue, body);
        assert_eq!(current(&mut account, "db"), "one");

        let mut body = json!({
            "SecretId": "db",
            "VersionStage": "AWSCURRENT",
            "MoveToVersionId": OTHER_ID,
        });
        let (kind, _) = account.call_and_fail(Operation::UpdateSecretVersionStage, body.clone());
        assert_eq!(kind, "InvalidParameterException");
        body["RemoveFromVersionId"] = json!(ID);
        account.call(Operation::UpdateSecretVersionStage, body);
        assert_eq!(current(&mut account, "db"), "two");
    }

    #[test]
    fn update_changes_the_value_or_the_description() {
        let mut account = Account::with(&[("db", "one")]);
        let body = json!({ "SecretId": "db", "Description": "the database" });
        assert_eq!(account.call(Operation::UpdateSecret, body).get("VersionId"), None);
        let body = json!({ "SecretId": "db", "SecretString": "two" });
        assert!(account.call(Operation::UpdateSecret, body)["VersionId"].is_string());
        assert_eq!(current(&mut account, "db"), "two");
        let described = account.call(Operation::DescribeSecret, json!({ "SecretId": "db" }));
        assert_eq!(described["Description"], "the database");
    }

    #[test]
    fn secret_scheduled_for_deletion_rejects_operations_until_restored() {
        let mut account = Account::with(&[("db", "one")]);
        let body = json!({ "SecretId": "db", "RecoveryWindowInDays": 7 });
        let response = account.call(Operation::DeleteSecret, body.clone());
        assert_eq!(response["DeletionDate"], 604_801.5);
        for (operation, body) in [
            (Operation::GetSecretValue, json!({ "SecretId": "db" })),
            (Operation::PutSecretValue, json!({ "SecretId": "db", "SecretString": "x" })),
            (Operation::UpdateSecret, json!({ "SecretId": "db", "SecretString": "x" })),
            (Operation::DeleteSecret, body),
            (Operation::CreateSecret, json!({ "Name": "db", "SecretString": "x" })),
        ] {
            assert_eq!(account.call_and_fail(operation, body).0, "InvalidRequestException");
        }
        account.call(Operation::RestoreSecret, json!({ "SecretId": "db" }));
        assert_eq!(current(&mut account, "db"), "one");
    }

    #[test]
    fn forced_deletion_is_immediate_and_idempotent() {
        let mut account = Account::with(&[("db", "one")]);
        let body = json!({ "SecretId": "db", "ForceDeleteWithoutRecovery": true });
        account.call(Operation::DeleteSecret, body.clone());
        let (kind, _) =
            account.call_and_fail(Operation::GetSecretValue, json!({ "SecretId": "db" }));
        assert_eq!(kind, "ResourceNotFoundException");
        assert_eq!(account.call(Operation::DeleteSecret, body)["Name"], "db");
    }

    #[test]
    fn invalid_recovery_windows_are_rejected() {
        let mut account = Account::with(&[("db", "one")]);
        for (days, force) in [(6, false), (31, false), (7, true)] {
            let body = json!({
                "SecretId": "db",
                "RecoveryWindowInDays": days,
                "ForceDeleteWithoutRecovery": force,
            });
            let (kind, _) = account.call_and_fail(Operation::DeleteSecret, body);
            assert_eq!(kind, "InvalidParameterException");
        }
    }
}
