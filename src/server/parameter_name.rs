//! Converts the name of a parameter in a request to a reference.
//!
//! The module has no side effects.

use crate::secret::reference::{PARAMETER_PREFIX, is_parameter};
use crate::secret::secret_parameter::SecretParameter;
use std::borrow::Cow;

/// Why the name of a parameter in a request is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadParameterName {
    #[error("name: expected the name or ARN of a parameter, but found another ARN")]
    OtherArn,
    /// Error: the name means a secret, and the caller does not ask for the decrypted value. The text
    /// is AWS's.
    #[error("WithDecryption flag must be True for retrieving a Secret Manager secret.")]
    EncryptedSecret,
}

/// Returns the reference to the parameter with the name or ARN `name`. A selector and a field can
/// follow the name. `is_encrypted` tells whether the caller asks for ciphertext.
///
/// # Errors
///
/// Fails if the name is the ARN of something else, or if it means a secret that the caller does not
/// want to be decrypted.
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
