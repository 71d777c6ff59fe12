//! All reasons for which a message, or one reference of a message, is not resolved.
//!
//! Pure: error types, messages and hints. A message of an error contains no secret value, and nothing
//! of the caller's message except a path.

use crate::message::body::BadMessage;
use crate::message::tenant::TenantMismatch;
use crate::secret::reference::BadReference;
use crate::server::problem::Problem;
use crate::telemetry::metrics::ReadResult;

/// Why a message or a reference is not resolved.
///
/// Large variants are boxed, because an event can have 10,000 messages that fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// A record of an event has no valid message.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// The references of all messages together exceed the limit of one request, and this message is one
    /// of the largest messages.
    #[error(
        "the messages of this request have too many references together, and this message is one of the largest"
    )]
    TooManyReferences,
    /// All messages together name more distinct secrets than this number, and this message is one of
    /// the largest messages.
    #[error(
        "the messages of this request name more than {0} secrets together, and this message is one of the largest"
    )]
    TooManySecrets(usize),
    /// The result of the message is larger than this number of bytes.
    #[error("the credentials of this message take more than {0} bytes")]
    TooLarge(usize),
    /// The results of all messages together are larger than this number of bytes, and the result of
    /// this message is one of the largest results.
    #[error(
        "the credentials of this request take more than {0} bytes together, and those of this message are some of the largest"
    )]
    AnswerTooLarge(usize),
    /// The value at this path of the message must be a reference, and is not a string.
    #[error("the value at {0} is not a string, so it cannot be a reference")]
    NotAString(Box<str>),
    /// The message has no reference at any of the configured paths.
    #[error("no reference was found")]
    NoReference,
    /// An earlier message of the same FIFO group failed.
    #[error(
        "an earlier message of the same group failed: this message is skipped to keep the order of the group"
    )]
    EarlierMessageFailed,
    /// The reference is not a valid name or ARN of a secret.
    #[error(transparent)]
    Reference(#[from] BadReference),
    /// The reference names a secret that does not belong to the tenant of the message.
    #[error(transparent)]
    TenantMismatch(Box<TenantMismatch>),
    /// The secret could not be read.
    #[error("{}", .0.message())]
    Read(Box<Problem>),
}

impl From<TenantMismatch> for Unresolved {
    fn from(mismatch: TenantMismatch) -> Self {
        Self::TenantMismatch(Box::new(mismatch))
    }
}

impl From<Problem> for Unresolved {
    fn from(problem: Problem) -> Self {
        Self::Read(Box::new(problem))
    }
}

impl Unresolved {
    /// Returns the error type that the caller receives, such as `AccessDeniedException`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Message(BadMessage::NotJson { .. }) => "SerializationException",
            Self::Message(_) | Self::NotAString(_) | Self::Reference(_) | Self::TooLarge(_) => {
                "ValidationException"
            }
            Self::TooManyReferences | Self::TooManySecrets(_) | Self::AnswerTooLarge(_) => {
                "LimitExceededException"
            }
            Self::NoReference => "NoReferenceFound",
            Self::EarlierMessageFailed => "EarlierMessageFailed",
            Self::TenantMismatch(_) => "AccessDeniedException",
            Self::Read(problem) => problem.kind(),
        }
    }

    /// Returns the message that the caller receives.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// Returns what the caller or the operator should do about the error.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Message(BadMessage::LimitExceeded(_)) => {
                "check SIDEKEY_RESOLVE_PATHS and the message"
            }
            Self::Message(_) => "send a Context Object as JSON text in the body of each record",
            Self::TooManyReferences | Self::TooManySecrets(_) | Self::AnswerTooLarge(_) => {
                "let SQS deliver the message again, or send fewer messages in one request"
            }
            Self::TooLarge(_) => {
                "refer to fewer secrets in one message, or to single fields of these secrets"
            }
            Self::NotAString(_) => "put a secret's name or ARN at this path, or remove the value",
            Self::NoReference => {
                "check SIDEKEY_RESOLVE_PATHS and the message; a list of references must be the only member"
            }
            Self::EarlierMessageFailed => {
                "let SQS deliver the message again, after the earlier message"
            }
            Self::Reference(_) => "use the secret's name or its ARN as the reference",
            Self::TenantMismatch(mismatch) => match **mismatch {
                TenantMismatch::NoMessage { .. } => {
                    "send the complete message instead of a list of references"
                }
                TenantMismatch::NoConvention => {
                    "add a convention for the names of such secrets, or read the secret without a message"
                }
                TenantMismatch::Different { .. } | TenantMismatch::NotInMessage { .. } => {
                    "check the sender of the message, and [resolve.tenant] in the configuration"
                }
            },
            Self::Read(problem) => problem.hint(),
        }
    }

    /// Returns the result under which the metrics count the read of the reference.
    pub fn result(&self) -> ReadResult {
        match self {
            Self::Read(problem) if !problem.is_refusal() => ReadResult::Error,
            _ => ReadResult::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ReadError;
    use crate::message::search::LimitExceeded;
    use crate::source::{FetchError, FetchErrorKind};

    #[test]
    fn every_failure_has_kind_message_and_hint() {
        let upstream = FetchError::new(FetchErrorKind::NotFound, "ResourceNotFoundException", "m");
        for (unresolved, kind, result) in [
            (BadMessage::NoText.into(), "ValidationException", ReadResult::Refused),
            (
                BadMessage::NotJson { line: 1, column: 1 }.into(),
                "SerializationException",
                ReadResult::Refused,
            ),
            (
                BadMessage::LimitExceeded(LimitExceeded::TooManyReferences { max: 1 }).into(),
                "ValidationException",
                ReadResult::Refused,
            ),
            (Unresolved::TooManyReferences, "LimitExceededException", ReadResult::Refused),
            (Unresolved::TooManySecrets(1), "LimitExceededException", ReadResult::Refused),
            (Unresolved::TooLarge(1), "ValidationException", ReadResult::Refused),
            (Unresolved::AnswerTooLarge(1), "LimitExceededException", ReadResult::Refused),
            (Unresolved::NotAString("a.b".into()), "ValidationException", ReadResult::Refused),
            (Unresolved::NoReference, "NoReferenceFound", ReadResult::Refused),
            (Unresolved::EarlierMessageFailed, "EarlierMessageFailed", ReadResult::Refused),
            (BadReference::Empty.into(), "ValidationException", ReadResult::Refused),
            (TenantMismatch::NoConvention.into(), "AccessDeniedException", ReadResult::Refused),
            (
                Unresolved::from(Problem::from(ReadError::OutOfScope)),
                "AccessDeniedException",
                ReadResult::Refused,
            ),
            (
                Unresolved::from(Problem::from(ReadError::Upstream(upstream))),
                "ResourceNotFoundException",
                ReadResult::Error,
            ),
        ] {
            assert_eq!((unresolved.kind(), unresolved.result()), (kind, result));
            assert!(!unresolved.message().is_empty() && !unresolved.hint().is_empty());
        }
    }
}
