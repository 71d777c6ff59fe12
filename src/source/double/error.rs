//! How AWS says no.

use serde_json::{Value, json};
use std::borrow::Cow;

/// An error as AWS answers it.
///
/// Holds names, never a plaintext.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct AwsError {
    /// The HTTP status: 400, or 500 where the service itself failed.
    pub status: u16,
    /// AWS's name of the error, such as `ResourceNotFoundException`.
    pub kind: Cow<'static, str>,
    /// AWS's words. Empty where AWS sends none.
    pub message: Cow<'static, str>,
}

/// The errors that come from AWS's front door, before Secrets Manager itself sees the request. It
/// spells the key of the message in lower case, Secrets Manager with a capital; clients read both.
const OF_THE_FRONT_DOOR: [&str; 6] = [
    "ExpiredTokenException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
];

impl AwsError {
    /// Makes an error that is the caller's fault, which is what status 400 says.
    pub(super) fn new(kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 400, kind: Cow::Borrowed(kind), message: message.into() }
    }

    /// There is no such secret.
    pub(super) fn no_secret() -> Self {
        let message = "Secrets Manager can't find the specified secret.";
        Self::new("ResourceNotFoundException", message)
    }

    /// There is no version with this id.
    pub(super) fn no_version(id: &str) -> Self {
        let message =
            format!("Secrets Manager can't find the specified secret value for VersionId: {id}");
        Self::new("ResourceNotFoundException", message)
    }

    /// No version carries this staging label.
    pub(super) fn no_stage(stage: &str) -> Self {
        let message = format!(
            "Secrets Manager can't find the specified secret value for staging label: {stage}"
        );
        Self::new("ResourceNotFoundException", message)
    }

    /// The secret is marked for deletion.
    pub(super) fn marked_for_deletion() -> Self {
        Self::request(
            "You can't perform this operation on the secret because it was marked for deletion.",
        )
    }

    /// The operation does not go with the state that the secret is in.
    pub(super) fn request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidRequestException", message)
    }

    /// A parameter makes no sense.
    pub(super) fn parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// A parameter breaks the API's own rules, which AWS checks before anything else.
    pub(super) fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("ValidationException", message)
    }

    /// A member breaks a constraint of the API's model. AWS shows the value unless it is sensitive.
    pub(super) fn constraint(member: &str, value: Option<&str>, constraint: &str) -> Self {
        let value = value.map(|it| format!(" {it}")).unwrap_or_default();
        Self::validation(format!(
            "1 validation error detected: Value{value} at '{member}' failed to satisfy \
             constraint: Member must {constraint}"
        ))
    }

    /// The request's body is not what the operation takes. AWS says no more either.
    pub(super) fn serialization() -> Self {
        Self::new("SerializationException", "")
    }

    /// The caller asks too often.
    pub(super) fn throttled() -> Self {
        Self::new("ThrottlingException", "Rate exceeded")
    }

    /// The service failed.
    pub(super) fn internal() -> Self {
        let message = "An error occurred on the server side.";
        Self { status: 500, ..Self::new("InternalServiceError", message) }
    }

    /// Returns the error as AWS JSON.
    pub(super) fn to_json(&self) -> Value {
        if self.message.is_empty() {
            return json!({ "__type": self.kind });
        }
        let key =
            if OF_THE_FRONT_DOOR.contains(&self.kind.as_ref()) { "message" } else { "Message" };
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
    fn errors_are_worded_as_aws_words_them() {
        check(
            &AwsError::no_secret(),
            400,
            r#"{"Message":"Secrets Manager can't find the specified secret.","__type":"ResourceNotFoundException"}"#,
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
