//! `GetSecretValue` and `DescribeSecret`.

use super::{Answer, Api, epoch_seconds, required};
use crate::source::double::error::AwsError;
use crate::source::double::operation::Operation;
use crate::source::double::secret::{Secret, Version};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSecretValue {
    secret_id: Option<String>,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeSecret {
    secret_id: Option<String>,
}

impl Api<'_> {
    pub(super) fn get_secret_value(&self, asked: GetSecretValue) -> Answer {
        let id = required("secretId", asked.secret_id)?;
        let (id_of_version, stage) = (asked.version_id.as_deref(), asked.version_stage.as_deref());
        self.value(&id, id_of_version, stage)
    }

    /// Reads one version of a secret: what one `GetSecretValue` answers, and what each entry of a
    /// batch is.
    pub(super) fn value(&self, id: &str, version: Option<&str>, stage: Option<&str>) -> Answer {
        self.permit(Operation::GetSecretValue, id)?;
        let secret = self.store.find(id)?;
        if secret.deletion.is_some() {
            return Err(AwsError::marked_for_deletion());
        }
        let version = secret.select(version, stage)?;
        self.policy.check_key(&self.store.aliases(id))?;
        Ok(value_of(secret, version))
    }

    pub(super) fn describe_secret(&self, asked: DescribeSecret) -> Answer {
        let id = required("secretId", asked.secret_id)?;
        self.permit(Operation::DescribeSecret, &id)?;
        let secret = self.store.find(&id)?;
        let mut answer = description(secret, "VersionIdsToStages");
        answer.insert("RotationEnabled".to_owned(), json!(false));
        Ok(Value::Object(answer))
    }
}

fn value_of(secret: &Secret, version: &Version) -> Value {
    let (key, plaintext) = version.plaintext.to_member();
    json!({
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": version.id,
        key: plaintext,
        "VersionStages": version.stages,
        "CreatedDate": epoch_seconds(version.created),
    })
}

/// Returns what is known of a secret beside its values. The key of the versions' labels differs
/// between the operations.
pub(super) fn description(secret: &Secret, key_of_stages: &str) -> Map<String, Value> {
    let stages: Map<String, Value> =
        secret.labelled().map(|version| (version.id.clone(), json!(version.stages))).collect();
    let members = [
        ("ARN", Some(json!(secret.arn))),
        ("Name", Some(json!(secret.name))),
        ("Description", secret.description.as_ref().map(|it| json!(it))),
        ("CreatedDate", Some(json!(epoch_seconds(secret.created)))),
        ("LastChangedDate", Some(json!(epoch_seconds(secret.changed)))),
        ("DeletedDate", secret.deletion.map(|it| json!(epoch_seconds(it)))),
        (key_of_stages, (!stages.is_empty()).then_some(Value::Object(stages))),
    ];
    members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Account;
    use super::*;

    #[test]
    fn a_value_comes_with_its_version() {
        let mut account = Account::with(&[("db", "one")]);
        let answer = account.ask(Operation::GetSecretValue, json!({ "SecretId": "db" }));
        let arn = account.store.find("db").expect("db").arn.clone();
        let version = account.store.find("db").expect("db").at("AWSCURRENT").expect("a version");
        let expected = json!({
            "ARN": arn,
            "Name": "db",
            "VersionId": version.id,
            "SecretString": "one",
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": 1.5,
        });
        assert_eq!(answer, expected);
    }

    #[test]
    fn binary_values_are_base64() {
        let mut account = Account::with(&[]);
        let body = json!({ "Name": "key", "SecretBinary": "AAEC" });
        account.ask(Operation::CreateSecret, body);
        let answer = account.ask(Operation::GetSecretValue, json!({ "SecretId": "key" }));
        assert_eq!(answer["SecretBinary"], "AAEC");
        assert_eq!(answer.get("SecretString"), None);
    }

    #[test]
    fn values_that_are_not_handed_out() {
        let mut account = Account::with(&[("db", "one"), ("gone", "two"), ("locked", "three")]);
        account.ask(Operation::CreateSecret, json!({ "Name": "empty" }));
        account.ask(Operation::DeleteSecret, json!({ "SecretId": "gone" }));
        account.policy.break_key("locked", true);
        let mut check = |body: Value, kind: &str, words: &str| {
            let refused = account.refused(Operation::GetSecretValue, body);
            assert_eq!((refused.0.as_str(), refused.1.as_str()), (kind, words));
        };
        check(
            json!({ "SecretId": "absent" }),
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret.",
        );
        check(
            json!({ "SecretId": "db", "VersionStage": "AWSPENDING" }),
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret value for staging label: AWSPENDING",
        );
        check(
            json!({ "SecretId": "empty" }),
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
        );
        check(
            json!({ "SecretId": "db", "VersionId": "no-such-version" }),
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret value for VersionId: no-such-version",
        );
        check(
            json!({ "SecretId": "gone" }),
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
        );
        check(
            json!({ "SecretId": "locked" }),
            "DecryptionFailure",
            "Secrets Manager can't decrypt the protected secret text using the provided KMS key.",
        );
        check(
            json!({}),
            "ValidationException",
            "1 validation error detected: Value null at 'secretId' failed to satisfy constraint: \
             Member must not be null",
        );
    }

    #[test]
    fn a_description_has_the_versions_and_no_value() {
        let mut account = Account::with(&[("db", "hunter2")]);
        account
            .ask(Operation::PutSecretValue, json!({ "SecretId": "db", "SecretString": "hunter3" }));
        let answer = account.ask(Operation::DescribeSecret, json!({ "SecretId": "db" }));
        assert_eq!(answer["Name"], "db");
        assert_eq!(answer["RotationEnabled"], false);
        assert_eq!(answer["LastChangedDate"], 1.5);
        assert_eq!(answer.get("DeletedDate"), None);
        let stages = answer["VersionIdsToStages"].as_object().expect("an object");
        let mut stages: Vec<_> = stages.values().map(ToString::to_string).collect();
        stages.sort();
        assert_eq!(stages, [r#"["AWSCURRENT"]"#, r#"["AWSPREVIOUS"]"#]);
        assert!(!answer.to_string().contains("hunter"));
    }

    #[test]
    fn a_description_outlives_the_mark_for_deletion() {
        let mut account = Account::with(&[("db", "x")]);
        account
            .ask(Operation::DeleteSecret, json!({ "SecretId": "db", "RecoveryWindowInDays": 7 }));
        let answer = account.ask(Operation::DescribeSecret, json!({ "SecretId": "db" }));
        assert_eq!(answer["DeletedDate"], 604_801.5);
    }
}
