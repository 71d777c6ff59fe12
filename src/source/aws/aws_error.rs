//! Converts errors of AWS, of the credential providers of the AWS SDK, and of the HTTP client to
//! [`FetchError`]. The conversion drops the original errors, because they may quote responses or
//! files with keys.

use super::http::connect_failure;
use crate::secret::service::Service;
use crate::source::{FetchError, FetchErrorKind, internal_error_code};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::ConnectorError;
use std::error::Error;
#[cfg(feature = "host")]
use std::fmt;
#[cfg(feature = "host")]
use std::process::ExitStatus;
#[cfg(feature = "host")]
use std::time::Duration;

/// The maximum length of an AWS error message in characters. The agent cuts off longer messages.
const MESSAGE_CHARS_MAX: usize = 1024;

/// An AWS service that Sidekey calls, for error messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called {
    name: &'static str,
    /// The error code with which the service reports a failure of its own servers.
    internal_error_code: &'static str,
}

/// AWS's Security Token Service (STS), which assumes roles.
pub(super) const STS: Called =
    Called { name: "the AWS Security Token Service", internal_error_code: "InternalServiceError" };

impl From<Service> for Called {
    fn from(service: Service) -> Self {
        Self { name: service.name(), internal_error_code: internal_error_code(service) }
    }
}

/// Creates the error for a request that Sidekey could not build.
pub(super) fn unsendable(service: Called) -> FetchError {
    let message = format!("the request to {} could not be built", service.name);
    FetchError::new(FetchErrorKind::Internal, "InternalFailure", message)
}

/// Converts an error of Sidekey's HTTP client. `service` is the called service.
pub(super) fn from_connector_error(service: Called, error: &ConnectorError) -> FetchError {
    if error.is_timeout() {
        return timeout();
    }
    // The HTTP client returns an error of the category `user` if the endpoint is an address of the
    // agent itself.
    if error.is_user() {
        return FetchError::new(
            FetchErrorKind::Misconfigured,
            "InvalidConfigurationException",
            "the AWS endpoint is an address of Sidekey itself",
        );
    }
    // The HTTP client returns an error of the category `other` if the response is incomplete.
    if error.is_other() {
        return unreadable(&format!("the response of {} is incomplete", service.name));
    }
    match connect_failure(error) {
        Some(reason) => {
            connection_error(format!("{} could not be reached: {reason}", service.name))
        }
        None => broken_connection(service),
    }
}

fn broken_connection(service: Called) -> FetchError {
    connection_error(format!("the connection to {} broke during the call", service.name))
}

fn connection_error(message: String) -> FetchError {
    FetchError::new(FetchErrorKind::Connection, "ConnectionError", message)
}

pub(super) struct ErrorResponse<'a> {
    pub(super) status: u16,
    pub(super) code: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    pub(super) request_id: Option<&'a str>,
}

/// Converts an error response of AWS. `service` is the service that responded.
pub(super) fn from_response(service: Called, response: &ErrorResponse<'_>) -> FetchError {
    let &ErrorResponse { status, code, message, request_id } = response;
    match (code, status) {
        (None, 429 | 500..) => {
            let (kind, code) = match status {
                429 => (FetchErrorKind::Throttled, "ThrottlingException"),
                _ => (FetchErrorKind::Service, service.internal_error_code),
            };
            let service = service.name;
            let message = format!("{service} returned HTTP status {status} without an error code");
            FetchError {
                request_id: request_id.map(Into::into),
                ..FetchError::new(kind, code, message)
            }
        }
        (None, _) => unreadable(&format!(
            "the response has HTTP status {status} but is not an AWS error response"
        )),
        (Some(_), _) => {
            let error = from_code(code, message, request_id);
            // With a 5xx status, the error is a failure of AWS, even if the error code belongs to
            // another category.
            let kind = match status {
                500.. if !error.kind.is_transient() => FetchErrorKind::Service,
                429 => FetchErrorKind::Throttled,
                _ => error.kind,
            };
            FetchError { kind, ..error }
        }
    }
}

pub(super) fn from_code(
    code: Option<&str>,
    message: Option<&str>,
    request_id: Option<&str>,
) -> FetchError {
    let code = code.unwrap_or("UnknownError");
    let message = message.filter(|message| !message.is_empty()).unwrap_or(match code {
        "ParameterNotFound" => "the parameter does not exist",
        "ParameterVersionNotFound" => "the parameter does not have this version or label",
        _ => "AWS sent no error message",
    });
    let bounded: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    FetchError {
        request_id: request_id.map(Into::into),
        ..FetchError::new(kind_of(code), code, bounded)
    }
}

/// Creates the error for a response of AWS that the agent cannot interpret. `message` must not
/// quote the response, because the response may contain a secret value.
pub(super) fn unreadable(message: &str) -> FetchError {
    FetchError::new(FetchErrorKind::Unreadable, "ConnectionError", message)
}

pub(super) fn missing_in_batch() -> FetchError {
    unreadable("the response of BatchGetSecretValue does not contain this secret")
}

fn timeout() -> FetchError {
    FetchError::new(FetchErrorKind::Timeout, "TimeoutError", "Timeout")
}

/// The last bytes that a `credential_process` wrote to its standard error, as text.
#[cfg(feature = "host")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorOutput(pub(super) String);

#[cfg(feature = "host")]
impl fmt::Display for ErrorOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim() {
            "" => Ok(()),
            // The format `{:?}` escapes control characters.
            text => write!(f, " (the last output of the program on stderr: {text:?})"),
        }
    }
}

/// Why a `credential_process` returned no AWS credentials. The messages may quote the standard
/// error of the program, but never its standard output, which may contain keys.
#[cfg(feature = "host")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProcessFailure {
    #[error(
        "the credential_process of the AWS profile did not end within {timeout:?}, so Sidekey \
         killed it{messages}: run its command by hand, or set a longer \
         SIDEKEY_CREDENTIAL_PROCESS_TIMEOUT"
    )]
    TimedOut { timeout: Duration, messages: ErrorOutput },
    #[error(
        "the credential_process of the AWS profile failed with {status}{messages}: \
         run its command by hand"
    )]
    Failed { status: ExitStatus, messages: ErrorOutput },
    #[error(
        "the credential_process of the AWS profile printed no valid credentials as JSON: \
         run its command by hand"
    )]
    Malformed,
    #[error("the shell could not run the credential_process of the AWS profile")]
    NotStarted,
}

/// Converts the error of a failed attempt to get AWS credentials. The new message does not quote
/// the error of the AWS SDK, which may contain parts of a file or the output of a
/// `credential_process`.
pub(super) fn from_credentials_error(error: &CredentialsError) -> FetchError {
    // If a role is assumed, the error of the call to STS is the source of `error`.
    if let Some(failure) = error.source().and_then(|cause| cause.downcast_ref::<FetchError>()) {
        return failure.clone();
    }
    #[cfg(feature = "host")]
    if let Some(failure) = error.source().and_then(|cause| cause.downcast_ref::<ProcessFailure>()) {
        return no_credentials(&failure.to_string());
    }
    no_credentials(match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "no AWS credentials were found in environment variables, a profile, a web identity \
             token, the container or the instance"
        }
        CredentialsError::InvalidConfiguration(_) => {
            "Sidekey could not get AWS credentials: the configuration of the credentials is \
             invalid; to check it, run `aws sts get-caller-identity`"
        }
        CredentialsError::ProviderTimedOut(_) => CREDENTIALS_TIMEOUT,
        _ => {
            "Sidekey could not get AWS credentials: the provider of the credentials failed; to \
             check it, run `aws sts get-caller-identity`"
        }
    })
}

pub(super) fn credentials_timeout() -> FetchError {
    no_credentials(CREDENTIALS_TIMEOUT)
}

const CREDENTIALS_TIMEOUT: &str =
    "Sidekey could not get AWS credentials: the credential provider did not respond in time";

/// Checks that AWS can have issued the credentials. Without this check, the user would not learn
/// about an invalid character: Sidekey could not sign the call, or AWS would send an error without
/// the reason.
///
/// # Errors
///
/// Returns an error that names the invalid part of the credentials, but does not contain this part.
pub(super) fn check_credentials(credentials: &Credentials) -> Result<(), FetchError> {
    let parts = [
        ("access key id", Some(credentials.access_key_id())),
        ("secret access key", Some(credentials.secret_access_key())),
        ("session token", credentials.session_token()),
    ];
    let is_unusable = |part: &str| {
        part.is_empty() || part.contains(|c: char| !c.is_ascii_graphic() || matches!(c, '"' | '\''))
    };
    match parts.into_iter().find(|(_, part)| part.is_some_and(is_unusable)) {
        None => Ok(()),
        Some((name, _)) => Err(no_credentials(&format!(
            "the {name} in the AWS credentials is empty, or has a character that AWS never uses, such \
             as a quote, a space or a line break; correct the profile or the program that provides it"
        ))),
    }
}

fn no_credentials(message: &str) -> FetchError {
    FetchError::new(FetchErrorKind::Credentials, "InternalFailure", message)
}

/// Returns the category of a failed call to AWS from its error code.
///
/// Sources: the errors of `GetSecretValue` and `GetParameter` and the common errors in AWS's API
/// reference, and the error codes that the AWS SDKs treat as throttling.
fn kind_of(code: &str) -> FetchErrorKind {
    match code {
        "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => {
            FetchErrorKind::NotFound
        }
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => FetchErrorKind::Denied,
        "InvalidRequestException" => FetchErrorKind::Unavailable,
        "DecryptionFailure" | "DecryptionFailureException" | "InvalidKeyId" => {
            FetchErrorKind::Decryption
        }
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
        | "TooManyUpdates"
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
        code if code.starts_with("KMS") => FetchErrorKind::Decryption,
        _ => FetchErrorKind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_map_to_kinds() {
        for (code, expected) in [
            ("ResourceNotFoundException", FetchErrorKind::NotFound),
            ("AccessDeniedException", FetchErrorKind::Denied),
            ("InvalidRequestException", FetchErrorKind::Unavailable),
            ("DecryptionFailure", FetchErrorKind::Decryption),
            ("ThrottlingException", FetchErrorKind::Throttled),
            ("ExpiredTokenException", FetchErrorKind::Credentials),
            ("InternalServiceError", FetchErrorKind::Service),
            ("ParameterNotFound", FetchErrorKind::NotFound),
            ("ParameterVersionNotFound", FetchErrorKind::NotFound),
            ("InvalidKeyId", FetchErrorKind::Decryption),
            ("KMSDisabledException", FetchErrorKind::Decryption),
            ("TooManyUpdates", FetchErrorKind::Throttled),
            ("InternalServerError", FetchErrorKind::Service),
            ("InvalidFilterKey", FetchErrorKind::Invalid),
            ("SomethingNew", FetchErrorKind::Invalid),
        ] {
            assert_eq!(kind_of(code), expected, "{code}");
        }
    }

    #[test]
    fn status_decides_if_the_error_code_does_not() {
        for (status, code, expected) in [
            (400, Some("ParameterNotFound"), FetchErrorKind::NotFound),
            (500, Some("ParameterNotFound"), FetchErrorKind::Service),
            (500, Some("ThrottlingException"), FetchErrorKind::Throttled),
            (429, Some("SomethingNew"), FetchErrorKind::Throttled),
            (429, None, FetchErrorKind::Throttled),
            (503, None, FetchErrorKind::Service),
            (403, None, FetchErrorKind::Unreadable),
        ] {
            let response = ErrorResponse { status, code, message: None, request_id: None };
            let kind = from_response(Service::ParameterStore.into(), &response).kind;
            assert_eq!(kind, expected, "{status} {code:?}");
        }
    }

    #[test]
    fn empty_message_of_aws_is_replaced() {
        let error = from_code(Some("ParameterNotFound"), Some(""), None);
        assert_eq!(&*error.message, "the parameter does not exist");
        let error = from_code(Some("X"), None, None);
        assert_eq!(&*error.message, "AWS sent no error message");
    }

    #[test]
    fn credentials_that_aws_cannot_have_issued_are_refused() {
        let check = |id: &str, secret: &str, token: Option<&str>| {
            let token = token.map(str::to_owned);
            let credentials = Credentials::new(id, secret, token, None, "test");
            check_credentials(&credentials).err().map(|error| error.message.to_string())
        };
        assert_eq!(check("AKIDEXAMPLE", "a/b+c=", Some("t==")), None);
        assert_eq!(check("AKIDEXAMPLE", "a/b+c=", None), None);
        for (id, secret, token, part) in [
            ("AK\n", "s", None, "access key id"),
            ("\"AK\"", "s", None, "access key id"),
            ("", "s", None, "access key id"),
            ("AK", "s\u{a0}", None, "secret access key"),
            ("AK", "s", Some("t\nx"), "session token"),
            ("AK", "s", Some(""), "session token"),
        ] {
            let problem = check(id, secret, token).expect("the credentials must be refused");
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn message_of_the_service_is_truncated() {
        let error = from_code(Some("X"), Some(&"m".repeat(5000)), Some("id-1"));
        assert_eq!(error.message.len(), MESSAGE_CHARS_MAX);
        assert_eq!(error.request_id.as_deref(), Some("id-1"));
    }
}
