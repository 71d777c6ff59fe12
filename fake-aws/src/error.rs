//! Errors as AWS returns them.

use serde_json::{Value, json};
use std::borrow::Cow;

/// An error as AWS returns it. The message may contain names of secrets, but never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct AwsError {
    /// The HTTP status: 400 for an error of the caller, 500 for a failure of the service.
    pub status: u16,
    /// AWS's name of the error, such as `ResourceNotFoundException`.
    pub kind: Cow<'static, str>,
    /// AWS's error message. The message is empty if AWS sends no message with this error.
    pub message: Cow<'static, str>,
}

/// Errors that AWS's front end returns before Secrets Manager itself sees the request. The front end
/// writes the JSON key `message` in lower case, Secrets Manager writes `Message`. Clients read both.
const FRONT_END_ERRORS: [&str; 6] = [
    "ExpiredTokenException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
];

impl AwsError {
    /// Creates an error of the caller, with status 400.
    pub(crate) fn new(kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 400, kind: Cow::Borrowed(kind), message: message.into() }
    }

    /// Creates an `InvalidRequestException`: the secret is in a state that forbids the operation.
    pub(crate) fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidRequestException", message)
    }

    /// Creates an `InvalidParameterException`: the value of a parameter is not valid.
    pub(crate) fn invalid_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// Creates a `ValidationException`: a parameter breaks the API's model. AWS validates the model
    /// before it checks permissions or looks for the secret.
    pub(crate) fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("ValidationException", message)
    }

    /// Creates a `ValidationException` in the words that AWS uses if a parameter breaks a constraint
    /// of the API's model. `value` is `None` if the value is sensitive, so AWS does not quote it.
    pub(crate) fn broken_constraint(member: &str, value: Option<&str>, constraint: &str) -> Self {
        let quoted = value.map(|it| format!(" {it}")).unwrap_or_default();
        Self::validation(format!(
            "1 validation error detected: Value{quoted} at '{member}' failed to satisfy \
             constraint: Member must {constraint}"
        ))
    }

    /// Creates the error for a request body that cannot be parsed. AWS sends no message either.
    pub(crate) fn serialization() -> Self {
        Self::new("SerializationException", "")
    }

    /// Creates the error for an operation that the fake does not support. AWS sends no message for
    /// unknown operations.
    pub(crate) fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", "")
    }

    /// Creates the error for a caller that sends too many calls per second.
    pub(crate) fn throttled() -> Self {
        Self::new("ThrottlingException", "Rate exceeded")
    }

    /// Creates the error for a failure of the service, with status 500.
    pub(crate) fn internal() -> Self {
        let message = "An error occurred on the server side.";
        Self { status: 500, ..Self::new("InternalServiceError", message) }
    }

    /// Returns the response body for this error in the protocol AWS JSON.
    pub(crate) fn to_json(&self) -> Value {
        if self.message.is_empty() {
            return json!({ "__type": self.kind });
        }
        let key =
            if FRONT_END_ERRORS.contains(&self.kind.as_ref()) { "message" } else { "Message" };
        json!({ "__type": self.kind, key: self.message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &AwsError, status: u16, json: &str) {
        assert_eq!((error.status, error.to_json().to_string().as_str()), (status, json));
    }

    #[test]
    fn error_bodies_match_those_of_aws() {
        check(
            &AwsError::invalid_request("The secret is new."),
            400,
            r#"{"Message":"The secret is new.","__type":"InvalidRequestException"}"#,
        );
        check(
            &AwsError::throttled(),
            400,
            r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
        );
        check(
            &AwsError::internal(),
            500,
            r#"{"Message":"An error occurred on the server side.","__type":"InternalServiceError"}"#,
        );
        check(&AwsError::serialization(), 400, r#"{"__type":"SerializationException"}"#);
    }
}
