//! Errors that only Secrets Manager returns, with AWS's error messages.

use crate::error::AwsError;

pub(crate) fn secret_not_found() -> AwsError {
    let message = "Secrets Manager can't find the specified secret.";
    AwsError::new("ResourceNotFoundException", message)
}

/// Creates the error for a request that contains an unknown version id: no version of the secret
/// has the id `id`.
pub(crate) fn version_not_found(id: &str) -> AwsError {
    let message =
        format!("Secrets Manager can't find the specified secret value for VersionId: {id}");
    AwsError::new("ResourceNotFoundException", message)
}

/// Creates the error for a request that contains an unknown staging label (such as AWSPENDING): no
/// version of the secret has this label.
pub(crate) fn label_not_found(label: &str) -> AwsError {
    let message =
        format!("Secrets Manager can't find the specified secret value for staging label: {label}");
    AwsError::new("ResourceNotFoundException", message)
}

pub(crate) fn invalid_next_token() -> AwsError {
    AwsError::new("InvalidNextTokenException", "The NextToken value is invalid.")
}

pub(crate) fn decryption_failure() -> AwsError {
    let message =
        "Secrets Manager can't decrypt the protected secret text using the provided KMS key.";
    AwsError::new("DecryptionFailure", message)
}

pub(crate) fn marked_for_deletion() -> AwsError {
    AwsError::invalid_request(
        "You can't perform this operation on the secret because it was marked for deletion.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_match_those_of_aws() {
        assert_eq!(
            secret_not_found().to_json().to_string(),
            r#"{"Message":"Secrets Manager can't find the specified secret.","__type":"ResourceNotFoundException"}"#,
        );
    }
}
