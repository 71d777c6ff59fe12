//! Errors that only Parameter Store returns, with AWS's error messages.

use crate::error::AwsError;
use crate::location::Location;

/// Creates the error for an unknown parameter. The error message is empty, because AWS sends none.
pub(crate) fn parameter_not_found() -> AwsError {
    AwsError::new("ParameterNotFound", "")
}

/// Creates the error for a parameter that has no version with this number or label.
pub(crate) fn version_not_found(name: &str, selector: &str) -> AwsError {
    AwsError::new(
        "ParameterVersionNotFound",
        format!(
            "Systems Manager could not find version {selector} of {name}. Verify the version and \
             try again."
        ),
    )
}

/// Creates the error for a name with an empty version or label after the colon, such as `name:`, or
/// with several versions or labels, such as `name:1:2`.
pub(crate) fn malformed_selector() -> AwsError {
    AwsError::validation(
        "Invalid parameter name. Please use correct syntax for referencing a version/label  \
         <name>:<version/label>",
    )
}

/// Creates the error for a name that contains forbidden characters or starts with `ssm`.
pub(crate) fn invalid_name() -> AwsError {
    AwsError::validation(
        "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it \
         can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of \
         letters, numbers and the following 3 symbols .-_",
    )
}

/// Creates the error for a `SecureString` whose KMS key is unusable.
pub(crate) fn unusable_key(home: &Location) -> AwsError {
    let Location { account, region } = home;
    let key = "11111111-2222-4333-8444-555555555555";
    AwsError::new("InvalidKeyId", format!("arn:aws:kms:{region}:{account}:key/{key} is disabled."))
}

pub(crate) fn invalid_next_token() -> AwsError {
    AwsError::new("InvalidNextToken", "The specified token isn't valid.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_match_those_of_aws() {
        let check = |error: AwsError, json: &str| assert_eq!(error.to_json().to_string(), json);
        check(parameter_not_found(), r#"{"__type":"ParameterNotFound"}"#);
        check(
            version_not_found("/app/url", "7"),
            r#"{"__type":"ParameterVersionNotFound","message":"Systems Manager could not find version 7 of /app/url. Verify the version and try again."}"#,
        );
    }
}
