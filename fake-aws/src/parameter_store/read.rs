//! The operations `GetParameter` and `GetParameters`.

use super::ciphertext::ciphertext;
use super::context::Context;
use super::error;
use super::parameter::{Parameter, Version};
use super::parameter_id::ParameterId;
use super::parameter_value::ParameterType;
use crate::aws_json::{Response, epoch_seconds, required};
use crate::error::AwsError;
use crate::operation::Operation;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The maximum number of names in one `GetParameters` request.
///
/// Source: `ParameterNameList` in AWS's API reference.
const NAMES_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetParameter {
    name: Option<String>,
    with_decryption: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetParameters {
    names: Option<Vec<String>>,
    with_decryption: Option<bool>,
}

impl Context<'_> {
    pub(crate) fn get_parameter(&self, request: GetParameter) -> Response {
        let name = required("name", request.name)?;
        let decrypts = request.with_decryption.unwrap_or(false);
        let entry = self.entry_by_name(Operation::GetParameter, &name, decrypts)?;
        Ok(json!({ "Parameter": entry }))
    }

    /// Reads several parameters. The member `InvalidParameters` of the response lists missing and
    /// malformed names. Any other error fails the whole call.
    pub(crate) fn get_parameters(&self, request: GetParameters) -> Response {
        let names = required("names", request.names)?;
        check_size(&names)?;
        let decrypts = request.with_decryption.unwrap_or(false);
        // The parameters are sorted by name and have no duplicates. AWS does not promise the order
        // of the request, so a client that relies on this order must fail in tests too.
        let mut entries = BTreeMap::new();
        let mut invalid: Vec<String> = Vec::new();
        for name in names {
            match self.entry_by_name(Operation::GetParameters, &name, decrypts) {
                Ok(entry) => {
                    entries
                        .insert((entry["Name"].to_string(), entry["Selector"].to_string()), entry);
                }
                Err(error) if is_about_the_name(&error) => {
                    if !invalid.contains(&name) {
                        invalid.push(name);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let entries: Vec<Value> = entries.into_values().collect();
        Ok(json!({ "Parameters": entries, "InvalidParameters": invalid }))
    }

    fn entry_by_name(&self, operation: Operation, name: &str, decrypts: bool) -> Response {
        let id = ParameterId::parse(name)?;
        if let Some(secret_id) = id.secret_id() {
            if !decrypts {
                return Err(AwsError::validation(
                    "WithDecryption flag must be True for retrieving a Secret Manager secret.",
                ));
            }
            self.check_permission(operation, name)?;
            return self.referenced_secret(&id, secret_id);
        }
        self.check_permission(operation, name)?;
        let parameter = self.store.find(&id)?;
        let version = parameter.select(id.selector)?;
        let mut entry = self.entry(parameter, version, decrypts)?;
        if let Some(selector) = id.selector {
            entry["Selector"] = json!(format!(":{selector}"));
        }
        Ok(entry)
    }

    /// Returns one version of a parameter as JSON. The responses of all operations that read
    /// parameters contain this JSON.
    pub(crate) fn entry(
        &self,
        parameter: &Parameter,
        version: &Version,
        decrypts: bool,
    ) -> Response {
        let content = &version.content;
        let text = content.value.text();
        let value = match (content.value.kind(), decrypts) {
            (ParameterType::SecureString, false) => {
                ciphertext(&parameter.arn, content.write, text.len())
            }
            (ParameterType::SecureString, true) => {
                self.check_key(&parameter.arn)?;
                text.to_owned()
            }
            _ => text.to_owned(),
        };
        Ok(json!({
            "ARN": parameter.arn,
            "DataType": content.data_type,
            "LastModifiedDate": epoch_seconds(content.modified),
            "Name": parameter.name,
            "Type": content.value.kind().name(),
            "Value": value,
            "Version": version.number,
        }))
    }

    /// Returns AWS's error if a test has made the KMS key of a parameter unusable. `id` is the name
    /// or ARN of the parameter.
    pub(crate) fn check_key(&self, id: &str) -> Result<(), AwsError> {
        if self.policy.is_key_broken(&self.store.aliases(id)) {
            return Err(error::unusable_key(self.store.home()));
        }
        Ok(())
    }
}

fn check_size(names: &[String]) -> Result<(), AwsError> {
    let constraint = match names.len() {
        0 => "Member must have length greater than or equal to 1",
        1..=NAMES_MAX => return Ok(()),
        _ => "Member must have length less than or equal to 10",
    };
    let value = format!("'[{}]'", names.join(", "));
    Err(AwsError::broken_constraint("names", Some(&value), constraint))
}

/// Returns whether `GetParameters` lists the name in `InvalidParameters` because of this error. All
/// other errors fail the whole call.
fn is_about_the_name(error: &AwsError) -> bool {
    ["ParameterNotFound", "ParameterVersionNotFound", "ValidationException"]
        .contains(&error.kind.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;
    use crate::parameter_store::parameter_value::ParameterValue;
    use crate::parameter_store::tests::Account;
    use crate::resource::Resource;

    const URL_ARN: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";

    fn account() -> Account {
        let mut account = Account::default();
        account.put("/app/url", "one");
        account.put("/app/hosts", ParameterValue::list(["a", "b"]));
        account.put("/app/password", ParameterValue::secure("hunter2"));
        account
    }

    #[track_caller]
    fn get(account: &mut Account, name: &str) -> Value {
        let body = json!({ "Name": name, "WithDecryption": true });
        account.call(Operation::GetParameter, body)["Parameter"].take()
    }

    #[test]
    fn response_contains_the_value_and_its_version() {
        let expected = json!({
            "ARN": URL_ARN,
            "DataType": "text",
            "LastModifiedDate": 1.5,
            "Name": "/app/url",
            "Type": "String",
            "Value": "one",
            "Version": 1,
        });
        assert_eq!(get(&mut account(), "/app/url"), expected);
        assert_eq!(get(&mut account(), URL_ARN), expected);
    }

    #[test]
    fn list_is_one_string_with_commas() {
        let entry = get(&mut account(), "/app/hosts");
        assert_eq!((&entry["Type"], &entry["Value"]), (&json!("StringList"), &json!("a,b")));
    }

    #[test]
    fn secure_string_is_a_ciphertext_without_decryption() {
        let mut account = account();
        assert_eq!(get(&mut account, "/app/password")["Value"], "hunter2");
        let body = json!({ "Name": "/app/password" });
        let entry = account.call(Operation::GetParameter, body.clone())["Parameter"].take();
        assert_eq!(entry["Type"], "SecureString");
        assert!(
            entry["Value"].as_str().is_some_and(|value| value.starts_with("AQICAH")),
            "{entry}"
        );
        assert_eq!(account.call(Operation::GetParameter, body)["Parameter"], entry);
    }

    #[test]
    fn selector_is_returned_without_the_name() {
        let mut account = account();
        account.put("/app/url", "two");
        let body = json!({ "Name": "/app/url", "ParameterVersion": 1, "Labels": ["live"] });
        account.call(Operation::LabelParameterVersion, body);
        for (name, selector, value) in [
            ("/app/url", Value::Null, "two"),
            ("/app/url:1", json!(":1"), "one"),
            ("/app/url:live", json!(":live"), "one"),
            (&format!("{URL_ARN}:2"), json!(":2"), "two"),
        ] {
            let entry = get(&mut account, name);
            assert_eq!((&entry["Selector"], &entry["Value"]), (&selector, &json!(value)), "{name}");
            assert_eq!(entry["Name"], "/app/url");
        }
    }

    #[test]
    fn unreadable_parameters_fail_with_the_errors_of_aws() {
        let mut account = account();
        account.policy.set_denied(Resource::parameter("/app/url"), true);
        account.policy.set_key_broken(Resource::parameter("/app/password"), true);
        let mut check = |body: Value, kind: &str, message: &str| {
            let error = account.call_and_fail(Operation::GetParameter, body);
            assert_eq!((error.0.as_str(), error.1.as_str()), (kind, message));
        };
        check(json!({ "Name": "/app/absent" }), "ParameterNotFound", "");
        check(
            json!({ "Name": "/app/hosts:7" }),
            "ParameterVersionNotFound",
            "Systems Manager could not find version 7 of /app/hosts. Verify the version and try \
             again.",
        );
        check(
            json!({ "Name": "/app/url" }),
            "AccessDeniedException",
            "User: arn:aws:sts::123456789012:assumed-role/fake-aws/session is not authorized to \
             perform: ssm:GetParameter on resource: \
             arn:aws:ssm:eu-north-1:123456789012:parameter/app/url because no identity-based policy \
             allows the ssm:GetParameter action",
        );
        check(
            json!({ "Name": "/app/password", "WithDecryption": true }),
            "InvalidKeyId",
            "arn:aws:kms:eu-north-1:123456789012:key/11111111-2222-4333-8444-555555555555 is \
             disabled.",
        );
        check(
            json!({}),
            "ValidationException",
            "1 validation error detected: Value null at 'name' failed to satisfy constraint: \
             Member must not be null",
        );
        // AWS needs no KMS key to return a ciphertext.
        account.call(Operation::GetParameter, json!({ "Name": "/app/password" }));
    }

    #[test]
    fn key_of_a_parameter_in_another_account_can_be_broken() {
        let mut account = account();
        let location = Location::new("999988887777", "us-east-1");
        let value = ParameterValue::secure("hunter3");
        let now = std::time::SystemTime::UNIX_EPOCH;
        account
            .store
            .put(&location, "/app/password", value, "text", now)
            .expect("storing the version of the parameter must succeed");
        let arn = "arn:aws:ssm:us-east-1:999988887777:parameter/app/password";
        assert_eq!(get(&mut account, arn)["Value"], "hunter3");
        account.policy.set_key_broken(Resource::parameter(arn), true);
        let body = json!({ "Name": arn, "WithDecryption": true });
        assert_eq!(account.call_and_fail(Operation::GetParameter, body).0, "InvalidKeyId");
        assert_eq!(get(&mut account, "/app/password")["Value"], "hunter2");
    }

    #[test]
    fn unknown_and_malformed_names_are_listed_as_invalid() {
        let mut account = account();
        account.put("/app/url", "two");
        let names = ["/app/url", "/app/absent", "/app/url:9", "/app/url:1", "a b", "/app/absent"];
        let body = json!({ "Names": names, "WithDecryption": true });
        let response = account.call(Operation::GetParameters, body);
        assert_eq!(response["InvalidParameters"], json!(["/app/absent", "/app/url:9", "a b"]));
        let values: Vec<_> = response["Parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| &it["Value"])
            .collect();
        assert_eq!(values, ["one", "two"]);
    }

    #[test]
    fn parameters_are_sorted_and_returned_once() {
        let names = ["/app/url", "/app/hosts", URL_ARN, "/app/url"];
        let response = account().call(Operation::GetParameters, json!({ "Names": names }));
        let names: Vec<_> =
            response["Parameters"].as_array().into_iter().flatten().map(|it| &it["Name"]).collect();
        assert_eq!(names, ["/app/hosts", "/app/url"]);
    }

    #[test]
    fn denied_or_encrypted_parameter_fails_the_whole_call() {
        let mut account = account();
        account.policy.set_key_broken(Resource::parameter("/app/password"), true);
        let body = json!({ "Names": ["/app/url", "/app/password"], "WithDecryption": true });
        let (kind, _) = account.call_and_fail(Operation::GetParameters, body.clone());
        assert_eq!(kind, "InvalidKeyId");
        account.policy.set_denied(Resource::parameter(URL_ARN), true);
        let (kind, message) = account.call_and_fail(Operation::GetParameters, body);
        assert_eq!(kind, "AccessDeniedException");
        assert!(message.contains("ssm:GetParameters on resource: "), "{message}");
    }

    #[test]
    fn request_has_one_to_ten_names() {
        for names in [vec![], vec!["x"; 11]] {
            let body = json!({ "Names": names });
            let (kind, _) = account().call_and_fail(Operation::GetParameters, body);
            assert_eq!(kind, "ValidationException");
        }
    }
}
