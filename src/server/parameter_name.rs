//! Checks the name of a parameter in a request, and converts it to the form that the cache uses,
//! such as `ssm:/app/url`.
//!
//! The module has no side effects.

use crate::secret::reference::{PARAMETER_PREFIX, is_parameter};
use crate::secret::secret_parameter::SecretParameter;
use std::borrow::Cow;

/// Why the name of a parameter in a request is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadParameterName {
    #[error("name: expected the name or ARN of a parameter, but found the ARN of something else")]
    OtherArn,
    /// Error: the name, such as `/aws/reference/secretsmanager/app/db`, refers to a secret, but the
    /// request does not set `WithDecryption`. The error text is AWS's.
    #[error("WithDecryption flag must be True for retrieving a Secret Manager secret.")]
    EncryptedSecret,
}

/// Returns a reference to a parameter: the parameter's ARN, or `ssm:` and the parameter's name.
/// `is_encrypted` tells whether the caller asks for the encrypted value.
///
/// # Errors
///
/// Fails if `name` is an ARN, but not that of a parameter. Also fails if `name` means a secret and
/// `is_encrypted` is set.
pub(super) fn reference_to(
    name: Cow<'_, str>,
    is_encrypted: bool,
) -> Result<Cow<'_, str>, BadParameterName> {
    if name.starts_with("arn:") {
        return if is_parameter(&name) { Ok(name) } else { Err(BadParameterName::OtherArn) };
    }
    if is_encrypted && SecretParameter::of(&name).is_some() {
        return Err(BadParameterName::EncryptedSecret);
    }
    Ok(Cow::Owned([PARAMETER_PREFIX, &name].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, is_encrypted: bool, expected: Result<&str, BadParameterName>) {
        let reference = reference_to(Cow::Borrowed(name), is_encrypted);
        assert_eq!(reference.as_deref(), expected.as_deref(), "{name}");
    }

    #[test]
    fn names_and_arns_of_parameters_become_references() {
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
        for is_encrypted in [false, true] {
            check("/app/url:3", is_encrypted, Ok("ssm:/app/url:3"));
            check("url", is_encrypted, Ok("ssm:url"));
            check(arn, is_encrypted, Ok(arn));
            let secret = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
            check(secret, is_encrypted, Err(BadParameterName::OtherArn));
            check("arn:aws:s3:::x", is_encrypted, Err(BadParameterName::OtherArn));
        }
        let secret = "/aws/reference/secretsmanager/app/db";
        check(secret, false, Ok("ssm:/aws/reference/secretsmanager/app/db"));
        check(secret, true, Err(BadParameterName::EncryptedSecret));
    }
}
