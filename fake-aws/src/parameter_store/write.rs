//! The operations of Parameter Store that change parameters.

use super::context::Context;
use super::parameter::DATA_TYPE_DEFAULT;
use super::parameter_id::{ParameterId, check_new_name};
use super::parameter_value::{ParameterType, ParameterValue};
use crate::aws_json::{Response, required};
use crate::error::AwsError;
use crate::operation::Operation;
use serde::Deserialize;
use serde_json::json;

/// The maximum length of a parameter's value in the standard tier, in bytes.
///
/// Source: `Maximum size for a standard parameter` in AWS's list of Parameter Store quotas.
const STANDARD_BYTES_MAX: usize = 4_096;

/// The maximum length of a parameter's value in the advanced tier, in bytes.
///
/// Source: `Maximum size for an advanced parameter` in AWS's list of Parameter Store quotas.
pub(crate) const ADVANCED_BYTES_MAX: usize = 8_192;

/// The maximum length of a label in bytes.
///
/// Source: `ParameterLabel` in AWS's API reference.
const LABEL_LEN_MAX: usize = 100;

/// The maximum number of labels in one request.
///
/// Source: `ParameterLabelList` in AWS's API reference.
const LABELS_MAX: usize = 10;

// The request type below does not implement `Debug`, because requests contain values.

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutParameter {
    name: Option<String>,
    value: Option<String>,
    #[serde(rename = "Type")]
    kind: Option<String>,
    overwrite: Option<bool>,
    tier: Option<String>,
    data_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteParameter {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LabelParameterVersion {
    name: Option<String>,
    parameter_version: Option<u64>,
    labels: Option<Vec<String>>,
}

impl Context<'_> {
    pub(crate) fn put_parameter(&mut self, request: PutParameter) -> Response {
        let name = required("name", request.name)?;
        let text = required("value", request.value)?;
        let kind = request.kind.as_deref().map(parameter_type).transpose()?;
        let tier = tier(request.tier.as_deref().unwrap_or("Standard"), &text)?;
        check_new_name(&name)?;
        self.check_permission(Operation::PutParameter, &name)?;
        let id = ParameterId::parse(&name)?;
        let existing = self.store.find(&id).ok().map(|parameter| &parameter.latest().content);
        if existing.is_some() && !request.overwrite.unwrap_or(false) {
            return Err(AwsError::new(
                "ParameterAlreadyExists",
                "The parameter already exists. To overwrite this value, set the overwrite option in \
                 the request to true.",
            ));
        }
        let kind = kind.or_else(|| existing.map(|content| content.value.kind()));
        let kind = kind.ok_or_else(|| {
            AwsError::validation("A parameter type is required when you create a parameter.")
        })?;
        let data_type = request
            .data_type
            .or_else(|| existing.map(|content| content.data_type.clone()))
            .unwrap_or_else(|| DATA_TYPE_DEFAULT.to_owned());
        if kind == ParameterType::SecureString {
            self.check_key(&name)?;
        }
        let home = self.store.home().clone();
        let value = ParameterValue::new(kind, text);
        let number = self.store.put(&home, &name, value, &data_type, self.now)?;
        Ok(json!({ "Tier": tier, "Version": number }))
    }

    pub(crate) fn delete_parameter(&mut self, request: DeleteParameter) -> Response {
        let name = required("name", request.name)?;
        let id = ParameterId::parse(&name)?;
        self.check_permission(Operation::DeleteParameter, &name)?;
        self.store.remove(&id)?;
        Ok(json!({}))
    }

    /// Moves labels to a version. The member `InvalidLabels` of the response lists the labels that
    /// AWS does not accept.
    pub(crate) fn label_parameter_version(&mut self, request: LabelParameterVersion) -> Response {
        let name = required("name", request.name)?;
        let labels = required("labels", request.labels)?;
        check_labels(&labels)?;
        let id = ParameterId::parse(&name)?;
        self.check_permission(Operation::LabelParameterVersion, &name)?;
        let (valid, invalid): (Vec<_>, Vec<_>) =
            labels.into_iter().partition(|label| is_valid_label(label));
        let parameter = self.store.find_mut(&id)?;
        let number = parameter.attach(&valid, request.parameter_version)?;
        Ok(json!({ "InvalidLabels": invalid, "ParameterVersion": number }))
    }
}

fn parameter_type(name: &str) -> Result<ParameterType, AwsError> {
    ParameterType::named(name).ok_or_else(|| {
        let constraint = "Member must satisfy enum value set: [SecureString, StringList, String]";
        AwsError::broken_constraint("type", Some(&format!("'{name}'")), constraint)
    })
}

/// Returns the tier (standard or advanced) of a new version. Returns AWS's error if the value is
/// empty or too long for the tier in the request.
fn tier(requested: &str, text: &str) -> Result<&'static str, AwsError> {
    let is_long = text.len() > STANDARD_BYTES_MAX;
    check_value(text)?;
    match (requested, is_long) {
        ("Standard" | "Intelligent-Tiering", false) => Ok("Standard"),
        ("Intelligent-Tiering", true) | ("Advanced", _) => Ok("Advanced"),
        ("Standard", true) => Err(AwsError::validation(
            "Standard tier parameters support a maximum parameter value of 4096 characters. To \
             create a larger parameter value, upgrade the parameter to use the advanced-parameter \
             tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/\
             userguide/parameter-store-advanced-parameters.html",
        )),
        _ => {
            let constraint =
                "Member must satisfy enum value set: [Standard, Advanced, Intelligent-Tiering]";
            Err(AwsError::broken_constraint("tier", Some(&format!("'{requested}'")), constraint))
        }
    }
}

/// Returns AWS's error if a value is empty, or too long for the advanced tier.
pub(crate) fn check_value(text: &str) -> Result<(), AwsError> {
    let (value, constraint) = match text.len() {
        0 => (Some("''"), "Member must have length greater than or equal to 1"),
        1..=ADVANCED_BYTES_MAX => return Ok(()),
        _ => (None, "Member must have length less than or equal to 8192"),
    };
    Err(AwsError::broken_constraint("value", value, constraint))
}

fn check_labels(labels: &[String]) -> Result<(), AwsError> {
    let constraint = match labels.len() {
        0 => "Member must have length greater than or equal to 1",
        1..=LABELS_MAX => return Ok(()),
        _ => "Member must have length less than or equal to 10",
    };
    let value = format!("'[{}]'", labels.join(", "));
    Err(AwsError::broken_constraint("labels", Some(&value), constraint))
}

/// Returns whether AWS accepts a label: the label must contain only letters, digits and `.-_`, and
/// must not start with a digit, `aws` or `ssm`.
pub(crate) fn is_valid_label(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    (1..=LABEL_LEN_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        && !label.starts_with(|first: char| first.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_store::tests::Account;
    use crate::resource::Resource;
    use serde_json::Value;

    const PUT: Operation = Operation::PutParameter;

    #[track_caller]
    fn value(account: &mut Account, name: &str) -> Value {
        let body = json!({ "Name": name, "WithDecryption": true });
        account.call(Operation::GetParameter, body)["Parameter"]["Value"].take()
    }

    #[test]
    fn put_creates_a_parameter_and_adds_versions() {
        let mut account = Account::default();
        let first = json!({ "Name": "/a", "Value": "one", "Type": "SecureString" });
        let response = account.call(PUT, first.clone());
        assert_eq!(response, json!({ "Tier": "Standard", "Version": 1 }));
        assert_eq!(account.call_and_fail(PUT, first).0, "ParameterAlreadyExists");
        let second = json!({ "Name": "/a", "Value": "two", "Overwrite": true });
        assert_eq!(account.call(PUT, second)["Version"], 2);
        assert_eq!(
            (value(&mut account, "/a"), value(&mut account, "/a:1")),
            (json!("two"), json!("one"))
        );
        let entry = account.call(Operation::GetParameter, json!({ "Name": "/a" }));
        assert_eq!(entry["Parameter"]["Type"], "SecureString");
    }

    #[test]
    fn data_type_is_kept() {
        let mut account = Account::default();
        let mut body =
            json!({ "Name": "/ami", "Value": "x", "Type": "String", "DataType": "aws:ec2:image" });
        account.call(PUT, body.clone());
        body = json!({ "Name": "/ami", "Value": body["Value"], "Overwrite": true });
        account.call(PUT, body);
        let entry = account.call(Operation::GetParameter, json!({ "Name": "/ami" }));
        assert_eq!(entry["Parameter"]["DataType"], "aws:ec2:image");
    }

    #[test]
    fn tier_limits_the_length_of_the_value() {
        let mut account = Account::default();
        let mut put = |tier: &str, bytes: usize| {
            let body = json!({
                "Name": "/a", "Value": "x".repeat(bytes), "Type": "String", "Tier": tier,
                "Overwrite": true,
            });
            account.try_call(PUT, body).map(|it| it["Tier"].clone()).map_err(|it| it.kind)
        };
        assert_eq!(put("Standard", 4_096), Ok(json!("Standard")));
        assert_eq!(put("Standard", 4_097), Err("ValidationException".into()));
        assert_eq!(put("Intelligent-Tiering", 4_096), Ok(json!("Standard")));
        assert_eq!(put("Intelligent-Tiering", 4_097), Ok(json!("Advanced")));
        assert_eq!(put("Advanced", 8_192), Ok(json!("Advanced")));
        assert_eq!(put("Advanced", 8_193), Err("ValidationException".into()));
        assert_eq!(put("Premium", 1), Err("ValidationException".into()));
    }

    #[test]
    fn invalid_parameters_are_not_created() {
        let mut account = Account::default();
        account.policy.set_key_broken(Resource::parameter("/locked"), true);
        let mut check = |body: Value, kind: &str| {
            let (found, message) = account.call_and_fail(PUT, body);
            assert_eq!(found, kind, "{message}");
            assert!(!message.contains("hunter2"));
        };
        check(json!({ "Value": "hunter2", "Type": "String" }), "ValidationException");
        check(json!({ "Name": "/a", "Type": "String" }), "ValidationException");
        check(json!({ "Name": "/a", "Value": "", "Type": "String" }), "ValidationException");
        check(json!({ "Name": "/a", "Value": "hunter2" }), "ValidationException");
        check(json!({ "Name": "/a", "Value": "hunter2", "Type": "Secret" }), "ValidationException");
        let body = json!({ "Name": "/aws/service/x", "Value": "hunter2", "Type": "String" });
        check(body, "AccessDeniedException");
        let body = json!({ "Name": "/locked", "Value": "hunter2", "Type": "SecureString" });
        check(body, "InvalidKeyId");
    }

    #[test]
    fn deleted_parameter_is_not_found() {
        let mut account = Account::default();
        account.put("/a", "x");
        let body = json!({ "Name": "/a" });
        assert_eq!(account.call(Operation::DeleteParameter, body.clone()), json!({}));
        let (kind, _) = account.call_and_fail(Operation::DeleteParameter, body.clone());
        assert_eq!(kind, "ParameterNotFound");
        assert_eq!(account.call_and_fail(Operation::GetParameter, body).0, "ParameterNotFound");
    }

    #[test]
    fn labels_that_aws_does_not_accept_are_reported() {
        let mut account = Account::default();
        account.put("/a", "one");
        account.put("/a", "two");
        let labels = ["live", "1st", "aws-x", "SSM", "a b"];
        let body = json!({ "Name": "/a", "ParameterVersion": 1, "Labels": labels });
        let response = account.call(Operation::LabelParameterVersion, body);
        assert_eq!(response["InvalidLabels"], json!(["1st", "aws-x", "SSM", "a b"]));
        assert_eq!(response["ParameterVersion"], 1);
        assert_eq!(value(&mut account, "/a:live"), "one");
        for (body, kind) in [
            (json!({ "Name": "/b", "Labels": ["x"] }), "ParameterNotFound"),
            (json!({ "Name": "/a", "Labels": [] }), "ValidationException"),
            (json!({ "Name": "/a", "Labels": vec!["x"; 11] }), "ValidationException"),
        ] {
            assert_eq!(account.call_and_fail(Operation::LabelParameterVersion, body).0, kind);
        }
    }
}
