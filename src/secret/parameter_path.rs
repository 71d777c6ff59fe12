//! Paths of parameters. A pattern such as `ssm:/app/*` in `SIDEKEY_SECRETS` means all parameters
//! directly under the path `/app`.

use super::name::{PARAMETER_LEVELS_MAX, PARAMETER_NAME_CHARS_MAX, is_parameter_char};
use super::reference::PARAMETER_PREFIX;

/// A path whose parameters Sidekey fetches together, with `GetParametersByPath`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParameterPath {
    /// The path with a slash at both ends, such as `/app/`. The path of all parameters without
    /// another slash is `/`.
    pub(crate) path: Box<str>,
    /// Whether the parameters in the levels below the path belong to it too.
    pub(crate) is_recursive: bool,
}

/// The error for an invalid pattern of a path of parameters.
///
/// Positions are counted in characters, from 1. The error messages contain no part of the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadParameterPath {
    #[error("'**' is not supported; write a path for each level, such as ssm:/app/* ssm:/app/db/*")]
    DoubleStar,
    #[error(
        "a path of parameters begins with ssm:/ and ends in /*, such as ssm:/app/*, and has no \
         other wildcard, no version and no field"
    )]
    Form,
    #[error("character {at} is not allowed; use only A-Za-z0-9/_.- in a path of parameters")]
    Character { at: usize },
    #[error("the path of parameters is longer than {PARAMETER_NAME_CHARS_MAX} characters")]
    TooLong,
    #[error("a path of parameters has fewer than {PARAMETER_LEVELS_MAX} parts between slashes")]
    TooManyLevels,
}

impl ParameterPath {
    /// Returns whether the reference `text` means a path, because the name of a parameter after
    /// `ssm:` contains a wildcard.
    pub(crate) fn is_pattern(text: &str) -> bool {
        text.strip_prefix(PARAMETER_PREFIX).is_some_and(|name| name.contains(['*', '?', '[']))
    }

    /// Parses a pattern such as `ssm:/app/*`.
    ///
    /// # Errors
    ///
    /// Returns the first mistake in the pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, BadParameterPath> {
        if text.contains("**") {
            return Err(BadParameterPath::DoubleStar);
        }
        let path = text
            .strip_prefix(PARAMETER_PREFIX)
            .and_then(|name| name.strip_suffix('*'))
            .filter(|path| path.starts_with('/') && path.ends_with('/'))
            .filter(|path| !path.contains(['*', '?', '[', ':', '#']))
            .ok_or(BadParameterPath::Form)?;
        if let Some(at) = path.chars().position(|c| !is_parameter_char(c)) {
            return Err(BadParameterPath::Character { at: PARAMETER_PREFIX.len() + at + 1 });
        }
        if path.len() > PARAMETER_NAME_CHARS_MAX {
            return Err(BadParameterPath::TooLong);
        }
        // The name of each parameter directly under the path has one more level than the path.
        if path.matches('/').count() > PARAMETER_LEVELS_MAX {
            return Err(BadParameterPath::TooManyLevels);
        }
        Ok(Self { path: path.into(), is_recursive: false })
    }

    /// Returns the pattern from which [`parse`](Self::parse) makes this path.
    pub(crate) fn pattern(&self) -> String {
        let star = if self.is_recursive { "**" } else { "*" };
        format!("{PARAMETER_PREFIX}{}{star}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use proptest::prelude::*;

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
            ("ssm:/app/*", "/app/"),
            ("ssm:/app/db.v-1/*", "/app/db.v-1/"),
            ("ssm:/*", "/"),
            (&deepest, &deepest[4..deepest.len() - 1]),
        ] {
            let parsed = ParameterPath::parse(text).expect("the path in the test must be valid");
            assert_eq!((&*parsed.path, parsed.is_recursive), (path, false));
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
            ("ssm:/app/a*", BadParameterPath::Form),
            ("ssm:/app/?", BadParameterPath::Form),
            ("ssm:/[ab]/*", BadParameterPath::Form),
            ("ssm:app/*", BadParameterPath::Form),
            ("ssm:*", BadParameterPath::Form),
            ("ssm:/app/*:1", BadParameterPath::Form),
            ("ssm:/app/*#field", BadParameterPath::Form),
            ("ssm:/a+b/*", BadParameterPath::Character { at: 7 }),
            (&long, BadParameterPath::TooLong),
            (&deep, BadParameterPath::TooManyLevels),
        ] {
            assert_eq!(ParameterPath::parse(text), Err(expected), "{text}");
        }
        assert!(BadParameterPath::DoubleStar.to_string().contains("write a path for each level"));
        assert!(BadParameterPath::Form.to_string().contains("ends in /*, such as ssm:/app/*"));
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
