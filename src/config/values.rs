//! The parsers of settings. Each parser converts a string to a typed value.

use super::{size, span};
use crate::secret::arn::is_region;
use crate::secret::role::RolePattern;
use crate::secret::scope::Scope;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The beginning of the value of `SIDEKEY_TOKEN`, such as `file:///run/token`, if the token is in a
/// file.
pub(super) const FILE_PREFIX: &str = "file://";

/// The shortest time between two searches for the patterns in `SIDEKEY_SECRETS`. This limit
/// protects the quotas of AWS, which all agents of an account share.
const INTERVAL_MIN: Duration = Duration::from_secs(10);

/// The maximum number of patterns in `SIDEKEY_ROLES`. The number is limited because Sidekey
/// compares the role of each request with each pattern.
const ROLE_PATTERNS_MAX: usize = 100;

/// What the Lambda extension does if its start fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInitFailure {
    /// The Lambda extension keeps running after a failed start, and serves the secrets that it can
    /// read.
    #[default]
    Serve,
    /// The Lambda extension reports a failed start to Lambda, so that the start of the function
    /// fails too.
    Fail,
}

/// The value of `SIDEKEY_DIALECT`: whether Sidekey's HTTP responses have the format of AWS's
/// Secrets Manager Agent, or that of AWS's Lambda extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DialectSetting {
    /// Sidekey chooses the response format by the platform and by the environment variables.
    #[default]
    Auto,
    Agent,
    Extension,
}

/// Splits a list at commas and white space, and skips empty items.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_separator).filter(|item| !item.is_empty())
}

pub(super) fn is_separator(c: char) -> bool {
    c == ',' || c.is_whitespace()
}

/// Parses a list of patterns for the names and ARNs of secrets. Refuses an empty list with the
/// message `if_empty`, because an empty [`Scope`] would allow every secret.
pub(super) fn patterns(text: &str, if_empty: &str) -> Result<Scope, String> {
    let scope = Scope::new(list(text)).map_err(|bad| bad.to_string())?;
    if scope.is_open() { Err(if_empty.to_owned()) } else { Ok(scope) }
}

/// Parses a list of patterns of the ARNs of roles. The error message contains every invalid
/// pattern.
pub(super) fn role_patterns(text: &str) -> Result<Vec<RolePattern>, String> {
    let (mut patterns, mut problems) = (Vec::new(), Vec::new());
    for item in list(text) {
        match RolePattern::parse(item) {
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => problems.push(format!("pattern '{item}': {problem}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    if patterns.is_empty() {
        return Err(
            "the value must not be empty; unset the variable to allow every role that IAM \
                    allows"
                .to_owned(),
        );
    }
    if patterns.len() > ROLE_PATTERNS_MAX {
        return Err(format!("at most {ROLE_PATTERNS_MAX} patterns are allowed"));
    }
    Ok(patterns)
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("the path must not be empty".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

pub(super) fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        format!("the value must be a number from {} to {}", range.start(), range.end())
    })
}

pub(super) fn span(text: &str) -> Result<Duration, String> {
    span::parse(text).map_err(|bad| bad.to_string())
}

pub(super) fn positive_span(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err("the duration must be longer than zero".to_owned()),
        span => Ok(span),
    }
}

/// Parses the time between two searches for the patterns in `SIDEKEY_SECRETS`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Ok(Duration::ZERO),
        interval if interval < INTERVAL_MIN => {
            Err(format!("the value must be 0, or at least {}s", INTERVAL_MIN.as_secs()))
        }
        interval => Ok(interval),
    }
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    size::parse(text).map_err(|bad| bad.to_string())
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("the value must be true, false, 1 or 0".to_owned()),
    }
}

pub(super) fn region(text: &str) -> Result<String, String> {
    match is_region(text) {
        true => Ok(text.to_owned()),
        false => Err("the value must be a region like eu-north-1".to_owned()),
    }
}

/// Returns the value that `choices` contains for the name `text`. If the name is unknown, the error
/// message lists all names.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let chosen = choices.iter().find(|(name, _)| *name == text);
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let (last, others) =
            names.split_last().expect("a setting with fixed choices must have at least one choice");
        format!("the value must be {} or {last}", others.join(", "))
    })
}
