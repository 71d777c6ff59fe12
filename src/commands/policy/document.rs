//! The least-privilege policy, an IAM policy that allows only reading the given secrets: its
//! statements, and the formats in which `sidekey policy` writes them.

use super::iam_glob::covers;
use super::key_arn::KeyArn;
use serde::Serialize;
use std::collections::BTreeMap;

pub(super) const GET: &str = "secretsmanager:GetSecretValue";

pub(super) const BATCH: &str = "secretsmanager:BatchGetSecretValue";

/// The IAM action for decrypting secrets that are encrypted with a customer's own KMS key.
pub(super) const DECRYPT: &str = "kms:Decrypt";

/// The IAM condition key that restricts through which AWS services a role may use a KMS key.
/// Sidekey's policies allow the use only through Secrets Manager.
pub(super) const VIA_SERVICE: &str = "kms:ViaService";

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
    /// The AWS services through which the role may use the KMS keys, as values of `kms:ViaService`.
    /// Empty if the action is not `kms:Decrypt`.
    pub(super) via_services: Vec<String>,
}

pub(super) fn statements(
    sid: &str,
    secrets: impl IntoIterator<Item = String>,
    keys: &[KeyArn],
    is_batch: bool,
) -> Vec<Statement> {
    let mut all = vec![Statement {
        sid: format!("{sid}GetSecretValue"),
        action: GET,
        resources: without_covered(secrets),
        via_services: Vec::new(),
    }];
    if is_batch {
        all.push(Statement {
            sid: format!("{sid}BatchGetSecretValue"),
            action: BATCH,
            // For the batch action, IAM accepts no resource except `*`. Reading a secret in a batch
            // also needs secretsmanager:GetSecretValue on that secret.
            resources: vec!["*".to_owned()],
            via_services: Vec::new(),
        });
    }
    let mut by_region: BTreeMap<&str, Vec<&KeyArn>> = BTreeMap::new();
    for key in keys {
        by_region.entry(&key.region).or_default().push(key);
    }
    let is_one_region = by_region.len() == 1;
    for (index, keys) in by_region.into_values().enumerate() {
        let number = if is_one_region { String::new() } else { (index + 1).to_string() };
        all.push(Statement {
            sid: format!("{sid}Decrypt{number}"),
            action: DECRYPT,
            resources: without_covered(keys.iter().map(|key| key.as_str().to_owned())),
            via_services: keys.first().map(|key| key.via_services()).unwrap_or_default(),
        });
    }
    all
}

/// Sorts ARN patterns, and removes redundant patterns. For example, `a/*` makes `a/b` redundant.
fn without_covered(arns: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = arns.into_iter().collect();
    all.sort();
    all.dedup();
    (0..all.len()).filter(|&at| !is_covered(&all, at)).map(|at| all[at].clone()).collect()
}

/// Returns whether the pattern at index `at` is redundant, because another pattern matches the same
/// names and more. If two patterns match exactly the same names, only the second is redundant.
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
    condition: Option<BTreeMap<&'static str, BTreeMap<&'static str, Vec<String>>>>,
}

impl From<&Statement> for JsonStatement {
    fn from(statement: &Statement) -> Self {
        let via = Some(statement.via_services.clone()).filter(|via| !via.is_empty());
        Self {
            sid: statement.sid.clone(),
            effect: "Allow",
            action: statement.action,
            resource: statement.resources.clone(),
            condition: via.map(|via| [("StringEquals", [(VIA_SERVICE, via)].into())].into()),
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
    for Statement { sid, action, resources, via_services } in statements {
        text += &format!("      - Sid: {sid}\n        Effect: Allow\n        Action: {action}\n");
        text += "        Resource:\n";
        for resource in resources {
            text += &format!("          - {}\n", sam_text(resource));
        }
        if !via_services.is_empty() {
            text += "        Condition:\n          StringEquals:\n";
            text += &format!("            {VIA_SERVICE}:\n");
            for service in via_services {
                text += &format!("              - {}\n", sam_text(service));
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
    let Statement { sid, action, resources, via_services } = statement;
    let resources: String = resources.iter().map(|arn| format!("      \"{arn}\",\n")).collect();
    let mut block = format!("  statement {{\n    sid     = \"{sid}\"\n");
    block += &format!("    actions = [\"{action}\"]\n");
    block += &format!("    resources = [\n{resources}    ]\n");
    if !via_services.is_empty() {
        block += "\n    condition {\n      test     = \"StringEquals\"\n";
        block += &format!("      variable = \"{VIA_SERVICE}\"\n");
        let values: Vec<String> = via_services.iter().map(|via| format!("\"{via}\"")).collect();
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
            let all = statements("S", secrets(&["a"]), keys, is_batch);
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
        let all = statements("Sidekey", secrets(&["a-??????"]), &[key("eu-north-1")], true);
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

    #[test]
    fn too_long_document_is_warned_about() {
        let names: Vec<String> = (0..200).map(|number| format!("app/{number:03}-??????")).collect();
        let warning = |count: usize| {
            let some: Vec<&str> = names[..count].iter().map(String::as_str).collect();
            Document::of(&statements("S", secrets(&some), &[], false)).size_warning(&[])
        };
        assert_eq!(warning(50), None);
        assert!(warning(100).is_some_and(|text| text.contains("too many for a managed policy")));
        assert!(warning(200).is_some_and(|text| text.contains("more than IAM allows")));
    }

    #[test]
    fn sam_template_keeps_expressions() {
        let arn = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:a";
        let all =
            statements("S", [arn.to_owned(), format!("{HERE}b")], &[key("eu-north-1")], false);
        let text = sam(&all);
        assert!(text.contains(&format!("          - !Sub '{arn}'\n")), "{text}");
        assert!(text.contains(&format!("          - '{HERE}b'\n")), "{text}");
        assert!(text.contains("            kms:ViaService:\n              - 'secretsm"), "{text}");
    }

    #[test]
    fn terraform_refers_only_to_used_data_sources() {
        let text = terraform(&statements("S", secrets(&["a"]), &[key("eu-north-1")], false), "x");
        assert!(text.starts_with("data \"aws_iam_policy_document\" \"x\" {\n"), "{text}");
        let arn =
            "arn:aws:secretsmanager:eu-north-1:${data.aws_caller_identity.x.account_id}:secret:a";
        let text = terraform(&statements("S", [arn.to_owned()], &[], false), "x");
        assert!(
            text.starts_with("data \"aws_caller_identity\" \"x\" {}\n\ndata \"aws_iam"),
            "{text}"
        );
        assert!(text.contains(&format!("    resources = [\n      \"{arn}\",\n    ]\n")), "{text}");
    }
}
