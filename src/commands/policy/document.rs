//! The least-privilege policy, an IAM policy that allows only reading the given secrets: its
//! statements, and the formats in which `sidekey policy` writes them.

use super::arn_pattern::{Needed, NeededTag};
use super::iam_glob::covers;
use super::key_arn::KeyArn;
use crate::secret::service::Service;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

pub(super) const GET: &str = "secretsmanager:GetSecretValue";

pub(super) const BATCH: &str = "secretsmanager:BatchGetSecretValue";

pub(super) const LIST: &str = "secretsmanager:ListSecrets";

pub(super) const GET_PARAMETER: &str = "ssm:GetParameter";

/// The IAM action for reading up to ten parameters in one call.
pub(super) const GET_PARAMETERS: &str = "ssm:GetParameters";

/// The IAM action for listing the parameters of a path with their values.
pub(super) const GET_PATH: &str = "ssm:GetParametersByPath";

/// The IAM action for decrypting secrets that are encrypted with a customer's own KMS key.
pub(super) const DECRYPT: &str = "kms:Decrypt";

/// The IAM action for assuming a role.
pub(super) const ASSUME_ROLE: &str = "sts:AssumeRole";

/// The IAM condition key that restricts through which AWS services a role may use a KMS key.
/// Sidekey's policies allow the use only through the service that stores the secrets.
pub(super) const VIA_SERVICE: &str = "kms:ViaService";

/// The IAM condition key that restricts which parameters a role may decrypt with a KMS key.
///
/// Source: AWS's page *AWS KMS encryption for AWS Systems Manager Parameter Store SecureString
/// parameters* in the Systems Manager user guide.
pub(super) const PARAMETER_ARN: &str = "kms:EncryptionContext:PARAMETER_ARN";

/// The prefix of the IAM condition keys that allow a role to read only secrets with a certain tag.
/// The key of the tag follows the prefix.
///
/// Source: AWS's page *Actions, resources, and condition keys for AWS Secrets Manager* in the service
/// authorization reference.
pub(super) const RESOURCE_TAG: &str = "secretsmanager:ResourceTag/";

/// The maximum total length of all inline policies of an IAM role, in characters without white
/// space.
///
/// Source: AWS's page *IAM and AWS STS quotas* in the IAM user guide.
const INLINE_CHARS_MAX: usize = 10_240;

/// The maximum length of one managed policy of IAM, in characters without white space.
///
/// Source: AWS's page *IAM and AWS STS quotas* in the IAM user guide.
const MANAGED_CHARS_MAX: usize = 6_144;

/// The expressions of a SAM template for the partition, region and account of an ARN. Each
/// expression has an example value, with which Sidekey estimates the length of the deployed policy.
pub(super) const SAM_LOCATION: [(&str, &str); 3] = [
    ("${AWS::Partition}", "aws"),
    ("${AWS::Region}", "eu-north-1"),
    ("${AWS::AccountId}", "123456789012"),
];

/// A statement of the least-privilege policy, an IAM policy that allows only reading some secrets.
/// Each statement allows one action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sid: String,
    pub(super) action: &'static str,
    pub(super) resources: Vec<String>,
    /// The conditions of a statement that allows the use of KMS keys, or reads of secrets with a
    /// tag. Empty for all other statements.
    pub(super) conditions: Vec<NeededCondition>,
}

/// A condition of an IAM policy statement. The condition holds if the request has one of the
/// `values` for the condition key `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NeededCondition {
    pub(super) operator: &'static str,
    pub(super) key: Cow<'static, str>,
    pub(super) values: Vec<String>,
}

impl Statement {
    fn new(sid: String, action: &'static str, resources: impl IntoIterator<Item = String>) -> Self {
        Self { sid, action, resources: without_covered(resources), conditions: Vec::new() }
    }
}

pub(super) fn statements(
    sid: &str,
    needed: Needed,
    keys: &[KeyArn],
    is_batch: bool,
) -> Vec<Statement> {
    let Needed { secrets, parameters, paths, tags, is_search } = needed;
    let has_secrets = !secrets.is_empty() || !tags.is_empty();
    let mut all = Vec::new();
    if !secrets.is_empty() {
        all.push(Statement::new(format!("{sid}GetSecretValue"), GET, secrets));
    }
    let is_one_tag = tags.len() == 1;
    for (index, tag) in tags.into_iter().enumerate() {
        let number = if is_one_tag { String::new() } else { (index + 1).to_string() };
        all.push(of_tag(format!("{sid}GetTaggedSecretValue{number}"), tag));
    }
    // For these actions, IAM accepts no resource except `*`. Reading a secret in a batch also needs
    // secretsmanager:GetSecretValue on that secret.
    let everything = || ["*".to_owned()];
    if has_secrets && (is_batch || is_search) {
        all.push(Statement::new(format!("{sid}BatchGetSecretValue"), BATCH, everything()));
    }
    if is_search {
        all.push(Statement::new(format!("{sid}ListSecrets"), LIST, everything()));
    }
    if !parameters.is_empty() {
        all.push(Statement::new(format!("{sid}GetParameter"), GET_PARAMETER, parameters.clone()));
        all.push(Statement::new(format!("{sid}GetParameters"), GET_PARAMETERS, parameters.clone()));
    }
    if !paths.is_empty() {
        all.push(Statement::new(format!("{sid}GetParametersByPath"), GET_PATH, paths));
    }
    if has_secrets {
        all.extend(decrypt(&format!("{sid}Decrypt"), keys, Service::SecretsManager, &[]));
    }
    if !parameters.is_empty() {
        let arns = without_covered(parameters);
        let sid = format!("{sid}DecryptParameters");
        all.extend(decrypt(&sid, keys, Service::ParameterStore, &arns));
    }
    all
}

/// Returns an IAM policy statement that allows reading all secrets with a tag.
fn of_tag(sid: String, tag: NeededTag) -> Statement {
    let NeededTag { key, value, secrets } = tag;
    let (operator, value) = match value {
        Some(value) => ("StringEquals", value),
        None => ("StringLike", "*".to_owned()),
    };
    let key = format!("{RESOURCE_TAG}{key}").into();
    let condition = NeededCondition { operator, key, values: vec![value] };
    Statement { conditions: vec![condition], ..Statement::new(sid, GET, [secrets]) }
}

/// Returns a statement that allows assuming the roles with these ARNs, or `None` if `roles` is
/// empty.
pub(super) fn assume_role(sid: &str, roles: impl Iterator<Item = String>) -> Option<Statement> {
    let statement = Statement::new(format!("{sid}AssumeRole"), ASSUME_ROLE, roles);
    (!statement.resources.is_empty()).then_some(statement)
}

/// Returns IAM policy statements that allow decryption with the KMS keys `keys`, but only through
/// the AWS service `service`. Each region of the keys has one statement. If `parameters` is not
/// empty, the statements allow only decryption of parameters with these ARN patterns.
fn decrypt(sid: &str, keys: &[KeyArn], service: Service, parameters: &[String]) -> Vec<Statement> {
    let mut by_region: BTreeMap<&str, Vec<&KeyArn>> = BTreeMap::new();
    for key in keys {
        by_region.entry(&key.region).or_default().push(key);
    }
    let is_one_region = by_region.len() == 1;
    let in_region = |(index, keys): (usize, Vec<&KeyArn>)| {
        let number = if is_one_region { String::new() } else { (index + 1).to_string() };
        let arns = keys.iter().map(|key| key.as_str().to_owned());
        let mut statement = Statement::new(format!("{sid}{number}"), DECRYPT, arns);
        let via = keys.first().map(|key| key.via_services(service)).unwrap_or_default();
        let via =
            NeededCondition { operator: "StringEquals", key: VIA_SERVICE.into(), values: via };
        let arns = NeededCondition {
            operator: "StringLike",
            key: PARAMETER_ARN.into(),
            values: parameters.to_vec(),
        };
        statement.conditions =
            [via, arns].into_iter().filter(|condition| !condition.values.is_empty()).collect();
        statement
    };
    by_region.into_values().enumerate().map(in_region).collect()
}

/// Sorts ARN patterns, and removes redundant patterns. For example, `a/*` makes `a/b` redundant.
fn without_covered(arns: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = arns.into_iter().collect();
    all.sort();
    all.dedup();
    (0..all.len()).filter(|&at| !is_covered(&all, at)).map(|at| all[at].clone()).collect()
}

/// Returns whether the pattern at index `at` is redundant, because another pattern matches at least
/// the same names. If two patterns match exactly the same names, only the second pattern is
/// redundant.
fn is_covered(all: &[String], at: usize) -> bool {
    (0..all.len()).any(|other| {
        other != at
            && covers(&all[other], &all[at])
            && (other < at || !covers(&all[at], &all[other]))
    })
}

#[derive(Debug, Serialize)]
pub(in crate::commands) struct Document {
    #[serde(rename = "Version")]
    version: &'static str,
    #[serde(rename = "Statement")]
    statements: Vec<JsonStatement>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct JsonStatement {
    sid: String,
    effect: &'static str,
    action: &'static str,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<JsonConditions>,
}

/// The values of a statement's conditions, by operator and by condition key.
type JsonConditions = BTreeMap<&'static str, BTreeMap<String, Vec<String>>>;

impl From<&Statement> for JsonStatement {
    fn from(statement: &Statement) -> Self {
        let mut conditions: JsonConditions = BTreeMap::new();
        for NeededCondition { operator, key, values } in &statement.conditions {
            conditions.entry(operator).or_default().insert(key.to_string(), values.clone());
        }
        Self {
            sid: statement.sid.clone(),
            effect: "Allow",
            action: statement.action,
            resource: statement.resources.clone(),
            condition: Some(conditions).filter(|conditions| !conditions.is_empty()),
        }
    }
}

impl Document {
    pub(super) fn of(statements: &[Statement]) -> Self {
        let statements = statements.iter().map(JsonStatement::from).collect();
        Self { version: "2012-10-17", statements }
    }

    /// Returns the policy as JSON, in the form that `aws iam create-policy --policy-document`
    /// accepts.
    pub(in crate::commands) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("an IAM policy must be serializable as JSON")
            + "\n"
    }

    /// Returns a warning if the policy is longer than IAM allows. `expressions` contains template
    /// expressions, such as `${AWS::Region}`, each with an example value of the usual length.
    pub(super) fn size_warning(&self, expressions: &[(String, &str)]) -> Option<String> {
        let mut text = self.json();
        for (expression, sample) in expressions {
            text = text.replace(expression, sample);
        }
        let chars = text.chars().filter(|c| !c.is_whitespace()).count();
        (chars > MANAGED_CHARS_MAX).then(|| match chars > INLINE_CHARS_MAX {
            true => format!(
                "the policy has {chars} characters, more than IAM allows: a managed policy may have \
                 {MANAGED_CHARS_MAX}, and all inline policies of a role together {INLINE_CHARS_MAX}; \
                 replace names by patterns"
            ),
            false => format!(
                "the policy has {chars} characters, too many for a managed policy \
                 ({MANAGED_CHARS_MAX}); use an inline policy (all inline policies of a role together may have \
                 {INLINE_CHARS_MAX}), or replace names by patterns"
            ),
        })
    }
}

pub(super) fn sam(statements: &[Statement]) -> String {
    let mut text = "Policies:\n  - Version: '2012-10-17'\n    Statement:\n".to_owned();
    for Statement { sid, action, resources, conditions } in statements {
        text += &format!("      - Sid: {sid}\n        Effect: Allow\n        Action: {action}\n");
        text += "        Resource:\n";
        for resource in resources {
            text += &format!("          - {}\n", sam_text(resource));
        }
        if !conditions.is_empty() {
            text += "        Condition:\n";
        }
        // Each operator occurs in at most one condition, so no key of the YAML object repeats.
        for NeededCondition { operator, key, values } in conditions {
            text += &format!("          {operator}:\n            {key}:\n");
            for value in values {
                text += &format!("              - {}\n", sam_text(value));
            }
        }
    }
    text
}

/// Quotes a string for YAML. If the string contains expressions such as `${AWS::Region}`, adds
/// `!Sub`, because CloudFormation evaluates expressions only after `!Sub`.
fn sam_text(value: &str) -> String {
    match value.contains("${") {
        true => format!("!Sub '{value}'"),
        false => format!("'{value}'"),
    }
}

/// Formats the policy statements as a Terraform data source. Also defines the data sources from
/// which the statements take the account, partition and region.
pub(super) fn terraform(statements: &[Statement], label: &str) -> String {
    let mut text = String::new();
    for source in ["aws_caller_identity", "aws_partition", "aws_region"] {
        let expression = format!("data.{source}.{label}.");
        if statements.iter().flat_map(|one| &one.resources).any(|arn| arn.contains(&expression)) {
            text += &format!("data \"{source}\" \"{label}\" {{}}\n\n");
        }
    }
    text += &format!("data \"aws_iam_policy_document\" \"{label}\" {{\n");
    let blocks: Vec<String> = statements.iter().map(terraform_block).collect();
    text += &blocks.join("\n");
    text + "}\n"
}

fn terraform_block(statement: &Statement) -> String {
    let Statement { sid, action, resources, conditions } = statement;
    let resources: String = resources.iter().map(|arn| format!("      \"{arn}\",\n")).collect();
    let mut block = format!("  statement {{\n    sid     = \"{sid}\"\n");
    block += &format!("    actions = [\"{action}\"]\n");
    block += &format!("    resources = [\n{resources}    ]\n");
    for NeededCondition { operator, key, values } in conditions {
        block += &format!("\n    condition {{\n      test     = \"{operator}\"\n");
        block += &format!("      variable = \"{key}\"\n");
        let values: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        block += &format!("      values   = [{}]\n    }}\n", values.join(", "));
    }
    block + "  }\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    fn secrets(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{HERE}{name}")).collect()
    }

    fn needed(names: &[&str]) -> Needed {
        Needed { secrets: secrets(names), ..Needed::default() }
    }

    fn key(region: &str) -> KeyArn {
        format!("arn:aws:kms:{region}:123456789012:key/1")
            .parse()
            .expect("the test must use a valid ARN of a KMS key")
    }

    #[track_caller]
    fn check(given: &[&str], expected: &[&str]) {
        assert_eq!(without_covered(secrets(given)), secrets(expected), "{given:?}");
    }

    #[test]
    fn covered_patterns_are_left_out() {
        check(&["b-??????", "a-??????", "b-??????"], &["a-??????", "b-??????"]);
        check(&["a/*-??????", "a/b-??????", "a/b-AbC123"], &["a/*-??????"]);
        check(&["a/?*", "a/*?"], &["a/*?"]);
        check(&["a-??????", "a-AbC123", "ab-??????"], &["a-??????", "ab-??????"]);
    }

    #[test]
    fn only_needed_statements_are_written() {
        let actions = |keys: &[KeyArn], is_batch| {
            let all = statements("S", needed(&["a"]), keys, is_batch);
            all.into_iter().map(|one| (one.sid, one.resources.len())).collect::<Vec<_>>()
        };
        let expected = |ends: &[&str]| -> Vec<(String, usize)> {
            ends.iter().map(|end| (format!("S{end}"), 1)).collect()
        };
        assert_eq!(actions(&[], false), expected(&["GetSecretValue"]));
        assert_eq!(actions(&[], true), expected(&["GetSecretValue", "BatchGetSecretValue"]));
        let keys = [key("eu-north-1"), key("eu-north-1")];
        assert_eq!(actions(&keys, false), expected(&["GetSecretValue", "Decrypt"]));
        let keys = [key("us-east-1"), key("eu-north-1")];
        assert_eq!(actions(&keys, false), expected(&["GetSecretValue", "Decrypt1", "Decrypt2"]));
    }

    #[test]
    fn document_has_the_format_of_iam() {
        let all = statements("Sidekey", needed(&["a-??????"]), &[key("eu-north-1")], true);
        let expected = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "SidekeyGetSecretValue", "Effect": "Allow",
                    "Action": "secretsmanager:GetSecretValue",
                    "Resource": [format!("{HERE}a-??????")],
                },
                {
                    "Sid": "SidekeyBatchGetSecretValue", "Effect": "Allow",
                    "Action": "secretsmanager:BatchGetSecretValue", "Resource": ["*"],
                },
                {
                    "Sid": "SidekeyDecrypt", "Effect": "Allow", "Action": "kms:Decrypt",
                    "Resource": ["arn:aws:kms:eu-north-1:123456789012:key/1"],
                    "Condition": {"StringEquals": {
                        "kms:ViaService": ["secretsmanager.eu-north-1.amazonaws.com"],
                    }},
                },
            ],
        });
        let written: serde_json::Value = serde_json::from_str(&Document::of(&all).json())
            .expect("the policy document must be JSON");
        assert_eq!(written, expected);
    }

    const STORE: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";

    fn with_parameters(secrets: &[&str]) -> Needed {
        Needed {
            parameters: vec![format!("{STORE}/app/*"), format!("{STORE}/app/url")],
            paths: vec![format!("{STORE}/app"), format!("{STORE}/app/*")],
            ..needed(secrets)
        }
    }

    #[test]
    fn parameters_get_statements_of_their_own() {
        let all = statements("S", with_parameters(&[]), &[key("eu-north-1")], true);
        let statement = |sid: &str, action: &str, resources: &[&str]| serde_json::json!({"Sid": sid, "Effect": "Allow", "Action": action, "Resource": resources});
        let (app, below) = (format!("{STORE}/app"), format!("{STORE}/app/*"));
        let mut decrypt = statement(
            "SDecryptParameters",
            "kms:Decrypt",
            &["arn:aws:kms:eu-north-1:123456789012:key/1"],
        );
        decrypt["Condition"] = serde_json::json!({
            "StringEquals": {"kms:ViaService": ["ssm.eu-north-1.amazonaws.com"]},
            "StringLike": {"kms:EncryptionContext:PARAMETER_ARN": [below]},
        });
        let expected = serde_json::json!([
            statement("SGetParameter", "ssm:GetParameter", &[&below]),
            statement("SGetParameters", "ssm:GetParameters", &[&below]),
            statement("SGetParametersByPath", "ssm:GetParametersByPath", &[&app, &below]),
            decrypt,
        ]);
        let written: serde_json::Value = serde_json::from_str(&Document::of(&all).json())
            .expect("the policy document must be JSON");
        assert_eq!(written["Statement"], expected);

        let both = statements("S", with_parameters(&["a"]), &[key("eu-north-1")], false);
        let sids: Vec<&str> = both.iter().map(|one| &*one.sid).collect();
        let expected = [
            "SGetSecretValue",
            "SGetParameter",
            "SGetParameters",
            "SGetParametersByPath",
            "SDecrypt",
            "SDecryptParameters",
        ];
        assert_eq!(sids, expected);
    }

    #[test]
    fn templates_contain_every_condition() {
        let all = statements("S", with_parameters(&[]), &[key("eu-north-1")], false);
        let text = sam(&all);
        let conditions = format!(
            "        Condition:\n          StringEquals:\n            kms:ViaService:\n              - 'ssm.eu-north-1.amazonaws.com'\n          StringLike:\n            kms:EncryptionContext:PARAMETER_ARN:\n              - '{STORE}/app/*'\n"
        );
        assert!(text.ends_with(&conditions), "{text}");
        let text = terraform(&all, "x");
        let condition = format!(
            "    condition {{\n      test     = \"StringLike\"\n      variable = \"{PARAMETER_ARN}\"\n      values   = [\"{STORE}/app/*\"]\n    }}\n"
        );
        assert!(text.contains(&condition), "{text}");
    }

    #[test]
    fn too_long_document_is_warned_about() {
        let names: Vec<String> = (0..200).map(|number| format!("app/{number:03}-??????")).collect();
        let warning = |count: usize| {
            let some: Vec<&str> = names[..count].iter().map(String::as_str).collect();
            Document::of(&statements("S", needed(&some), &[], false)).size_warning(&[])
        };
        assert_eq!(warning(50), None);
        assert!(warning(100).is_some_and(|text| text.contains("too many for a managed policy")));
        assert!(warning(200).is_some_and(|text| text.contains("more than IAM allows")));
    }

    #[test]
    fn sam_template_keeps_expressions() {
        let arn = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:a";
        let secrets = vec![arn.to_owned(), format!("{HERE}b")];
        let needed = Needed { secrets, ..Needed::default() };
        let all = statements("S", needed, &[key("eu-north-1")], false);
        let text = sam(&all);
        assert!(text.contains(&format!("          - !Sub '{arn}'\n")), "{text}");
        assert!(text.contains(&format!("          - '{HERE}b'\n")), "{text}");
        assert!(text.contains("            kms:ViaService:\n              - 'secretsm"), "{text}");
    }

    #[test]
    fn terraform_refers_only_to_used_data_sources() {
        let text = terraform(&statements("S", needed(&["a"]), &[key("eu-north-1")], false), "x");
        assert!(text.starts_with("data \"aws_iam_policy_document\" \"x\" {\n"), "{text}");
        let arn =
            "arn:aws:secretsmanager:eu-north-1:${data.aws_caller_identity.x.account_id}:secret:a";
        let text = terraform(
            &statements(
                "S",
                Needed { secrets: vec![arn.to_owned()], ..Needed::default() },
                &[],
                false,
            ),
            "x",
        );
        assert!(
            text.starts_with("data \"aws_caller_identity\" \"x\" {}\n\ndata \"aws_iam"),
            "{text}"
        );
        assert!(text.contains(&format!("    resources = [\n      \"{arn}\",\n    ]\n")), "{text}");
    }
}
