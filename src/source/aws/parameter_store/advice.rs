//! Advice for the user after a failed call to Parameter Store. It replaces the general advice,
//! which is about secrets of Secrets Manager.

use super::request::Operation;
use crate::source::{FetchError, FetchErrorKind};

/// Adds advice to an error of Parameter Store in the AWS region `region`, unless the error already
/// has advice, or the general advice for this kind of error also applies to parameters.
pub(super) fn advised(error: FetchError, operation: Operation, region: &str) -> FetchError {
    let own = || of(error.kind, operation, region).map(Into::into);
    let advice = error.advice.clone().or_else(own);
    FetchError { advice, ..error }
}

fn of(kind: FetchErrorKind, operation: Operation, region: &str) -> Option<String> {
    let text = match kind {
        FetchErrorKind::NotFound => {
            return Some(format!(
                "check the parameter's name, the version or label, and the account; Sidekey looked in \
                 region {region}, and a plain name refers to the function's own account"
            ));
        }
        FetchErrorKind::Denied if operation == Operation::ByPath => {
            "grant ssm:GetParametersByPath on this path to the function's role, and kms:Decrypt if \
             its SecureString parameters have a KMS key of their own"
        }
        FetchErrorKind::Denied => {
            "grant ssm:GetParameter and ssm:GetParameters on this parameter to the function's role, \
             and kms:Decrypt if the parameter is a SecureString with a KMS key of its own"
        }
        FetchErrorKind::Decryption => {
            "enable the KMS key of this parameter, and grant kms:Decrypt on the key to the function's \
             role"
        }
        FetchErrorKind::Invalid | FetchErrorKind::Unavailable => {
            "check the parameter's name, path or ARN, and the version or label in the request"
        }
        FetchErrorKind::OtherRegion => {
            "correct the parameter's ARN; if SIDEKEY_REGION_ONLY is set, Sidekey reads only \
             parameters of the function's own region"
        }
        FetchErrorKind::Throttled => {
            "Parameter Store throttles Sidekey; Sidekey retries automatically; if this error \
             persists, enable higher throughput in the settings of Parameter Store"
        }
        FetchErrorKind::Service => "Parameter Store failed; Sidekey retries automatically",
        FetchErrorKind::Unreadable => {
            "the response is not in the format of Parameter Store; check the endpoint"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Creates the error for a path with too many parameters. `excess` says how much AWS returned, such
/// as `more than 1000 parameters`.
pub(super) fn path_is_too_large(excess: &str) -> FetchError {
    let message = format!("Parameter Store returned {excess} for the path");
    let advice = "request longer paths, which contain fewer parameters, or request each parameter by its name";
    FetchError {
        advice: Some(advice.into()),
        ..FetchError::new(FetchErrorKind::Invalid, "ValidationException", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_of_an_error_of_any_kind_never_speaks_of_secrets() {
        for kind in FetchErrorKind::ALL {
            for operation in [Operation::Get, Operation::GetMany, Operation::ByPath] {
                let error = FetchError::new(kind, "code", "message");
                let error = advised(error, operation, "eu-north-1");
                let hint = error.hint().to_lowercase();
                for word in ["secret", "awscurrent", "staging", "rotation"] {
                    assert!(!hint.contains(word), "{kind:?}: {hint}");
                }
            }
        }
    }

    #[test]
    fn advice_names_the_permission_and_the_region() {
        let check = |kind, operation, part: &str| {
            let advice =
                of(kind, operation, "eu-north-1").expect("the error must have advice for the user");
            assert!(advice.contains(part), "{part}: {advice}");
        };
        check(FetchErrorKind::Denied, Operation::Get, "ssm:GetParameter and ssm:GetParameters");
        check(FetchErrorKind::Denied, Operation::ByPath, "ssm:GetParametersByPath");
        check(FetchErrorKind::Decryption, Operation::Get, "kms:Decrypt");
        check(FetchErrorKind::NotFound, Operation::Get, "region eu-north-1");
    }
}
