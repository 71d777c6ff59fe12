//! Parses the statements of an existing IAM policy, in every format in which AWS's tools print a
//! policy.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The parser removes at most this number of layers around a policy. For example, the AWS CLI
/// prints a policy as a JSON string inside a larger JSON object.
const WRAPPINGS_MAX: usize = 6;

/// A statement of the policy that `sidekey policy --verify` checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParsedStatement {
    /// The `Sid` of the statement, or words such as `statement 2` if it has no `Sid`.
    pub(super) label: String,
    pub(super) is_allow: bool,
    /// The actions of the statement in lower case, because IAM ignores the case of actions.
    pub(super) actions: Selection,
    pub(super) resources: Selection,
    pub(super) conditions: Vec<Condition>,
}

/// The actions, or the resources, to which a policy statement applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The patterns of `Action` or `Resource`. The statement applies to everything that matches one
    /// of these patterns.
    Only(Vec<String>),
    /// The patterns of `NotAction` or `NotResource`. The statement applies to everything that
    /// matches none of these patterns.
    AllBut(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) operator: String,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPolicy {
    #[error("the policy is not valid JSON: {0}")]
    NotJson(String),
    #[error(
        "the file contains no policy; expected a JSON object with Statement, or the output of `aws \
         iam get-role-policy` or `aws iam get-policy-version`"
    )]
    NoStatement,
    #[error(
        "{} has a Principal, so this is a resource-based policy; verify a policy of a role instead",
        named(.0)
    )]
    Principal(String),
    #[error("{} is malformed: {expected}", named(statement))]
    Statement {
        statement: String,
        /// The rule that the policy statement breaks, such as "the key Effect must have the value
        /// Allow or Deny".
        expected: &'static str,
    },
}

/// Returns how an error message names a policy statement: by its `Sid` (`the statement NAME`), or
/// by its number (`statement 2`).
pub(super) fn named(label: &str) -> String {
    match label.starts_with("statement ") {
        true => label.to_owned(),
        false => format!("the statement {label}"),
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<ParsedStatement>, BadPolicy> {
    let mut value = parse_json(text)?;
    for _ in 0..WRAPPINGS_MAX {
        value = match value {
            Value::String(text) => parse_json(&text)?,
            Value::Object(mut object) => {
                let wrappings = ["PolicyDocument", "PolicyVersion", "Document"];
                match wrappings.iter().find_map(|name| object.remove(*name)) {
                    Some(inner) => inner,
                    None => return statements(object.remove("Statement")),
                }
            }
            _ => break,
        };
    }
    Err(BadPolicy::NoStatement)
}

fn parse_json(text: &str) -> Result<Value, BadPolicy> {
    let text = text.trim();
    // IAM's API percent-encodes a policy document, so the text begins with `%7B`. JSON never begins
    // with `%`.
    let decoded = match text.starts_with('%') {
        true => percent_decode_str(text).decode_utf8_lossy(),
        false => text.into(),
    };
    serde_json::from_str(&decoded).map_err(|error| BadPolicy::NotJson(error.to_string()))
}

fn statements(value: Option<Value>) -> Result<Vec<ParsedStatement>, BadPolicy> {
    let all = match value {
        Some(Value::Array(all)) => all,
        Some(one @ Value::Object(_)) => vec![one],
        _ => return Err(BadPolicy::NoStatement),
    };
    all.iter().enumerate().map(|(at, one)| statement(at + 1, one)).collect()
}

fn statement(number: usize, value: &Value) -> Result<ParsedStatement, BadPolicy> {
    let label = match value["Sid"].as_str().filter(|sid| !sid.is_empty()) {
        Some(sid) => sid.to_owned(),
        None => format!("statement {number}"),
    };
    if value.get("Principal").or_else(|| value.get("NotPrincipal")).is_some() {
        return Err(BadPolicy::Principal(label));
    }
    let bad = |expected| BadPolicy::Statement { statement: label.clone(), expected };
    let is_allow = match value["Effect"].as_str() {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => return Err(bad("the key Effect must have the value Allow or Deny")),
    };
    let actions = selection(value, "Action", "NotAction").ok_or_else(|| {
        bad("the statement must have either Action or NotAction, as a string or a list")
    })?;
    let resources = selection(value, "Resource", "NotResource").ok_or_else(|| {
        bad("the statement must have either Resource or NotResource, as a string or a list")
    })?;
    let conditions = match value.get("Condition") {
        None => Vec::new(),
        Some(conditions) => parse_conditions(conditions).ok_or_else(|| {
            bad("the key Condition must have a JSON object as its value, with operators such as StringEquals as keys")
        })?,
    };
    Ok(ParsedStatement { label, is_allow, actions: lower_case(actions), resources, conditions })
}

/// Parses the actions or the resources of a policy statement. `only` is the key `Action` or
/// `Resource`, and `all_but` is `NotAction` or `NotResource`. Returns `None` unless exactly one of
/// the two keys is present and valid.
fn selection(statement: &Value, only: &str, all_but: &str) -> Option<Selection> {
    match (statement.get(only), statement.get(all_but)) {
        (Some(only), None) => texts(only).map(Selection::Only),
        (None, Some(but)) => texts(but).map(Selection::AllBut),
        _ => None,
    }
}

fn lower_case(selection: Selection) -> Selection {
    match selection {
        Selection::Only(all) => {
            Selection::Only(all.iter().map(|one| one.to_ascii_lowercase()).collect())
        }
        Selection::AllBut(all) => {
            Selection::AllBut(all.iter().map(|one| one.to_ascii_lowercase()).collect())
        }
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        // In a policy condition, a value may also be a boolean or a number.
        Value::Bool(_) | Value::Number(_) => Some(vec![value.to_string()]),
        _ => None,
    }
}

fn parse_conditions(value: &Value) -> Option<Vec<Condition>> {
    let mut all = Vec::new();
    for (operator, keys) in value.as_object()? {
        for (key, values) in keys.as_object()? {
            let (operator, key) = (operator.clone(), key.clone());
            all.push(Condition { operator, key, values: texts(values)? });
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{json, mangled};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    const POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
        "Action":"SecretsManager:GetSecretValue","Resource":["a","b"]}}"#;

    fn expected() -> Vec<ParsedStatement> {
        vec![ParsedStatement {
            label: "statement 1".to_owned(),
            is_allow: true,
            actions: Selection::Only(vec!["secretsmanager:getsecretvalue".to_owned()]),
            resources: Selection::Only(vec!["a".to_owned(), "b".to_owned()]),
            conditions: Vec::new(),
        }]
    }

    #[test]
    fn every_format_of_awss_tools_is_parsed() {
        let encoded = utf8_percent_encode(POLICY, NON_ALPHANUMERIC).to_string();
        let quoted = serde_json::to_string(POLICY)
            .expect("the text of a policy must be serializable as JSON");
        let encoded_quoted = serde_json::to_string(&encoded)
            .expect("the text of a policy must be serializable as JSON");
        for text in [
            POLICY.to_owned(),
            format!("\n {POLICY}\n"),
            encoded.clone(),
            quoted.clone(),
            format!(r#"{{"RoleName":"r","PolicyName":"p","PolicyDocument":{POLICY}}}"#),
            format!(r#"{{"RoleName":"r","PolicyDocument":{encoded_quoted}}}"#),
            format!(r#"{{"PolicyVersion":{{"Document":{POLICY},"VersionId":"v1"}}}}"#),
            format!(r#"{{"PolicyVersion":{{"Document":{quoted}}}}}"#),
        ] {
            assert_eq!(parse(&text), Ok(expected()), "{text}");
        }
    }

    #[test]
    fn every_part_of_a_statement_is_parsed() {
        let text = r#"{"Statement":[{"Sid":"Not","Effect":"Deny","NotAction":["A:B"],
            "NotResource":"r","Condition":{"Bool":{"aws:SecureTransport":false},
            "StringEquals":{"kms:ViaService":["x","y"]}}}]}"#;
        let condition = |operator: &str, key: &str, values: &[&str]| Condition {
            operator: operator.to_owned(),
            key: key.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let granted = ParsedStatement {
            label: "Not".to_owned(),
            is_allow: false,
            actions: Selection::AllBut(vec!["a:b".to_owned()]),
            resources: Selection::AllBut(vec!["r".to_owned()]),
            conditions: vec![
                condition("Bool", "aws:SecureTransport", &["false"]),
                condition("StringEquals", "kms:ViaService", &["x", "y"]),
            ],
        };
        assert_eq!(parse(text), Ok(vec![granted]));
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = parse(text).expect_err("the parser must refuse the text").to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn malformed_policy_is_refused() {
        refused("", "not valid JSON");
        refused("%7B", "not valid JSON");
        refused("[]", "contains no policy");
        refused("{}", "contains no policy");
        refused(r#"{"Policies":[]}"#, "contains no policy");
        refused(
            &format!("{}1{}", r#"{"Document":"#.repeat(9), "}".repeat(9)),
            "contains no policy",
        );
        let with = |part: &str| format!(r#"{{"Statement":[{{"Sid":"S",{part}}}]}}"#);
        refused(
            &with(r#""Effect":"allow""#),
            "the statement S is malformed: the key Effect must have the value Allow or Deny",
        );
        refused(
            &with(r#""Effect":"Allow","Resource":"*""#),
            "the statement S is malformed: the statement must have either Action or NotAction",
        );
        refused(
            &with(r#""Effect":"Allow","Action":"*""#),
            "the statement S is malformed: the statement must have either Resource or NotResource",
        );
        refused(&with(r#""Effect":"Allow","Action":[1],"Resource":"*""#), "Action or NotAction");
        refused(&with(r#""Effect":"Allow","Principal":"*""#), "the statement S has a Principal");
        let condition = r#""Effect":"Allow","Action":"*","Resource":"*","Condition":[]"#;
        refused(
            &with(condition),
            "the statement S is malformed: the key Condition must have a JSON object",
        );
    }

    const MANY: &str = r#"{"Statement":[{"Sid":"S","Effect":"Allow","NotAction":["A:B"],"Resource":"*",
        "Condition":{"Bool":{"a":[true,1]}}},{"Effect":"Deny","Action":"*","NotResource":["r"]}]}"#;

    proptest! {
        #[test]
        fn for_any_policy_its_wrapping_makes_no_difference(
            text in prop_oneof![mangled(MANY), json().prop_map(|json| json.to_string())],
        ) {
            let plain = parse(&text);
            let Ok(value) = serde_json::from_str::<Value>(&text) else {
                prop_assert!(matches!(plain, Err(BadPolicy::NotJson(_))));
                return Ok(());
            };
            if !value.is_object() {
                prop_assert!(plain.is_err());
                return Ok(());
            }
            let quoted = Value::from(text.clone()).to_string();
            let encoded = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
            for wrapped in [
                quoted,
                encoded,
                format!(r#"{{"PolicyDocument":{text}}}"#),
                format!(r#"{{"PolicyVersion":{{"Document":{text}}}}}"#),
            ] {
                prop_assert_eq!(&parse(&wrapped), &plain, "{}", wrapped);
            }
        }
    }
}
