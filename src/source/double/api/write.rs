//! The operations that change secrets.

use super::{Answer, Api, epoch_seconds, required};
use crate::source::double::address::{SUFFIX_LEN, check_name};
use crate::source::double::draw;
use crate::source::double::error::AwsError;
use crate::source::double::operation::Operation;
use crate::source::double::plaintext::{PLAINTEXT_BYTES_MAX, Plaintext};
use crate::source::double::secret::{CURRENT, Secret};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a marked secret is kept, in days: at least, at most, and where nobody says.
const WINDOW_DAYS_MIN: u64 = 7;
const WINDOW_DAYS_MAX: u64 = 30;
const WINDOW_DAYS_DEFAULT: u64 = 30;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a `ClientRequestToken` is, which becomes the version's id.
const TOKEN_LEN_MIN: usize = 32;
const TOKEN_LEN_MAX: usize = 64;

/// How many labels one request may give.
const STAGES_MAX: usize = 20;

// These requests carry plaintexts as they came, so none has a `Debug`.

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateSecret {
    name: Option<String>,
    client_request_token: Option<String>,
    description: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutSecretValue {
    secret_id: Option<String>,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    version_stages: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateSecret {
    secret_id: Option<String>,
    client_request_token: Option<String>,
    description: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateSecretVersionStage {
    secret_id: Option<String>,
    version_stage: Option<String>,
    remove_from_version_id: Option<String>,
    move_to_version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteSecret {
    secret_id: Option<String>,
    recovery_window_in_days: Option<u64>,
    force_delete_without_recovery: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RestoreSecret {
    secret_id: Option<String>,
}

impl Api<'_> {
    pub(super) fn create_secret(&mut self, asked: CreateSecret) -> Answer {
        let name = required("name", asked.name)?;
        check_name(&name)?;
        self.permit(Operation::CreateSecret, &name)?;
        let plaintext = plaintext(asked.secret_string, asked.secret_binary)?;
        let version_id = version_id(asked.client_request_token)?;
        let now = self.now;
        let again = self.store.find(&name).is_ok_and(|it| it.version(&version_id).is_some());
        let secret = if again {
            self.open_mut(Operation::CreateSecret, &name)?
        } else {
            let home = self.store.home().clone();
            self.store.create(&home, &name, now)?
        };
        secret.description = asked.description.or_else(|| secret.description.take());
        let mut answer = identity(secret);
        if let Some(plaintext) = plaintext {
            secret.put(&version_id, plaintext, &[CURRENT.to_owned()], now)?;
            answer["VersionId"] = json!(version_id);
        }
        Ok(answer)
    }

    pub(super) fn put_secret_value(&mut self, asked: PutSecretValue) -> Answer {
        let id = required("secretId", asked.secret_id)?;
        let plaintext = plaintext(asked.secret_string, asked.secret_binary)?.ok_or_else(|| {
            AwsError::parameter("You must provide either SecretString or SecretBinary.")
        })?;
        let version_id = version_id(asked.client_request_token)?;
        let stages = asked.version_stages.unwrap_or_else(|| vec![CURRENT.to_owned()]);
        if !(1..=STAGES_MAX).contains(&stages.len()) {
            let value = format!("'[{}]'", stages.join(", "));
            let constraint = "have length between 1 and 20";
            return Err(AwsError::constraint("versionStages", Some(&value), constraint));
        }
        let now = self.now;
        let secret = self.open_mut(Operation::PutSecretValue, &id)?;
        secret.put(&version_id, plaintext, &stages, now)?;
        let mut answer = identity(secret);
        answer["VersionId"] = json!(version_id);
        answer["VersionStages"] = json!(secret.select(Some(&version_id), None)?.stages);
        Ok(answer)
    }

    pub(super) fn update_secret(&mut self, asked: UpdateSecret) -> Answer {
        let id = required("secretId", asked.secret_id)?;
        let plaintext = plaintext(asked.secret_string, asked.secret_binary)?;
        let version_id = version_id(asked.client_request_token)?;
        let now = self.now;
        let secret = self.open_mut(Operation::UpdateSecret, &id)?;
        let mut answer = identity(secret);
        if let Some(plaintext) = plaintext {
            secret.put(&version_id, plaintext, &[CURRENT.to_owned()], now)?;
            answer["VersionId"] = json!(version_id);
        }
        if let Some(description) = asked.description {
            secret.description = Some(description);
            secret.changed = now;
        }
        Ok(answer)
    }

    pub(super) fn update_secret_version_stage(
        &mut self,
        asked: UpdateSecretVersionStage,
    ) -> Answer {
        let id = required("secretId", asked.secret_id)?;
        let stage = required("versionStage", asked.version_stage)?;
        let now = self.now;
        let secret = self.open_mut(Operation::UpdateSecretVersionStage, &id)?;
        let (to, from) = (asked.move_to_version_id, asked.remove_from_version_id);
        secret.move_stage(&stage, to.as_deref(), from.as_deref(), now)?;
        Ok(identity(secret))
    }

    pub(super) fn delete_secret(&mut self, asked: DeleteSecret) -> Answer {
        let id = required("secretId", asked.secret_id)?;
        let force = asked.force_delete_without_recovery.unwrap_or(false);
        let window = window(asked.recovery_window_in_days, force)?;
        self.permit(Operation::DeleteSecret, &id)?;
        let (mut answer, deletion) = if force {
            (self.remove(&id)?, self.now)
        } else {
            let deletion = self.now + window;
            let secret = self.store.find_mut(&id)?;
            if secret.deletion.is_some() {
                return Err(AwsError::request(
                    "You can't perform this operation on the secret because it was already \
                     scheduled for deletion.",
                ));
            }
            secret.deletion = Some(deletion);
            (identity(secret), deletion)
        };
        answer["DeletionDate"] = json!(epoch_seconds(deletion));
        Ok(answer)
    }

    /// Takes a secret away at once. One that is not there is no error, says AWS: the answer then
    /// makes an ARN up.
    fn remove(&mut self, id: &str) -> Answer {
        match self.store.remove(id) {
            Ok(secret) => Ok(identity(&secret)),
            Err(error) if error == AwsError::no_secret() => {
                let arn = self.store.home().arn(id, &draw::alphanumerics(SUFFIX_LEN));
                Ok(json!({ "ARN": arn, "Name": id }))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn restore_secret(&mut self, asked: RestoreSecret) -> Answer {
        let id = required("secretId", asked.secret_id)?;
        self.permit(Operation::RestoreSecret, &id)?;
        let secret = self.store.find_mut(&id)?;
        secret.deletion = None;
        Ok(identity(secret))
    }
}

/// Returns what every answer about a changed secret starts with.
fn identity(secret: &Secret) -> Value {
    json!({ "ARN": secret.arn, "Name": secret.name })
}

/// Reads the value in a request, which may be in one of two members.
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
            return Err(AwsError::parameter(
                "You can't specify both a binary secret value and a string secret value in the \
                 same secret.",
            ));
        }
    };
    let constraint = match plaintext.len() {
        0 => "have length greater than or equal to 1",
        1..=PLAINTEXT_BYTES_MAX => return Ok(Some(plaintext)),
        _ => "have length less than or equal to 65536",
    };
    Err(AwsError::constraint(member, None, constraint))
}

/// Returns the id of the version that a request makes: its token, or a new one.
fn version_id(token: Option<String>) -> Result<String, AwsError> {
    let Some(token) = token else { return Ok(draw::uuid()) };
    if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&token.len()) {
        return Err(AwsError::parameter("ClientRequestToken must be 32-64 characters long."));
    }
    Ok(token)
}

/// Returns how long a deleted secret can be restored.
fn window(days: Option<u64>, force: bool) -> Result<Duration, AwsError> {
    if days.is_some() && force {
        return Err(AwsError::parameter(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    let days = days.unwrap_or(WINDOW_DAYS_DEFAULT);
    if !(WINDOW_DAYS_MIN..=WINDOW_DAYS_MAX).contains(&days) {
        return Err(AwsError::parameter(
            "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
        ));
    }
    Ok(Duration::from_secs(days * DAY.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Account;
    use super::*;

    const ID: &str = "11111111-1111-4111-8111-111111111111";
    const OTHER_ID: &str = "22222222-2222-4222-8222-222222222222";

    #[track_caller]
    fn current(account: &mut Account, id: &str) -> String {
        let answer = account.ask(Operation::GetSecretValue, json!({ "SecretId": id }));
        answer["SecretString"].as_str().expect("text").to_owned()
    }

    #[test]
    fn a_secret_is_created_once_and_the_same_request_again_is_no_error() {
        let mut account = Account::with(&[]);
        let body = json!({ "Name": "db", "SecretString": "x", "ClientRequestToken": ID });
        let first = account.ask(Operation::CreateSecret, body.clone());
        assert_eq!(first["VersionId"], ID);
        assert_eq!(account.ask(Operation::CreateSecret, body), first);

        let mut refused = |body| account.refused(Operation::CreateSecret, body).0;
        let other = json!({ "Name": "db", "SecretString": "y", "ClientRequestToken": ID });
        assert_eq!(refused(other), "ResourceExistsException");
        let new = json!({ "Name": "db", "SecretString": "x" });
        assert_eq!(refused(new), "ResourceExistsException");
    }

    #[test]
    fn secrets_that_are_not_created() {
        let mut account = Account::with(&[]);
        let mut check = |body: Value, kind: &str| {
            let (found, message) = account.refused(Operation::CreateSecret, body);
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
        let answer = account.ask(Operation::PutSecretValue, body);
        assert_eq!(answer["VersionId"], OTHER_ID);
        assert_eq!(answer["VersionStages"], json!(["AWSCURRENT"]));
        assert_eq!(current(&mut account, "db"), "two");
        let body = json!({ "SecretId": "db", "VersionStage": "AWSPREVIOUS" });
        assert_eq!(account.ask(Operation::GetSecretValue, body)["SecretString"], "one");
    }

    #[test]
    fn a_pending_value_becomes_current_when_its_label_moves() {
        let mut account = Account::with(&[]);
        let body = json!({ "Name": "db", "SecretString": "one", "ClientRequestToken": ID });
        account.ask(Operation::CreateSecret, body);
        let body = json!({
            "SecretId": "db",
            "SecretString": "two",
            "ClientRequestToken": OTHER_ID,
            "VersionStages": ["AWSPENDING"],
        });
        account.ask(Operation::PutSecretValue, body);
        assert_eq!(current(&mut account, "db"), "one");

        let mut body = json!({
            "SecretId": "db",
            "VersionStage": "AWSCURRENT",
            "MoveToVersionId": OTHER_ID,
        });
        let (kind, _) = account.refused(Operation::UpdateSecretVersionStage, body.clone());
        assert_eq!(kind, "InvalidParameterException");
        body["RemoveFromVersionId"] = json!(ID);
        account.ask(Operation::UpdateSecretVersionStage, body);
        assert_eq!(current(&mut account, "db"), "two");
    }

    #[test]
    fn an_update_changes_the_value_or_the_description() {
        let mut account = Account::with(&[("db", "one")]);
        let body = json!({ "SecretId": "db", "Description": "the database" });
        assert_eq!(account.ask(Operation::UpdateSecret, body).get("VersionId"), None);
        let body = json!({ "SecretId": "db", "SecretString": "two" });
        assert!(account.ask(Operation::UpdateSecret, body)["VersionId"].is_string());
        assert_eq!(current(&mut account, "db"), "two");
        let described = account.ask(Operation::DescribeSecret, json!({ "SecretId": "db" }));
        assert_eq!(described["Description"], "the database");
    }

    #[test]
    fn a_marked_secret_refuses_everything_until_it_is_restored() {
        let mut account = Account::with(&[("db", "one")]);
        let body = json!({ "SecretId": "db", "RecoveryWindowInDays": 7 });
        let answer = account.ask(Operation::DeleteSecret, body.clone());
        assert_eq!(answer["DeletionDate"], 604_801.5);
        for (operation, body) in [
            (Operation::GetSecretValue, json!({ "SecretId": "db" })),
            (Operation::PutSecretValue, json!({ "SecretId": "db", "SecretString": "x" })),
            (Operation::UpdateSecret, json!({ "SecretId": "db", "SecretString": "x" })),
            (Operation::DeleteSecret, body),
            (Operation::CreateSecret, json!({ "Name": "db", "SecretString": "x" })),
        ] {
            assert_eq!(account.refused(operation, body).0, "InvalidRequestException");
        }
        account.ask(Operation::RestoreSecret, json!({ "SecretId": "db" }));
        assert_eq!(current(&mut account, "db"), "one");
    }

    #[test]
    fn a_forced_deletion_is_at_once_and_never_in_vain() {
        let mut account = Account::with(&[("db", "one")]);
        let body = json!({ "SecretId": "db", "ForceDeleteWithoutRecovery": true });
        account.ask(Operation::DeleteSecret, body.clone());
        let (kind, _) = account.refused(Operation::GetSecretValue, json!({ "SecretId": "db" }));
        assert_eq!(kind, "ResourceNotFoundException");
        assert_eq!(account.ask(Operation::DeleteSecret, body)["Name"], "db");
    }

    #[test]
    fn recovery_windows_that_are_refused() {
        let mut account = Account::with(&[("db", "one")]);
        for (days, force) in [(6, false), (31, false), (7, true)] {
            let body = json!({
                "SecretId": "db",
                "RecoveryWindowInDays": days,
                "ForceDeleteWithoutRecovery": force,
            });
            let (kind, _) = account.refused(Operation::DeleteSecret, body);
            assert_eq!(kind, "InvalidParameterException");
        }
    }
}
