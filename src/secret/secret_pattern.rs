//! Patterns for secrets whose names are unknown before the agent starts: a pattern of names, such
//! as `app/*/db`, or a tag, such as `tag:channel=whatsapp`.

use super::glob::Glob;
use super::matchable;
use super::name::PARAMETER_PREFIX;
use super::scope::{Scope, is_valid_name};
use super::secret_id::ARN_START;
use super::service::Service;

/// The text before the key of a tag, as in `tag:channel=whatsapp`.
pub(crate) const TAG_PREFIX: &str = "tag:";

/// The maximum length of the key of a tag, in characters.
///
/// Source: `Tag` in the API reference of Secrets Manager.
const TAG_KEY_CHARS_MAX: usize = 128;

/// The maximum length of the value of a tag, in characters.
const TAG_VALUE_CHARS_MAX: usize = 256;

/// A pattern of names, such as `app/*/db`, or a tag, such as `tag:channel=whatsapp`. The agent asks
/// AWS for the secrets that match.
#[derive(Clone, Debug)]
pub struct SecretPattern {
    text: Box<str>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Name(Glob),
    Tag {
        key: Box<str>,
        /// The value of the tag. `None` means any value.
        value: Option<Box<str>>,
    },
}

/// The request with which AWS finds the candidates for a pattern. AWS compares only the beginnings
/// of names and tags, so Sidekey must compare each candidate with the pattern again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search<'a> {
    /// AWS returns the values of all secrets whose names begin with this text.
    ValuesByName(&'a str),
    /// AWS returns the names and tags of all secrets, without values.
    All,
    /// AWS returns the names and tags of the secrets that have a tag key that begins with `key`,
    /// and a tag value that begins with `value`. `None` means any value.
    Tags { key: &'a str, value: Option<&'a str> },
}

/// The error for an invalid pattern for secrets. Positions are counted in characters, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSecretPattern {
    #[error("{0}")]
    Name(String),
    #[error(
        "AWS cannot search for a pattern of ARNs: write a pattern of names, or write the complete \
         ARN of each secret"
    )]
    Arn,
    #[error("the key of the tag is missing: write tag:KEY or tag:KEY=VALUE")]
    NoTagKey,
    #[error(
        "character {at} is not allowed: a tag has no wildcards, and Sidekey can search only for \
         tags with the characters A-Za-z0-9:_@/+=.-"
    )]
    TagCharacter { at: usize },
    #[error("the {part} of the tag is longer than {max} characters")]
    TagTooLong { part: &'static str, max: usize },
}

impl SecretPattern {
    /// Returns whether `text` is a pattern for secrets, and not the name or ARN of one secret.
    pub(crate) fn is_pattern(text: &str) -> bool {
        let name = text.split('#').next().unwrap_or_default();
        text.starts_with(TAG_PREFIX)
            || (!text.starts_with(PARAMETER_PREFIX) && name.contains(['*', '?', '[']))
    }

    /// Parses a pattern of names, such as `app/*/db`, or a tag: `tag:KEY=VALUE`, or `tag:KEY` for
    /// any value.
    ///
    /// # Errors
    ///
    /// Returns the first mistake in the pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, BadSecretPattern> {
        let kind = match text.strip_prefix(TAG_PREFIX) {
            Some(tag) => parse_tag(tag)?,
            None if text.starts_with(ARN_START) => return Err(BadSecretPattern::Arn),
            None => Kind::Name(parse_name(text).map_err(BadSecretPattern::Name)?),
        };
        Ok(Self { text: text.into(), kind })
    }

    /// Returns the pattern as the user wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the key and the value of the tag, if the pattern is a tag.
    pub(crate) fn tag(&self) -> Option<(&str, Option<&str>)> {
        match &self.kind {
            Kind::Name(_) => None,
            Kind::Tag { key, value } => Some((key, value.as_deref())),
        }
    }

    pub(crate) fn search(&self) -> Search<'_> {
        match &self.kind {
            Kind::Name(glob) => match prefix(glob.as_str()) {
                // AWS rejects an empty text, and excludes names if the text begins with `!`.
                "" => Search::All,
                prefix if prefix.starts_with('!') => Search::All,
                prefix => Search::ValuesByName(prefix),
            },
            Kind::Tag { key, value } => {
                // An empty value would match the value of every tag.
                let value = value.as_deref().filter(|value| !value.is_empty());
                Search::Tags { key, value }
            }
        }
    }

    /// Returns whether the pattern matches the secret with this name and these tags. `tags`
    /// contains the key and the value of each tag, and may be empty if the pattern is a pattern of
    /// names.
    pub(crate) fn matches<'a>(
        &self,
        name: &str,
        mut tags: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> bool {
        match &self.kind {
            Kind::Name(glob) => is_valid_name(Service::SecretsManager, name) && glob.matches(name),
            Kind::Tag { key, value } => tags.any(|(own_key, own_value)| {
                own_key == &**key && value.as_deref().is_none_or(|value| own_value == value)
            }),
        }
    }

    /// Returns whether `scope` allows all secrets that this pattern of names matches. Returns
    /// `true` for a tag, because only AWS knows the names of the secrets with this tag.
    pub(crate) fn is_within(&self, scope: &Scope) -> bool {
        match &self.kind {
            Kind::Name(glob) => scope.covers(glob),
            Kind::Tag { .. } => true,
        }
    }

    /// Returns whether `scope` contains names that this pattern of names may match. Returns `false`
    /// for a tag, because only AWS knows the names of the secrets with this tag.
    pub(crate) fn may_overlap(&self, scope: &Scope) -> bool {
        match &self.kind {
            Kind::Name(glob) => scope.overlaps(glob),
            Kind::Tag { .. } => false,
        }
    }
}

fn parse_name(text: &str) -> Result<Glob, String> {
    let glob = Glob::new(text).map_err(|bad| bad.to_string())?;
    matchable::check_name(&glob, Service::SecretsManager).map_err(|bad| bad.to_string())?;
    Ok(glob)
}

fn parse_tag(tag: &str) -> Result<Kind, BadSecretPattern> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ":_@/+=.-".contains(c);
    if let Some(at) = tag.chars().position(|c| !is_allowed(c)) {
        return Err(BadSecretPattern::TagCharacter { at: TAG_PREFIX.len() + at + 1 });
    }
    let (key, value) = match tag.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (tag, None),
    };
    if key.is_empty() {
        return Err(BadSecretPattern::NoTagKey);
    }
    let parts =
        [("key", key, TAG_KEY_CHARS_MAX), ("value", value.unwrap_or(""), TAG_VALUE_CHARS_MAX)];
    if let Some((part, _, max)) = parts.into_iter().find(|(_, text, max)| text.len() > *max) {
        return Err(BadSecretPattern::TagTooLong { part, max });
    }
    Ok(Kind::Tag { key: key.into(), value: value.map(Into::into) })
}

/// Returns the beginning of a pattern of names before its first wildcard.
fn prefix(pattern: &str) -> &str {
    pattern.split(['*', '?', '[']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use proptest::prelude::*;

    fn pattern(text: &str) -> SecretPattern {
        SecretPattern::parse(text).expect("the pattern in the test must be valid")
    }

    #[test]
    fn only_wildcards_and_tags_of_secrets_are_patterns() {
        for (text, expected) in [
            ("app/*/db", true),
            ("app/?b", true),
            ("app/[ab]", true),
            ("tag:channel", true),
            ("arn:aws:secretsmanager:*", true),
            ("app/*#field", true),
            ("app/db", false),
            ("app/db#a*b", false),
            ("ssm:/app/*", false),
        ] {
            assert_eq!(SecretPattern::is_pattern(text), expected, "{text}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused_with_a_reason() {
        let long = format!("tag:{}", "k".repeat(129));
        let long_value = format!("tag:k={}", "v".repeat(257));
        for (text, expected) in [
            ("app/**", "'**' is not supported"),
            ("app/[a", "no ']'"),
            ("app/*#field", "remove the '#' and the field"),
            ("app *", "a secret's name cannot contain ' '"),
            ("arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/*", "pattern of names"),
            ("tag:", "write tag:KEY or tag:KEY=VALUE"),
            ("tag:=whatsapp", "write tag:KEY or tag:KEY=VALUE"),
            ("tag:channel=*", "character 13 is not allowed"),
            ("tag:köy", "character 6 is not allowed"),
            (&long, "the key of the tag is longer than 128"),
            (&long_value, "the value of the tag is longer than 256"),
        ] {
            let problem = SecretPattern::parse(text).expect_err(text).to_string();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn names_are_compared_exactly_with_the_complete_pattern() {
        let pattern = pattern("whatsapp-credentials/*/*/twilio");
        for (name, expected) in [
            ("whatsapp-credentials/acme/support/twilio", true),
            ("WhatsApp-Credentials/acme/support/twilio", false),
            ("whatsapp-credentials/acme/twilio", false),
            ("whatsapp-credentials/acme/support/twilio-old", false),
            ("whatsapp-credentials/../support/twilio", false),
        ] {
            assert_eq!(pattern.matches(name, [].into_iter()), expected, "{name}");
        }
    }

    #[test]
    fn tags_are_compared_exactly() {
        let check = |text: &str, tags: &[(&str, &str)], expected: bool| {
            let is_match = pattern(text).matches("app/db", tags.iter().copied());
            assert_eq!(is_match, expected, "{text} {tags:?}");
        };
        check("tag:channel=whatsapp", &[("team", "a"), ("channel", "whatsapp")], true);
        check("tag:channel=whatsapp", &[("channel", "whatsapp-2")], false);
        check("tag:channel=whatsapp", &[("channel-2", "whatsapp")], false);
        check("tag:channel=whatsapp", &[("channel", "sms"), ("team", "whatsapp")], false);
        check("tag:channel", &[("channel", "")], true);
        check("tag:channel", &[("Channel", "a")], false);
        check("tag:channel=", &[("channel", "")], true);
        check("tag:channel=", &[("channel", "a")], false);
        check("tag:a=b=c", &[("a", "b=c")], true);
        check("tag:channel", &[], false);
    }

    #[test]
    fn aws_is_asked_for_the_longest_literal_beginning() {
        for (text, expected) in [
            ("app/*/db", Search::ValuesByName("app/")),
            ("app/a[bc]", Search::ValuesByName("app/a")),
            ("*/db", Search::All),
            ("!app/*", Search::All),
            ("rds!db-*", Search::ValuesByName("rds!db-")),
            ("tag:channel", Search::Tags { key: "channel", value: None }),
            ("tag:channel=sms", Search::Tags { key: "channel", value: Some("sms") }),
            ("tag:channel=", Search::Tags { key: "channel", value: None }),
        ] {
            assert_eq!(pattern(text).search(), expected, "{text}");
        }
    }

    #[test]
    fn pattern_wider_than_the_scope_is_detected() {
        for (text, scope, expected) in [
            ("app/*/db", vec![], true),
            ("app/*/db", vec!["app/*/db"], true),
            ("app/*/db", vec!["app/*/*"], true),
            ("app/*/db", vec!["other", "*/*/db"], true),
            ("app/*/db", vec!["app/a/db", "app/b/db"], false),
            ("app/*", vec!["app/a*"], false),
            ("app/a*", vec!["app/*"], true),
            ("app/*", vec!["app/*/db"], false),
            ("app/*", vec!["ssm:app/*"], false),
            ("tag:channel", vec!["app/*"], true),
        ] {
            let scope = Scope::new(scope).expect("the patterns in the test must be valid");
            assert_eq!(pattern(text).is_within(&scope), expected, "{text} {scope:?}");
        }
    }

    proptest! {
        #[test]
        fn for_any_text_a_pattern_finds_only_names_with_its_beginning(
            text in text_of(&["app", "/", "*", "?", "[ab]", "tag:", "=", "!", "#"]),
            name in text_of(&["app", "/", "a", "b", "!", ".."]),
        ) {
            let Ok(pattern) = SecretPattern::parse(&text) else { return Ok(()) };
            prop_assert_eq!(pattern.as_str(), &text);
            if let Search::ValuesByName(prefix) = pattern.search()
                && pattern.matches(&name, [].into_iter())
            {
                prop_assert!(name.starts_with(prefix));
            }
        }
    }
}
