//! Parses the values of the arguments of `sidekey policy`.

use crate::secret::arn::is_region;
use crate::secret::role::RoleArn;

/// The maximum length of the argument of `sidekey policy --name`, in characters.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn role(text: &str) -> Result<RoleArn, &'static str> {
    RoleArn::parse(text).map_err(
        |_| "the value is not the ARN of a role, such as arn:aws:iam::210987654321:role/reader",
    )
}

pub(super) fn account(text: &str) -> Result<String, &'static str> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_account {
        Ok(text.to_owned())
    } else {
        Err("the id of an AWS account must have 12 digits")
    }
}

pub(in crate::commands) fn region(text: &str) -> Result<String, &'static str> {
    if is_region(text) {
        Ok(text.to_owned())
    } else {
        Err("the value must be the name of an AWS region, such as eu-north-1")
    }
}

/// Parses the argument of `sidekey policy --name`. The argument must consist of letters and digits,
/// and begin with a letter, because it is used in each statement's `Sid` and as a name in
/// Terraform.
///
/// Source: `Sid` in AWS's IAM user guide.
pub(super) fn sid(text: &str) -> Result<String, &'static str> {
    let is_sid = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= NAME_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_sid {
        Ok(text.to_owned())
    } else {
        Err("the name must be a letter, followed by up to 63 letters and digits")
    }
}
