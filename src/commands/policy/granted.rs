//! A policy as somebody has written it: its statements, out of any form in which AWS's tools print
//! one.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// How deep a document may be wrapped: the answer of a command, a version in it, a text, its
/// encoding.
const WRAPPINGS_MAX: usize = 6;

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// Its `Sid`, else which one it is.
    pub(super) label: String,
    pub(super) is_allow: bool,
    /// In small letters: actions do not differ by case.
    pub(super) actions: Which,
    pub(super) resources: Which,
    /// Operator, key and values of each condition.
    pub(super) conditions: Vec<Condition>,
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// What one of these patterns matches.
    Only(Vec<String>),
    /// What none of them does.
    AllBut(Vec<String>),
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) operator: String,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

/// Why a file is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPolicy {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// There are no statements in it.
    #[error(
        "no policy is in it: an object with Statement expected, or what `aws iam get-role-policy` \
         or `aws iam get-policy-version` print"
    )]
    NoStatement,
    /// It is the policy of a resource.
    #[error("{0} has a Principal: it is the policy of a resource, and not of a role")]
    Principal(String),
    /// A part of a statement is missing or makes no sense.
    #[error("{statement}: {expected} expected")]
    Statement {
        /// Which statement.
        statement: String,
        /// What should be there.
        expected: &'static str,
    },
}

/// Reads a policy.
pub(super) fn parse(text: &str) -> Result<Vec<Granted>, BadPolicy> {
    let mut value = read(text)?;
    for _ in 0..WRAPPINGS_MAX {
        value = match value {
            Value::String(text) => read(&text)?,
            Value::Object(mut object) => {
                let wrapping = ["PolicyDocument", "PolicyVersion", "Document"];
                match wrapping.iter().find_map(|name| object.remove(*name)) {
                    Some(inner) => inner,
                    None => return statements(object.remove("Statement")),
                }
            }
            _ => break,
        };
    }
    Err(BadPolicy::NoStatement)
}

fn read(text: &str) -> Result<Value, BadPolicy> {
    let text = text.trim();
    // JSON never begins so, and IAM's own API encodes whole documents.
    let text = match text.starts_with('%') {
        true => percent_decode_str(text).decode_utf8_lossy(),
        false => text.into(),
    };
    serde_json::from_str(&text).map_err(|error| BadPolicy::NotJson(error.to_string()))
}

fn statements(value: Option<Value>) -> Result<Vec<Granted>, BadPolicy> {
    let all = match value {
        Some(Value::Array(all)) => all,
        Some(one @ Value::Object(_)) => vec![one],
        _ => return Err(BadPolicy::NoStatement),
    };
    all.iter().enumerate().map(|(at, one)| statement(at + 1, one)).collect()
}

fn statement(number: usize, value: &Value) -> Result<Granted, BadPolicy> {
    let sid = value["Sid"].as_str().filter(|sid| !sid.is_empty());
    let label = sid.map_or_else(|| format!("statement {number}"), str::to_owned);
    let bad = |expected| BadPolicy::Statement { statement: label.clone(), expected };
    if value.get("Principal").or_else(|| value.get("NotPrincipal")).is_some() {
        return Err(BadPolicy::Principal(label));
    }
    let is_allow = match value["Effect"].as_str() {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => return Err(bad("an Effect of Allow or Deny")),
    };
    let which = |name: &str, but: &str, expected| match (value.get(name), value.get(but)) {
        (Some(only), None) => texts(only).map(Which::Only).ok_or_else(|| bad(expected)),
        (None, Some(but)) => texts(but).map(Which::AllBut).ok_or_else(|| bad(expected)),
        _ => Err(bad(expected)),
    };
    let actions = which("Action", "NotAction", "either Action or NotAction, a text or a list")?;
    let resources =
        which("Resource", "NotResource", "either Resource or NotResource, a text or a list")?;
    let conditions = match value.get("Condition") {
        None => Vec::new(),
        Some(conditions) => {
            read_conditions(conditions).ok_or_else(|| bad("a Condition of operators and keys"))?
        }
    };
    Ok(Granted { label, is_allow, actions: lowered(actions), resources, conditions })
}

fn lowered(which: Which) -> Which {
    let lower = |all: Vec<String>| all.iter().map(|one| one.to_ascii_lowercase()).collect();
    match which {
        Which::Only(all) => Which::Only(lower(all)),
        Which::AllBut(all) => Which::AllBut(lower(all)),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        // Conditions may have them bare.
        Value::Bool(_) | Value::Number(_) => Some(vec![value.to_string()]),
        _ => None,
    }
}

fn read_conditions(value: &Value) -> Option<Vec<Condition>> {
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

    fn expected() -> Vec<Granted> {
        vec![Granted {
            label: "statement 1".to_owned(),
            is_allow: true,
            actions: Which::Only(vec!["secretsmanager:getsecretvalue".to_owned()]),
            resources: Which::Only(vec!["a".to_owned(), "b".to_owned()]),
            conditions: Vec::new(),
        }]
    }

    #[test]
    fn every_form_that_tools_print_is_read() {
        let encoded = utf8_percent_encode(POLICY, NON_ALPHANUMERIC).to_string();
        let quoted = serde_json::to_string(POLICY).expect("a text");
        let encoded_quoted = serde_json::to_string(&encoded).expect("a text");
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
    fn every_part_of_a_statement_is_read() {
        let text = r#"{"Statement":[{"Sid":"Not","Effect":"Deny","NotAction":["A:B"],
            "NotResource":"r","Condition":{"Bool":{"aws:SecureTransport":false},
            "StringEquals":{"kms:ViaService":["x","y"]}}}]}"#;
        let condition = |operator: &str, key: &str, values: &[&str]| Condition {
            operator: operator.to_owned(),
            key: key.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let granted = Granted {
            label: "Not".to_owned(),
            is_allow: false,
            actions: Which::AllBut(vec!["a:b".to_owned()]),
            resources: Which::AllBut(vec!["r".to_owned()]),
            conditions: vec![
                condition("Bool", "aws:SecureTransport", &["false"]),
                condition("StringEquals", "kms:ViaService", &["x", "y"]),
            ],
        };
        assert_eq!(parse(text), Ok(vec![granted]));
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let told = parse(text).expect_err("no policy").to_string();
        assert!(told.contains(expected), "{text}: {told}");
    }

    #[test]
    fn what_is_no_policy_is_told() {
        refused("", "not JSON");
        refused("%7B", "not JSON");
        refused("[]", "no policy is in it");
        refused("{}", "no policy is in it");
        refused(r#"{"Policies":[]}"#, "no policy is in it");
        refused(
            &format!("{}1{}", r#"{"Document":"#.repeat(9), "}".repeat(9)),
            "no policy is in it",
        );
        let with = |part: &str| format!(r#"{{"Statement":[{{"Sid":"S",{part}}}]}}"#);
        refused(&with(r#""Effect":"allow""#), "S: an Effect of Allow or Deny expected");
        refused(&with(r#""Effect":"Allow","Resource":"*""#), "S: either Action or NotAction");
        refused(&with(r#""Effect":"Allow","Action":"*""#), "S: either Resource or NotResource");
        refused(&with(r#""Effect":"Allow","Action":[1],"Resource":"*""#), "either Action");
        refused(&with(r#""Effect":"Allow","Principal":"*""#), "S has a Principal");
        let condition = r#""Effect":"Allow","Action":"*","Resource":"*","Condition":[]"#;
        refused(&with(condition), "S: a Condition of operators and keys");
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
