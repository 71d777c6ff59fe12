//! Error responses with the same status, name and message as AWS's own error responses.

use crate::operation::Service;
use serde_json::{Value, json};
use std::borrow::Cow;

/// An error response in the form in which AWS returns it. The error message may contain names of
/// secrets and parameters, but never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct AwsError {
    /// The HTTP status of the error response: 400 for a mistake of the caller, 500 for a failure of
    /// AWS.
    pub status: u16,
    /// The name of the error in AWS's API, such as `ResourceNotFoundException`.
    pub kind: Cow<'static, str>,
    /// The error message, in AWS's words. The message is empty if AWS sends none for this error.
    pub message: Cow<'static, str>,
}

/// The names of the errors whose JSON response contains the error message under the key `message`,
/// as in AWS. The responses of all other errors use the key `Message`.
const LOWER_CASE_ERRORS: [&str; 15] = [
    "ExpiredTokenException",
    "HierarchyLevelLimitExceededException",
    "InvalidFilterKey",
    "InvalidFilterOption",
    "InvalidKeyId",
    "MissingAuthenticationTokenException",
    "ParameterAlreadyExists",
    "ParameterMaxVersionLimitExceeded",
    "ParameterNotFound",
    "ParameterVersionLabelLimitExceeded",
    "ParameterVersionNotFound",
    "SerializationException",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
];

impl AwsError {
    pub(crate) fn new(kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 400, kind: Cow::Borrowed(kind), message: message.into() }
    }

    /// Creates an `InvalidRequestException`: the current state of the secret does not allow the
    /// operation.
    pub(crate) fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidRequestException", message)
    }

    /// Creates an `InvalidParameterException`: the request has a parameter with an invalid value.
    pub(crate) fn invalid_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// Creates a `ValidationException`: a parameter of the request violates a constraint of the
    /// API, such as a maximum length.
    pub(crate) fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("ValidationException", message)
    }

    /// Creates a `ValidationException` for the request parameter `member`. `constraint` is AWS's
    /// sentence about the violated constraint, such as `Member must not be null`.
    ///
    /// `value` is `None` if AWS's error message does not quote the parameter's value, for example
    /// because the value is secret.
    pub(crate) fn broken_constraint(member: &str, value: Option<&str>, constraint: &str) -> Self {
        let quoted = value.map(|it| format!(" {it}")).unwrap_or_default();
        Self::validation(format!(
            "1 validation error detected: Value{quoted} at '{member}' failed to satisfy \
             constraint: {constraint}"
        ))
    }

    /// Creates the error for a request body that cannot be parsed. AWS sends no message for this
    /// error.
    pub(crate) fn serialization() -> Self {
        Self::new("SerializationException", "")
    }

    /// Creates the error for an operation that the fake AWS server does not support. AWS sends no
    /// message for this error.
    pub(crate) fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", "")
    }

    pub(crate) fn throttled() -> Self {
        Self::new("ThrottlingException", "Rate exceeded")
    }

    /// Creates the error for a failure of `service` itself, which is not a mistake of the caller.
    pub(crate) fn internal(service: Service) -> Self {
        let (kind, message) = match service {
            Service::ParameterStore => ("InternalServerError", "An internal error occurred."),
            _ => ("InternalServiceError", "An error occurred on the server side."),
        };
        Self { status: 500, ..Self::new(kind, message) }
    }

    pub(crate) fn to_json(&self) -> Value {
        if self.message.is_empty() {
            return json!({ "__type": self.kind });
        }
        let key =
            if LOWER_CASE_ERRORS.contains(&self.kind.as_ref()) { "message" } else { "Message" };
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
            &AwsError::internal(Service::SecretsManager),
            500,
            r#"{"Message":"An error occurred on the server side.","__type":"InternalServiceError"}"#,
        );
        check(&AwsError::serialization(), 400, r#"{"__type":"SerializationException"}"#);
    }
}
