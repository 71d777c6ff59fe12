//! The namespace and the dimensions of metrics in CloudWatch.

use super::metric::METRICS;
use super::record::OWN_MEMBERS;
use std::fmt::Display;

/// The maximum number of dimensions, as in the JSON schema of the Embedded Metric Format.
const DIMENSIONS_MAX: usize = 30;

/// The maximum length of a dimension's name, in bytes, as in the JSON schema of the Embedded Metric
/// Format.
const NAME_BYTES_MAX: usize = 250;

/// The maximum length of a dimension's value, in bytes, as in the text of AWS's specification of
/// the Embedded Metric Format.
const VALUE_BYTES_MAX: usize = 1024;

/// The maximum length of a namespace, in bytes. The JSON schema of the Embedded Metric Format
/// allows 1024 bytes, but CloudWatch's API only 255.
const NAMESPACE_BYTES_MAX: usize = 255;

/// The name in CloudWatch of the dimension that `SIDEKEY_EMF_DIMENSIONS` calls `function`. AWS's
/// own metrics of Lambda functions also have this dimension.
const FUNCTION_NAME: &str = "FunctionName";

/// A dimension of metrics in CloudWatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    /// The name of the Lambda function.
    Function,
    /// A name and a value from the configuration.
    Fixed(String, String),
}

impl Dimension {
    fn name(&self) -> &str {
        match self {
            Self::Function => FUNCTION_NAME,
            Self::Fixed(name, _) => name,
        }
    }

    /// Returns the name and the value of this dimension, for the Lambda function `function`.
    pub(crate) fn resolved(self, function: &str) -> (String, String) {
        match self {
            Self::Function => (FUNCTION_NAME.to_owned(), function.to_owned()),
            Self::Fixed(name, value) => (name, value),
        }
    }

    fn parse(item: &str) -> Result<Self, String> {
        match item.split_once('=') {
            None if item == "function" => Ok(Self::Function),
            None => Err(expected(item)),
            Some((name, value)) => {
                let is_text = |text: &str, bytes_max: usize| {
                    (1..=bytes_max).contains(&text.len())
                        && text.bytes().all(|byte| byte.is_ascii_graphic())
                        && !text.starts_with(':')
                };
                if !is_text(name, NAME_BYTES_MAX) || !is_text(value, VALUE_BYTES_MAX) {
                    return Err(format!(
                        "'{item}': the name (at most {NAME_BYTES_MAX} characters) and the value \
                         (at most {VALUE_BYTES_MAX}) must be printable ASCII without a colon at \
                         the beginning"
                    ));
                }
                let mut taken = METRICS.iter().map(|metric| metric.name).chain(OWN_MEMBERS);
                match taken.any(|taken| taken == name) {
                    true => Err(format!(
                        "'{item}': a metric or another field of the record already has the name \
                         {name}"
                    )),
                    false => Ok(Self::Fixed(name.to_owned(), value.to_owned())),
                }
            }
        }
    }
}

fn expected(item: impl Display) -> String {
    format!("'{item}': an item must be `function`, or NAME=VALUE such as team=payments")
}

/// Parses a list of dimensions: `function`, and pairs NAME=VALUE. The item `none` alone means that
/// the metrics have no dimension.
pub(crate) fn dimensions<'a>(
    items: impl Iterator<Item = &'a str>,
) -> Result<Vec<Dimension>, String> {
    let items: Vec<&str> = items.collect();
    if items == ["none"] {
        return Ok(Vec::new());
    }
    let (mut dimensions, mut problems): (Vec<Dimension>, Vec<String>) = (Vec::new(), Vec::new());
    for item in items {
        match Dimension::parse(item) {
            Ok(new) if dimensions.iter().any(|own| own.name() == new.name()) => {
                problems.push(format!("'{item}': the dimension {} is already listed", new.name()));
            }
            Ok(new) => dimensions.push(new),
            Err(problem) => problems.push(problem),
        }
    }
    if dimensions.len() > DIMENSIONS_MAX {
        problems.push(format!("at most {DIMENSIONS_MAX} dimensions are allowed"));
    }
    if dimensions.is_empty() && problems.is_empty() {
        problems.push("the list is empty; for no dimension, set the value to none".to_owned());
    }
    if problems.is_empty() { Ok(dimensions) } else { Err(problems.join("; ")) }
}

/// Parses a namespace of CloudWatch.
///
/// Source: `Namespace` of `PutMetricData` in the API reference of CloudWatch. AWS reserves
/// namespaces that begin with `AWS/`.
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
    let is_namespace = (1..=NAMESPACE_BYTES_MAX).contains(&text.len())
        && text.chars().all(is_valid)
        && !text.starts_with([':', ' '])
        && !text.starts_with("AWS/");
    match is_namespace {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "the value must have 1 to {NAMESPACE_BYTES_MAX} characters: letters, digits, spaces \
             and . - _ / # :, and must not begin with a colon, a space or AWS/"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
        let items = text.split(',').filter(|item| !item.is_empty());
        let found = dimensions(items)?;
        Ok(found.into_iter().map(|own| own.resolved("f")).collect())
    }

    #[test]
    fn dimensions_are_the_function_and_fixed_pairs() {
        for (text, expected) in [
            ("function", &[("FunctionName", "f")][..]),
            ("team=payments,stage=a=b", &[("team", "payments"), ("stage", "a=b")]),
            ("function,team=x", &[("FunctionName", "f"), ("team", "x")]),
            ("none", &[]),
        ] {
            let expected: Vec<(String, String)> =
                expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn dimensions_have_the_limits_of_cloudwatch() {
        let list = |count| (0..count).map(|at| format!("d{at}=v")).collect::<Vec<_>>().join(",");
        let sized = |name, value| format!("{}={}", "n".repeat(name), "v".repeat(value));
        for (text, expected) in [
            (list(30), Ok(30)),
            (list(31), Err("at most 30 dimensions")),
            (sized(250, 1024), Ok(1)),
            (sized(251, 1), Err("the name (at most 250 characters)")),
            (sized(1, 1025), Err("the value (at most 1024)")),
        ] {
            match (parse(&text), expected) {
                (Ok(found), Ok(count)) => assert_eq!(found.len(), count),
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
                (found, expected) => panic!("the result must be {expected:?}, not {found:?}"),
            }
        }
    }

    #[test]
    fn each_bad_dimension_is_reported() {
        for (text, expected) in [
            ("fonction,x=", &["'fonction': an item must be", "'x=': the name"][..]),
            ("ReadHits=1,_aws=2", &["has the name ReadHits", "has the name _aws"]),
            ("function,FunctionName=x", &["FunctionName is already listed"]),
            ("team=\u{e4},:a=b", &["'team=\u{e4}'", "':a=b'"]),
            ("", &["the list is empty"]),
            ("none,function", &["'none': an item must be"]),
        ] {
            let problem =
                parse(text).expect_err("the list must be refused, because it has a bad dimension");
            for part in expected {
                assert!(problem.contains(part), "the error must contain {part}: {problem}");
            }
        }
    }

    #[test]
    fn namespaces_are_those_of_cloudwatch() {
        for (text, is_valid) in [
            ("Sidekey", true),
            ("my team/side-key_1.0#a:b", true),
            ("AWS/Lambda", false),
            (":a", false),
            ("", false),
            ("a*", false),
            (&"n".repeat(256), false),
        ] {
            assert_eq!(namespace(text).is_ok(), is_valid, "{text}");
        }
    }
}
