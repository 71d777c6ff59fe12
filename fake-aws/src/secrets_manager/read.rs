//! The operations `GetSecretValue` and `DescribeSecret`.

use super::context::Context;
use super::error;
use super::secret::{Secret, Version};
use crate::aws_json::{Response, epoch_seconds, required};
use crate::error::AwsError;
use crate::operation::Operation;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetSecretValue {
    secret_id: Option<String>,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeSecret {
    secret_id: Option<String>,
}

impl Context<'_> {
    pub(crate) fn get_secret_value(&self, request: GetSecretValue) -> Response {
        let id = required("secretId", request.secret_id)?;
        self.value(&id, request.version_id.as_deref(), request.version_stage.as_deref())
    }

    /// Reads one version of a secret and returns the version as JSON. This JSON is the response of
    /// `GetSecretValue`, and one entry in the response of `BatchGetSecretValue`.
    pub(crate) fn value(
        &self,
        id: &str,
        version_id: Option<&str>,
        label: Option<&str>,
    ) -> Response {
        let secret = self.readable_secret(id)?;
        let version = secret.select(version_id, label)?;
        self.check_key(id)?;
        Ok(value_entry(secret, version))
    }

    /// Returns a secret whose value the caller may read. Returns AWS's error if the caller has no
    /// permission, or if the secret is missing or scheduled for deletion.
    pub(crate) fn readable_secret(&self, id: &str) -> Result<&Secret, AwsError> {
        self.check_permission(Operation::GetSecretValue, id)?;
        let secret = self.store.find(id)?;
        if secret.deletion.is_some() {
            return Err(error::marked_for_deletion());
        }
        Ok(secret)
    }

    /// Returns AWS's error if a test has made the KMS key of the secret unusable.
    pub(crate) fn check_key(&self, id: &str) -> Result<(), AwsError> {
        if self.policy.is_key_broken(&self.store.aliases(id)) {
            return Err(error::decryption_failure());
        }
        Ok(())
    }

    pub(crate) fn describe_secret(&self, request: DescribeSecret) -> Response {
        let id = required("secretId", request.secret_id)?;
        self.check_permission(Operation::DescribeSecret, &id)?;
        let mut response = metadata(self.store.find(&id)?, "VersionIdsToStages");
        response.insert("RotationEnabled".to_owned(), json!(false));
        Ok(Value::Object(response))
    }
}

fn value_entry(secret: &Secret, version: &Version) -> Value {
    let (key, plaintext) = version.plaintext.to_member();
    json!({
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": version.id,
        key: plaintext,
        "VersionStages": version.labels,
        "CreatedDate": epoch_seconds(version.created),
    })
}

/// Returns the metadata of a secret as JSON, without secret values.
///
/// `labels_key` is the JSON key for the staging labels. `DescribeSecret` and `ListSecrets` use
/// different keys.
pub(crate) fn metadata(secret: &Secret, labels_key: &str) -> Map<String, Value> {
    let labels: Map<String, Value> = secret
        .labelled_versions()
        .map(|version| (version.id.clone(), json!(version.labels)))
        .collect();
    let members = [
        ("ARN", Some(json!(secret.arn))),
        ("Name", Some(json!(secret.name))),
        ("Description", secret.description.as_ref().map(|it| json!(it))),
        ("Tags", (!secret.tags.is_empty()).then(|| tags(secret))),
        ("CreatedDate", Some(json!(epoch_seconds(secret.created)))),
        ("LastChangedDate", Some(json!(epoch_seconds(secret.changed)))),
        ("DeletedDate", secret.deletion.map(|it| json!(epoch_seconds(it)))),
        (labels_key, (!labels.is_empty()).then_some(Value::Object(labels))),
    ];
    members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn tags(secret: &Secret) -> Value {
    secret.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Resource;
    use crate::secrets_manager::tests::Account;

    #[test]
    fn response_contains_the_value_and_its_version() {
        let mut account = Account::with(&[("db", "one")]);
        let response = account.call(Operation::GetSecretValue, json!({ "SecretId": "db" }));
        let arn = account.store.find("db").expect("the secret `db` must exist").arn.clone();
        let version = account
            .store
            .find("db")
            .expect("the secret `db` must exist")
            .version_with_label("AWSCURRENT")
            .expect("the secret must have a current version");
        let expected = json!({
            "ARN": arn,
            "Name": "db",
            "VersionId": version.id,
            "SecretString": "one",
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": 1.5,
        });
        assert_eq!(response, expected);
    }

    #[test]
    fn binary_value_is_sent_as_base64() {
        let mut account = Account::with(&[]);
        let body = json!({ "Name": "key", "SecretBinary": "AAEC" });
        account.call(Operation::CreateSecret, body);
        let response = account.call(Operation::GetSecretValue, json!({ "SecretId": "key" }));
        assert_eq!(response["SecretBinary"], "AAEC");
        assert_eq!(response.get("SecretString"), None);
    }

    #[test]
    fn unreadable_values_fail_with_the_errors_of_aws() {
        let mut account = Account::with(&[("db", "one"), ("gone", "two"), ("locked", "three")]);
        account.call(Operation::CreateSecret, json!({ "Name": "empty" }));
        account.call(Operation::DeleteSecret, json!({ "SecretId": "gone" }));
        account.policy.set_key_broken(Resource::secret("locked"), true);
        let mut check = |body: Value, kind: &str, message: &str| {
            let error = account.call_and_fail(Operation::GetSecretValue, body);
            assert_eq!((error.0.as_str(), error.1.as_str()), (kind, message));
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
    fn description_lists_versions_and_contains_no_value() {
        let mut account = Account::with(&[("db", "hunter2")]);
        account.call(
            Operation::PutSecretValue,
            json!({ "SecretId": "db", "SecretString": "hunter3" }),
        );
        let response = account.call(Operation::DescribeSecret, json!({ "SecretId": "db" }));
        assert_eq!(response["Name"], "db");
        assert_eq!(response["RotationEnabled"], false);
        assert_eq!(response["LastChangedDate"], 1.5);
        assert_eq!(response.get("DeletedDate"), None);
        let stages = response["VersionIdsToStages"]
            .as_object()
            .expect("`VersionIdsToStages` must be a JSON object");
        let mut stages: Vec<_> = stages.values().map(ToString::to_string).collect();
        stages.sort();
        assert_eq!(stages, [r#"["AWSCURRENT"]"#, r#"["AWSPREVIOUS"]"#]);
        assert!(!response.to_string().contains("hunter"));
    }

    #[test]
    fn secret_scheduled_for_deletion_can_be_described() {
        let mut account = Account::with(&[("db", "x")]);
        account
            .call(Operation::DeleteSecret, json!({ "SecretId": "db", "RecoveryWindowInDays": 7 }));
        let response = account.call(Operation::DescribeSecret, json!({ "SecretId": "db" }));
        assert_eq!(response["DeletedDate"], 604_801.5);
    }
}
