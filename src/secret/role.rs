//! The ARNs of IAM roles, and the patterns of such ARNs in `SIDEKEY_ROLES`.

use std::fmt;
use std::sync::Arc;

/// The maximum length of the ARN of a role, in bytes.
///
/// Source: `RoleArn` of `AssumeRole` in AWS's API reference.
const ARN_BYTES_MAX: usize = 2048;

/// The maximum number of roles with which Sidekey reads secrets at the same time. Each role has its
/// own AWS credentials and cached values.
pub(crate) const ROLES_MAX: usize = 20;

/// The ARN of an IAM role that Sidekey assumes to read secrets, such as
/// `arn:aws:iam::210987654321:role/secrets-reader`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleArn(Arc<str>);

/// Error: the text is not the ARN of an IAM role.
///
/// The error message is the same as that of AWS's Secrets Manager Agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid roleArn format, expected arn:<partition>:iam::<account>:role/<name>")]
pub struct BadRoleArn;

impl RoleArn {
    /// Parses the ARN of an IAM role. Accepts exactly the texts that AWS's Secrets Manager Agent
    /// accepts, which match the regular expression
    /// `^arn:[\w-]+:iam::\d{12}:role/[\w+=,.@/-]+$`.
    ///
    /// # Errors
    ///
    /// Returns an error if `text` is not such an ARN.
    pub fn parse(text: &str) -> Result<Self, BadRoleArn> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts[..] else {
            return Err(BadRoleArn);
        };
        let name = resource.strip_prefix("role/").ok_or(BadRoleArn)?;
        let is_valid = is_made_of(partition, "-")
            && account.len() == ACCOUNT_DIGITS
            && account.bytes().all(|b| b.is_ascii_digit())
            && is_made_of(name, "+=,.@/-")
            && text.len() <= ARN_BYTES_MAX;
        is_valid.then(|| Self(text.into())).ok_or(BadRoleArn)
    }

    /// Returns the complete ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the AWS account that owns the role.
    pub fn account(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }
}

/// The number of digits in the id of an AWS account.
const ACCOUNT_DIGITS: usize = 12;

/// Returns whether `text` is not empty, and contains only ASCII letters, digits, underscores and
/// the characters in `others`.
fn is_made_of(text: &str, others: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || others.contains(c);
    !text.is_empty() && text.chars().all(is_allowed)
}

impl fmt::Debug for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern of ARNs of roles, such as `arn:aws:iam::210987654321:role/sidekey-*`. A `*` matches
/// any characters, also `/` and `:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RolePattern(Box<str>);

/// Error: a pattern in `SIDEKEY_ROLES` matches the ARN of no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pattern matches no ARN of a role; write an ARN such as \
     arn:aws:iam::210987654321:role/reader, in which '*' matches any characters"
)]
pub(crate) struct BadRolePattern;

impl RolePattern {
    /// Parses a pattern of ARNs of roles.
    ///
    /// # Errors
    ///
    /// Returns an error if the pattern can match no ARN of a role.
    pub(crate) fn parse(text: &str) -> Result<Self, BadRolePattern> {
        let pattern = Self(text.into());
        // The first `*` can match any rest of an ARN, so only the text before this `*` is compared
        // with the beginning of an ARN.
        let Some((beginning, _)) = text.split_once('*') else {
            return RoleArn::parse(text).map(|_| pattern).map_err(|_| BadRolePattern);
        };
        let is_possible = is_made_of(text, "+=,.@/-:*")
            && ("arn:".starts_with(beginning) || beginning.starts_with("arn:"));
        if is_possible { Ok(pattern) } else { Err(BadRolePattern) }
    }

    pub(crate) fn matches(&self, role: &RoleArn) -> bool {
        let Some((first, mut pattern)) = self.0.split_once('*') else {
            return *self.0 == *role.0;
        };
        let Some(mut text) = role.0.strip_prefix(first) else { return false };
        while let Some((literal, rest)) = pattern.split_once('*') {
            // The first occurrence leaves the most text for the rest of the pattern.
            let Some(at) = text.find(literal) else { return false };
            text = &text[at + literal.len()..];
            pattern = rest;
        }
        text.ends_with(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use proptest::prelude::*;

    #[test]
    fn arn_of_a_role_has_the_form_that_awss_agent_accepts() {
        for text in [
            "arn:aws:iam::123456789012:role/reader",
            "arn:aws-us-gov:iam::123456789012:role/team/reader+=,.@_-1",
        ] {
            let role = RoleArn::parse(text);
            assert_eq!(role.as_ref().map(RoleArn::as_str), Ok(text));
            assert_eq!(role.as_ref().map(RoleArn::account), Ok("123456789012"));
        }
        for text in [
            "",
            "reader",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:user/reader",
            "arn:aws:iam::12345678901:role/reader",
            "arn:aws:iam::12345678901x:role/reader",
            "arn::iam::123456789012:role/reader",
            "arn:aws:iam:eu-north-1:123456789012:role/reader",
            "arn:aws:sts::123456789012:role/reader",
            "arn:aws:iam::123456789012:role/a:b",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam::123456789012:role/a\n",
            "arn:aws:iam::123456789012:role/\u{e9}",
        ] {
            assert_eq!(RoleArn::parse(text), Err(BadRoleArn), "{text:?}");
        }
    }
    #[test]
    fn arn_of_a_role_has_at_most_2048_bytes() {
        let long = format!("arn:aws:iam::123456789012:role/{}", "x".repeat(ARN_BYTES_MAX));
        assert_eq!(RoleArn::parse(&long), Err(BadRoleArn));
        assert!(RoleArn::parse(&long[..ARN_BYTES_MAX]).is_ok());
    }

    fn role(text: &str) -> RoleArn {
        RoleArn::parse(text).expect("the ARN of the role in the test must be valid")
    }

    #[test]
    fn star_in_a_pattern_matches_any_characters() {
        let app = role("arn:aws:iam::123456789012:role/team/app-reader");
        for (pattern, expected) in [
            ("arn:aws:iam::123456789012:role/team/app-reader", true),
            ("arn:aws:iam::123456789012:role/team/app-read", false),
            ("arn:aws:iam::123456789012:role/*", true),
            ("arn:aws:iam::123456789012:role/*-reader", true),
            ("arn:aws:iam::*:role/*app*", true),
            ("arn:aws:iam::*:role/*app", false),
            ("arn:aws:iam::210987654321:role/*", false),
            ("*", true),
            ("arn:*", true),
            ("arn:aws:iam::123456789012:role/team/app-reader*", true),
            ("arn:aws:iam::123456789012:role/team/app-reader*r", false),
        ] {
            let parsed = RolePattern::parse(pattern).expect("the pattern must be valid");
            assert_eq!(parsed.matches(&app), expected, "{pattern}");
        }
    }

    #[test]
    fn pattern_that_matches_no_role_is_refused() {
        for pattern in
            ["", "app", "role/*", "arn:aws:iam::123456789012:role/", "arn:* x", "a/*", "^arn:.*$"]
        {
            assert_eq!(RolePattern::parse(pattern), Err(BadRolePattern), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn for_any_text_a_valid_arn_matches_itself_and_a_star(
            text in text_of(&["arn", ":", "aws", "iam", "123456789012", "role", "/", "app", "*", " "]),
        ) {
            let Ok(role) = RoleArn::parse(&text) else { return Ok(()) };
            prop_assert_eq!(role.account().len(), 12);
            for pattern in [&*text, "*", "arn:*"] {
                let pattern = RolePattern::parse(pattern).expect("the pattern must be valid");
                prop_assert!(pattern.matches(&role));
            }
        }
    }
}
