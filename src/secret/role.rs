//! The ARNs of IAM roles.

use std::sync::Arc;

/// The ARN of an IAM role that Sidekey assumes to read secrets, such as
/// `arn:aws:iam::210987654321:role/secrets-reader`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleArn(Arc<str>);

/// Error: the text is not the ARN of an IAM role.
///
/// The message is that of AWS's Secrets Manager Agent.
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
            && is_made_of(name, "+=,.@/-");
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

/// Returns whether `text` is not empty, and contains only ASCII letters, digits, underscores and the
/// characters in `others`.
fn is_made_of(text: &str, others: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || others.contains(c);
    !text.is_empty() && text.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
