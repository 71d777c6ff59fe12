//! The parsers of settings. Each parser turns the text of a setting into a typed value.

use super::{size, span};
use crate::secret::arn::is_region;
use crate::secret::reference::Reference;
use crate::secret::scope::Scope;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The prefix of a token setting that contains the path of a file with the token, as in
/// `file:///run/token`.
pub(super) const FILE_PREFIX: &str = "file://";

/// The maximum number of secrets in `SIDEKEY_SECRETS`.
pub(super) const SECRETS_MAX: usize = 1000;

/// What the Lambda extension does if its start fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInitFailure {
    /// If its start fails, the Lambda extension keeps running and serves the secrets that it can
    /// read.
    #[default]
    Serve,
    /// If its start fails, the Lambda extension makes Lambda fail the start of the function.
    Fail,
}

/// The value of `SIDEKEY_DIALECT`: which of AWS's agents Sidekey imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DialectSetting {
    /// Sidekey chooses which of AWS's agents it imitates, by the platform and by the environment
    /// variables that are set.
    #[default]
    Auto,
    /// The agent's responses have the format of AWS's Secrets Manager Agent.
    Agent,
    /// The agent's responses have the format of AWS's Lambda extension.
    Extension,
}

/// Splits a list at commas and white space. Empty items are skipped.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty())
}

/// Parses the list of secrets to prefetch. Each item refers to a secret by name or ARN. The error
/// names every malformed item.
pub(super) fn references(text: &str) -> Result<Vec<Reference>, String> {
    let (mut references, mut problems) = (Vec::new(), Vec::new());
    for item in list(text) {
        match Reference::parse(item) {
            Ok(reference) => references.push(reference),
            Err(bad) => problems.push(format!("'{item}': {bad}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    if references.len() > SECRETS_MAX {
        return Err(format!("at most {SECRETS_MAX} secrets are allowed"));
    }
    Ok(references)
}

/// Parses a list of patterns for names and ARNs of secrets. Returns the error `if_empty` for an
/// empty list, because a [`Scope`] without patterns matches every secret: a variable that is empty
/// by accident must not allow all secrets.
pub(super) fn patterns(text: &str, if_empty: &str) -> Result<Scope, String> {
    let scope = Scope::new(list(text)).map_err(|bad| bad.to_string())?;
    if scope.is_open() { Err(if_empty.to_owned()) } else { Ok(scope) }
}

/// Parses the path of a file or a socket. An empty path is an error.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// Parses a number. A number outside `range` is an error.
pub(super) fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("a number from {} to {} expected", range.start(), range.end()))
}

/// Parses a span of time, such as `5m`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    span::parse(text).map_err(|bad| bad.to_string())
}

/// Parses a span of time, such as `5m`. A span of zero is an error.
pub(super) fn positive_span(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        span => Ok(span),
    }
}

/// Parses a size of memory, such as `32MiB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    size::parse(text).map_err(|bad| bad.to_string())
}

/// Parses `true`, `false`, `1` or `0`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("true, false, 1 or 0 expected".to_owned()),
    }
}

/// Parses the name of an AWS region.
pub(super) fn region(text: &str) -> Result<String, String> {
    match is_region(text) {
        true => Ok(text.to_owned()),
        false => Err("a region like eu-north-1 expected".to_owned()),
    }
}

/// Returns the value that belongs to `text` in `choices`. The error for an unknown text lists all
/// texts in `choices`.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let chosen = choices.iter().find(|(name, _)| *name == text);
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let (last, others) =
            names.split_last().expect("every list of choices has at least one item");
        format!("{} or {last} expected", others.join(", "))
    })
}
