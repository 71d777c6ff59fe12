//! Turns the SDK's errors into ours, and drops them: their `Debug` prints raw answers.

use crate::source::{FetchError, FetchErrorKind};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::error::Error;

/// The longest message of AWS's that is passed on.
const MESSAGE_CHARS_MAX: usize = 1024;

/// Reads what can be done about a failed call.
pub(super) fn read<E>(error: &SdkError<E, HttpResponse>) -> FetchError
where
    E: ProvideErrorMetadata + RequestId + Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let (code, message) = (service.err().code(), service.err().message());
            match (code, status) {
                (None, 500..) => FetchError {
                    request_id: service.err().request_id().map(Into::into),
                    ..FetchError::new(
                        FetchErrorKind::Service,
                        "InternalServiceError",
                        format!(
                            "Secrets Manager answered {status} without an error it is known for"
                        ),
                    )
                },
                (None, _) => unreadable(&format!("an answer {status} that is no error of AWS's")),
                (Some(_), _) => {
                    let known = of_code(code, message, service.err().request_id());
                    let is_fault = status >= 500 && !known.kind.is_transient();
                    let kind = if is_fault { FetchErrorKind::Service } else { known.kind };
                    FetchError { kind, ..known }
                }
            }
        }
        SdkError::ResponseError(_) => unreadable("the answer could not be read"),
        SdkError::TimeoutError(_) => timeout(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => timeout(),
        // Our HTTP client's word for an endpoint that leads back here.
        SdkError::DispatchFailure(failure) if failure.is_user() => FetchError::new(
            FetchErrorKind::Misconfigured,
            "InvalidConfigurationException",
            "the endpoint to be called is Sidekey itself",
        ),
        // Our HTTP client's word for an answer that broke off.
        SdkError::DispatchFailure(failure) if failure.is_other() => {
            unreadable("the answer could not be read")
        }
        SdkError::DispatchFailure(_) => FetchError::new(
            FetchErrorKind::Connection,
            "ConnectionError",
            "Secrets Manager could not be reached, or the connection broke",
        ),
        _ => FetchError::new(
            FetchErrorKind::Internal,
            "InternalFailure",
            "the call could not be made",
        ),
    }
}

/// Makes the error of a service's code and message.
pub(super) fn of_code(
    code: Option<&str>,
    message: Option<&str>,
    request_id: Option<&str>,
) -> FetchError {
    let code = code.unwrap_or("UnknownError");
    let message: String = message.unwrap_or("no message").chars().take(MESSAGE_CHARS_MAX).collect();
    FetchError {
        request_id: request_id.map(Into::into),
        ..FetchError::new(kind_of(code), code, message)
    }
}

/// Makes the error of an answer that makes no sense, in our own words: never a part of it.
pub(super) fn unreadable(message: &str) -> FetchError {
    FetchError::new(FetchErrorKind::Unreadable, "ConnectionError", message)
}

/// Makes the error of a secret that a batch's answer says nothing about.
pub(super) fn left_out() -> FetchError {
    unreadable("the batch says nothing about this secret")
}

fn timeout() -> FetchError {
    FetchError::new(FetchErrorKind::Timeout, "TimeoutError", "Timeout")
}

/// Makes the error of credentials that could not be got, in our own words: what the SDK says of them
/// may quote a file, or what a program wrote.
pub(super) fn of_credentials(error: &CredentialsError) -> FetchError {
    no_credentials(match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "no credentials were found: none in variables, a profile, a web identity, a container or \
             an instance"
        }
        CredentialsError::InvalidConfiguration(_) => {
            "no credentials could be got: what is configured for them makes no sense"
        }
        CredentialsError::ProviderTimedOut(_) => LATE,
        _ => "no credentials could be got: the place that they come from failed",
    })
}

/// Makes the error of credentials that were not got in time.
pub(super) fn late_credentials() -> FetchError {
    no_credentials(LATE)
}

const LATE: &str = "no credentials could be got in time";

fn no_credentials(message: &str) -> FetchError {
    FetchError::new(FetchErrorKind::Credentials, "InternalFailure", message)
}

/// Returns what kind of error a service's code names.
///
/// Sources: errors of `GetSecretValue` and common errors in AWS's API reference; throttling codes
/// as AWS's SDKs class them.
fn kind_of(code: &str) -> FetchErrorKind {
    match code {
        "ResourceNotFoundException" => FetchErrorKind::NotFound,
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => FetchErrorKind::Denied,
        "InvalidRequestException" => FetchErrorKind::Unavailable,
        "DecryptionFailure" | "DecryptionFailureException" => FetchErrorKind::Decryption,
        "InvalidParameterException"
        | "ValidationException"
        | "ValidationError"
        | "InvalidNextTokenException" => FetchErrorKind::Invalid,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "SlowDown" => FetchErrorKind::Throttled,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "OptInRequired"
        | "RequestExpired"
        | "RequestTimeTooSkewed" => FetchErrorKind::Credentials,
        "InternalServiceError"
        | "InternalServiceErrorException"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => FetchErrorKind::Service,
        "RequestTimeout" | "RequestTimeoutException" => FetchErrorKind::Timeout,
        _ => FetchErrorKind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_refusals_from_passing_trouble() {
        for (code, expected) in [
            ("ResourceNotFoundException", FetchErrorKind::NotFound),
            ("AccessDeniedException", FetchErrorKind::Denied),
            ("InvalidRequestException", FetchErrorKind::Unavailable),
            ("DecryptionFailure", FetchErrorKind::Decryption),
            ("ThrottlingException", FetchErrorKind::Throttled),
            ("ExpiredTokenException", FetchErrorKind::Credentials),
            ("InternalServiceError", FetchErrorKind::Service),
            ("SomethingNew", FetchErrorKind::Invalid),
        ] {
            assert_eq!(kind_of(code), expected, "{code}");
        }
    }

    #[test]
    fn a_service_message_is_bounded() {
        let error = of_code(Some("X"), Some(&"m".repeat(5000)), Some("id-1"));
        assert_eq!(error.message.len(), MESSAGE_CHARS_MAX);
        assert_eq!(error.request_id.as_deref(), Some("id-1"));
    }
}
