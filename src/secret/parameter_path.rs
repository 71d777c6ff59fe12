//! Paths of Parameter Store, such as `/app`, and the patterns for the parameters under a path, such
//! as `ssm:/app/*`.

use super::name::{
    PARAMETER_LEVELS_MAX, PARAMETER_NAME_CHARS_MAX, PARAMETER_PREFIX as PREFIX, is_parameter_char,
};
use super::secret_parameter::SecretParameter;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A request for all parameters under a path, such as `/app`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParameterPath {
    text: Box<str>,
    path: Box<str>,
    is_recursive: bool,
    /// The JSON of the filters. Copies of this request share the JSON in memory, because the JSON
    /// can be long.
    filters: Option<Arc<str>>,
}

/// The error for an invalid pattern for the parameters under a path. `ssm:/app/*` is a valid
/// pattern.
///
/// Positions are counted in characters, from 1. The error messages contain no part of the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadParameterPath {
    #[error("'**' is not supported; write a path for each level, such as ssm:/app/* ssm:/app/db/*")]
    DoubleStar,
    #[error(
        "a path of parameters must begin with ssm:/ and end in /*, such as ssm:/app/*, and must \
         not have another wildcard, a version or a field"
    )]
    Form,
    #[error("character {at} is not allowed; use only A-Za-z0-9/_.- in a path of parameters")]
    Character { at: usize },
    #[error(
        "the names under /aws/reference/secretsmanager/ mean secrets of Secrets Manager, and cannot \
         be listed: write the secret's name, without 'ssm:/aws/reference/secretsmanager/'"
    )]
    Secrets,
    #[error("the path of parameters is longer than {PARAMETER_NAME_CHARS_MAX} characters")]
    TooLong,
    #[error(
        "a path of parameters must have fewer than {PARAMETER_LEVELS_MAX} parts between slashes"
    )]
    TooManyLevels,
}

impl ParameterPath {
    /// Returns whether `text` is a pattern for parameters, such as `ssm:/app/*`, and not the name
    /// of one parameter.
    pub(crate) fn is_pattern(text: &str) -> bool {
        text.strip_prefix(PREFIX).is_some_and(|name| name.contains(['*', '?', '[']))
    }

    /// Parses a pattern such as `ssm:/app/*`, which means all parameters directly under `/app`.
    ///
    /// # Errors
    ///
    /// Returns the first mistake in the pattern.
    pub(crate) fn parse(pattern: &str) -> Result<Self, BadParameterPath> {
        if pattern.contains("**") {
            return Err(BadParameterPath::DoubleStar);
        }
        let path = pattern
            .strip_prefix(PREFIX)
            .and_then(|name| name.strip_suffix("/*"))
            .filter(|path| path.is_empty() || (path.starts_with('/') && !path.ends_with('/')))
            .filter(|path| !path.contains(['*', '?', '[', ':', '#']))
            .ok_or(BadParameterPath::Form)?;
        if let Some(at) = path.chars().position(|c| !is_parameter_char(c)) {
            return Err(BadParameterPath::Character { at: PREFIX.len() + at + 1 });
        }
        // The check uses the pattern, because `path` lacks the slash at the end of
        // `/aws/reference/secretsmanager/`.
        if SecretParameter::of(&pattern[PREFIX.len()..]).is_some() {
            return Err(BadParameterPath::Secrets);
        }
        if path.len() > PARAMETER_NAME_CHARS_MAX {
            return Err(BadParameterPath::TooLong);
        }
        // The name of each parameter directly under the path has one more part than the path.
        if path.matches('/').count() >= PARAMETER_LEVELS_MAX {
            return Err(BadParameterPath::TooManyLevels);
        }
        Ok(Self::new(path, false, None))
    }

    /// Returns the pattern of the parameters under the path, such as `ssm:/app/*`.
    pub(crate) fn pattern(&self) -> &str {
        self.text.split_once('#').map_or(&self.text, |(pattern, _)| pattern)
    }

    /// Makes a request for the parameters under `path`. If `is_recursive` is `false`, the request
    /// asks only for parameters whose names have one more part than `path`. `filters` is the JSON
    /// of `ParameterFilters` in a call of `GetParametersByPath`.
    ///
    /// A slash at the end of `path` changes nothing, as in Parameter Store.
    pub(crate) fn new(path: &str, is_recursive: bool, filters: Option<&str>) -> Self {
        let path = path.trim_end_matches('/');
        let star = if is_recursive { "**" } else { "*" };
        // No reference contains `#` in its name, so no reference to a parameter equals this text.
        let mut text = format!("{PREFIX}{path}/{star}#path");
        if let Some(filters) = filters {
            let mut hasher = DefaultHasher::new();
            filters.hash(&mut hasher);
            text.push_str(&format!("-{:016x}", hasher.finish()));
        }
        let path = if path.is_empty() { "/" } else { path };
        Self {
            text: text.into(),
            path: path.into(),
            is_recursive,
            filters: filters.map(Into::into),
        }
    }

    /// Returns a text that identifies this request in the cache and in logs, such as
    /// `ssm:/app/*#path`.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_recursive(&self) -> bool {
        self.is_recursive
    }

    pub(crate) fn filters(&self) -> Option<&str> {
        self.filters.as_deref()
    }

    /// Returns whether the parameter `name` is under the path. The function ignores the filters of
    /// the request.
    ///
    /// Parameter Store lists a parameter whose name has no slash, such as `url`, under the path
    /// `/`.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let rest = match &*self.path {
            "/" => Some(name.strip_prefix('/').unwrap_or(name)),
            path => name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/')),
        };
        rest.is_some_and(|rest| !rest.is_empty() && (self.is_recursive || !rest.contains('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use proptest::prelude::*;

    #[test]
    fn slash_at_the_end_of_a_path_changes_nothing() {
        let path = ParameterPath::new("/app", false, None);
        assert_eq!(path, ParameterPath::new("/app/", false, None));
        assert_eq!((path.as_str(), path.path()), ("ssm:/app/*#path", "/app"));
        let root = ParameterPath::new("/", true, Some("[]"));
        assert!(root.as_str().starts_with("ssm:/**#path-") && root.path() == "/");
        assert_ne!(root.as_str(), ParameterPath::new("/", true, Some("[{}]")).as_str());
    }

    #[test]
    fn path_contains_its_children_or_all_parameters_below_it() {
        for (path, is_recursive, name, expected) in [
            ("/app", false, "/app/url", true),
            ("/app", false, "/app/a/url", false),
            ("/app", true, "/app/a/url", true),
            ("/app", true, "/apple/url", false),
            ("/app", true, "/app", false),
            ("/", false, "/url", true),
            ("/", false, "url", true),
            ("/", true, "url", true),
            ("/app", true, "url", false),
            ("/", false, "/app/url", false),
            ("/", true, "/app/url", true),
        ] {
            let found = ParameterPath::new(path, is_recursive, None).contains(name);
            assert_eq!(found, expected, "{path} {is_recursive} {name}");
        }
    }

    #[test]
    fn only_names_of_parameters_with_wildcards_are_paths() {
        for (text, expected) in [
            ("ssm:/app/*", true),
            ("ssm:/app/?", true),
            ("ssm:/app/[ab]", true),
            ("ssm:/app/url", false),
            ("/app/*", false),
            ("arn:aws:ssm:eu-north-1:123456789012:parameter/app/*", false),
        ] {
            assert_eq!(ParameterPath::is_pattern(text), expected, "{text}");
        }
    }

    #[test]
    fn star_after_a_slash_is_the_path_before_it() {
        let deepest = format!("ssm:{}/*", "/a".repeat(PARAMETER_LEVELS_MAX - 1));
        for (text, path) in [
            ("ssm:/app/*", "/app"),
            ("ssm:/app/db.v-1/*", "/app/db.v-1"),
            ("ssm:/*", "/"),
            (&deepest, &deepest[4..deepest.len() - 2]),
        ] {
            let parsed = ParameterPath::parse(text).expect("the path in the test must be valid");
            assert_eq!((parsed.path(), parsed.is_recursive()), (path, false));
            assert_eq!(parsed.pattern(), text);
        }
    }

    #[test]
    fn other_patterns_are_refused_with_a_remedy() {
        let long = format!("ssm:/{}/*", "a".repeat(PARAMETER_NAME_CHARS_MAX));
        let deep = format!("ssm:{}/*", "/a".repeat(PARAMETER_LEVELS_MAX));
        for (text, expected) in [
            ("ssm:/app/**", BadParameterPath::DoubleStar),
            ("ssm:/app/*/url", BadParameterPath::Form),
            ("ssm:/app/*/*", BadParameterPath::Form),
            ("ssm:/app//*", BadParameterPath::Form),
            ("ssm:/app/a*", BadParameterPath::Form),
            ("ssm:/app/?", BadParameterPath::Form),
            ("ssm:/[ab]/*", BadParameterPath::Form),
            ("ssm:app/*", BadParameterPath::Form),
            ("ssm:*", BadParameterPath::Form),
            ("ssm:/app/*:1", BadParameterPath::Form),
            ("ssm:/app/*#field", BadParameterPath::Form),
            ("ssm:/aws/reference/secretsmanager/*", BadParameterPath::Secrets),
            ("ssm:/aws/reference/secretsmanager/app/*", BadParameterPath::Secrets),
            ("ssm:/a+b/*", BadParameterPath::Character { at: 7 }),
            (&long, BadParameterPath::TooLong),
            (&deep, BadParameterPath::TooManyLevels),
        ] {
            assert_eq!(ParameterPath::parse(text), Err(expected), "{text}");
        }
        assert!(BadParameterPath::DoubleStar.to_string().contains("write a path for each level"));
        assert!(BadParameterPath::Form.to_string().contains("end in /*, such as ssm:/app/*"));
    }

    proptest! {
        #[test]
        fn for_any_text_an_accepted_path_is_its_pattern_again(
            text in text_of(&["ssm:", "/", "*", "**", "?", "a", ".", ":", "#"]),
        ) {
            if let Ok(parsed) = ParameterPath::parse(&text) {
                prop_assert_eq!(parsed.pattern(), text);
            }
        }
    }
}
