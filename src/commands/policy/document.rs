//! The least policy: its statements, and the forms in which they are written.

use super::iam_glob::covers;
use super::key_arn::KeyArn;
use serde::Serialize;
use std::collections::BTreeMap;

/// The actions that reading a secret takes.
pub(super) const GET: &str = "secretsmanager:GetSecretValue";
pub(super) const BATCH: &str = "secretsmanager:BatchGetSecretValue";
pub(super) const DECRYPT: &str = "kms:Decrypt";

/// The condition that ties a key to Secrets Manager.
pub(super) const VIA_SERVICE: &str = "kms:ViaService";

/// The most characters of all inline policies of a role together, and of one managed policy. White
/// space does not count.
///
/// Source: "IAM and AWS STS quotas" in AWS's IAM user guide.
const INLINE_CHARS_MAX: usize = 10_240;
const MANAGED_CHARS_MAX: usize = 6_144;

/// What a template fills in, and about what that comes to.
pub(super) const SAM_PLACE: [(&str, &str); 3] = [
    ("${AWS::Partition}", "aws"),
    ("${AWS::Region}", "eu-north-1"),
    ("${AWS::AccountId}", "123456789012"),
];

/// One statement that allows one action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sid: String,
    pub(super) action: &'static str,
    pub(super) resources: Vec<String>,
    /// The services through which alone a key may be used; none where that is not asked.
    pub(super) via_services: Vec<String>,
}

/// Returns the statements that reading these secrets takes, and no others.
pub(super) fn statements(
    sid: &str,
    secrets: impl IntoIterator<Item = String>,
    keys: &[KeyArn],
    is_batch: bool,
) -> Vec<Statement> {
    let statement = |end: &str, action, resources, via_services| Statement {
        sid: format!("{sid}{end}"),
        action,
        resources,
        via_services,
    };
    let mut all = vec![statement("GetSecretValue", GET, least(secrets), Vec::new())];
    if is_batch {
        // The operation itself knows no resources; what it returns is judged as `GET` is.
        all.push(statement("BatchGetSecretValue", BATCH, vec!["*".to_owned()], Vec::new()));
    }
    let mut by_region: BTreeMap<&str, Vec<&KeyArn>> = BTreeMap::new();
    for key in keys {
        by_region.entry(&key.region).or_default().push(key);
    }
    let is_one = by_region.len() == 1;
    for (number, of_region) in by_region.into_values().enumerate() {
        let end = if is_one { "Decrypt".to_owned() } else { format!("Decrypt{}", number + 1) };
        let arns = of_region.iter().map(|key| key.as_str().to_owned());
        let via = of_region.first().map(|key| key.via_services()).unwrap_or_default();
        all.push(statement(&end, DECRYPT, least(arns), via));
    }
    all
}

/// Sorts ARNs, and drops those that another one covers.
fn least(arns: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = arns.into_iter().collect();
    all.sort();
    all.dedup();
    let is_covered = |at: usize| {
        // Of two that cover each other, the first stays.
        let by = |other: usize| {
            other != at
                && covers(&all[other], &all[at])
                && (other < at || !covers(&all[at], &all[other]))
        };
        (0..all.len()).any(by)
    };
    let kept: Vec<bool> = (0..all.len()).map(|at| !is_covered(at)).collect();
    all.into_iter().zip(kept).filter_map(|(arn, is_kept)| is_kept.then_some(arn)).collect()
}

/// A policy document as IAM takes it.
#[derive(Debug, Serialize)]
pub(in crate::commands) struct Document {
    #[serde(rename = "Version")]
    version: &'static str,
    #[serde(rename = "Statement")]
    statements: Vec<Written>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    sid: String,
    effect: &'static str,
    action: &'static str,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<BTreeMap<&'static str, BTreeMap<&'static str, Vec<String>>>>,
}

impl Document {
    pub(super) fn of(statements: &[Statement]) -> Self {
        let written = |statement: &Statement| {
            let via = Some(statement.via_services.clone()).filter(|via| !via.is_empty());
            Written {
                sid: statement.sid.clone(),
                effect: "Allow",
                action: statement.action,
                resource: statement.resources.clone(),
                condition: via.map(|via| [("StringEquals", [(VIA_SERVICE, via)].into())].into()),
            }
        };
        Self { version: "2012-10-17", statements: statements.iter().map(written).collect() }
    }

    /// Writes it for `--policy-document`.
    pub(in crate::commands) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and lists can be written") + "\n"
    }

    /// Returns what is to be known of its size, if it is near or over what IAM takes. What a template
    /// fills in counts as its sample.
    pub(super) fn size_warning(&self, filled_in: &[(String, &str)]) -> Option<String> {
        let mut text = self.json();
        for (filled_in, sample) in filled_in {
            text = text.replace(filled_in, sample);
        }
        let chars = text.chars().filter(|c| !c.is_whitespace()).count();
        let but = "; patterns take less room than names";
        (chars > MANAGED_CHARS_MAX).then(|| match chars > INLINE_CHARS_MAX {
            true => format!(
                "{chars} characters: more than IAM takes, which is {MANAGED_CHARS_MAX} in a \
                 managed policy and {INLINE_CHARS_MAX} in all inline policies of a role together{but}"
            ),
            false => format!(
                "{chars} characters: too many for a managed policy ({MANAGED_CHARS_MAX}); all inline \
                 policies of a role together may have {INLINE_CHARS_MAX}{but}"
            ),
        })
    }
}

/// Writes the statements as the `Policies` of a function in a SAM template.
pub(super) fn sam(statements: &[Statement]) -> String {
    let mut text = "Policies:\n  - Version: '2012-10-17'\n    Statement:\n".to_owned();
    let quoted = |value: &str| match value.contains("${") {
        true => format!("!Sub '{value}'"),
        false => format!("'{value}'"),
    };
    for Statement { sid, action, resources, via_services } in statements {
        text += &format!("      - Sid: {sid}\n        Effect: Allow\n        Action: {action}\n");
        text += "        Resource:\n";
        for resource in resources {
            text += &format!("          - {}\n", quoted(resource));
        }
        if !via_services.is_empty() {
            text += "        Condition:\n          StringEquals:\n";
            text += &format!("            {VIA_SERVICE}:\n");
            for service in via_services {
                text += &format!("              - {}\n", quoted(service));
            }
        }
    }
    text
}

/// Writes the statements as a data source of Terraform's, with those that it asks.
pub(super) fn terraform(statements: &[Statement], label: &str) -> String {
    let mut text = String::new();
    let asked = |source: &str| {
        let expression = format!("data.{source}.{label}.");
        statements.iter().flat_map(|one| &one.resources).any(|arn| arn.contains(&expression))
    };
    for source in ["aws_caller_identity", "aws_partition", "aws_region"] {
        if asked(source) {
            text += &format!("data \"{source}\" \"{label}\" {{}}\n\n");
        }
    }
    let list = |items: &[String]| {
        items.iter().map(|item| format!("      \"{item}\",\n")).collect::<String>()
    };
    text += &format!("data \"aws_iam_policy_document\" \"{label}\" {{\n");
    let blocks = statements.iter().map(|Statement { sid, action, resources, via_services }| {
        let mut block = format!("  statement {{\n    sid     = \"{sid}\"\n");
        block += &format!("    actions = [\"{action}\"]\n");
        block += &format!("    resources = [\n{}    ]\n", list(resources));
        if !via_services.is_empty() {
            block += "\n    condition {\n      test     = \"StringEquals\"\n";
            block += &format!("      variable = \"{VIA_SERVICE}\"\n");
            let values: Vec<String> = via_services.iter().map(|via| format!("\"{via}\"")).collect();
            block += &format!("      values   = [{}]\n    }}\n", values.join(", "));
        }
        block + "  }\n"
    });
    text += &blocks.collect::<Vec<_>>().join("\n");
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    fn secrets(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{HERE}{name}")).collect()
    }

    fn key(region: &str) -> KeyArn {
        format!("arn:aws:kms:{region}:123456789012:key/1").parse().expect("a key")
    }

    #[track_caller]
    fn check(given: &[&str], expected: &[&str]) {
        assert_eq!(least(secrets(given)), secrets(expected), "{given:?}");
    }

    #[test]
    fn what_another_covers_is_left_out() {
        check(&["b-??????", "a-??????", "b-??????"], &["a-??????", "b-??????"]);
        check(&["a/*-??????", "a/b-??????", "a/b-AbC123"], &["a/*-??????"]);
        check(&["a/?*", "a/*?"], &["a/*?"]);
        check(&["a-??????", "a-AbC123", "ab-??????"], &["a-??????", "ab-??????"]);
    }

    #[test]
    fn a_statement_is_there_only_where_it_is_needed() {
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
    fn the_document_is_iams() {
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
        let written: serde_json::Value =
            serde_json::from_str(&Document::of(&all).json()).expect("JSON");
        assert_eq!(written, expected);
    }

    #[test]
    fn a_document_that_is_too_long_is_told() {
        let names: Vec<String> = (0..200).map(|number| format!("app/{number:03}-??????")).collect();
        let told = |count: usize| {
            let some: Vec<&str> = names[..count].iter().map(String::as_str).collect();
            Document::of(&statements("S", secrets(&some), &[], false)).size_warning(&[])
        };
        assert_eq!(told(50), None);
        assert!(told(100).is_some_and(|told| told.contains("too many for a managed policy")));
        assert!(told(200).is_some_and(|told| told.contains("more than IAM takes")));
    }

    #[test]
    fn templates_have_what_they_fill_in() {
        let arn = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:a";
        let all =
            statements("S", [arn.to_owned(), format!("{HERE}b")], &[key("eu-north-1")], false);
        let text = sam(&all);
        assert!(text.contains(&format!("          - !Sub '{arn}'\n")), "{text}");
        assert!(text.contains(&format!("          - '{HERE}b'\n")), "{text}");
        assert!(text.contains("            kms:ViaService:\n              - 'secretsm"), "{text}");
    }

    #[test]
    fn terraform_asks_only_what_it_uses() {
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
