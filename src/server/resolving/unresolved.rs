//! The errors of messages in a `/resolve` request, and of names and ARNs of secrets in a message.
//!
//! The text of an error contains no secret value. From the caller's message, the text quotes only
//! the path of a value.

use crate::message::body::BadMessage;
use crate::message::tenant::TenantMismatch;
use crate::secret::reference::BadReference;
use crate::server::problem::Problem;
use crate::telemetry::metrics::ReadResult;
use std::sync::Arc;

/// Why Sidekey cannot provide one secret of a message, or all secrets of the message.
///
/// Large variants are boxed or shared, because an event may have 10,000 messages that fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unresolved {
    /// Error: the message is not valid or exceeds a limit, so Sidekey could not find the names and
    /// ARNs of secrets in the message.
    #[error(transparent)]
    Message(Box<BadMessage>),
    #[error("the messages of this request contain too many names or ARNs of secrets in total")]
    TooManyReferences,
    #[error("the messages of this request refer to more than {0} secrets in total")]
    TooManySecrets(usize),
    #[error("the secrets of this message take more than {0} bytes in the answer")]
    TooLarge(usize),
    #[error(
        "the secrets of this request take more than {0} bytes in total, and this message has some of the largest secrets"
    )]
    AnswerTooLarge(usize),
    #[error("the value at {0} in the message is not a string, so it cannot name a secret")]
    NotAString(Box<str>),
    #[error("no name or ARN of a secret was found in the message or list")]
    NoReference,
    #[error("this message was skipped: an earlier message of its FIFO group failed")]
    EarlierMessageFailed,
    /// Error: a reference in the caller's message is not a valid name or ARN of a secret.
    #[error(transparent)]
    Reference(Box<BadReference>),
    /// Error: the message refers to a secret that belongs to another tenant than the message.
    #[error(transparent)]
    TenantMismatch(#[from] TenantMismatch),
    /// Error: Sidekey could not read a secret that the message refers to, or refused to read the
    /// secret.
    #[error("{}", .0.message())]
    Read(Arc<Problem>),
}

impl From<BadMessage> for Unresolved {
    fn from(bad: BadMessage) -> Self {
        Self::Message(Box::new(bad))
    }
}

impl From<BadReference> for Unresolved {
    fn from(bad: BadReference) -> Self {
        Self::Reference(Box::new(bad))
    }
}

impl From<Problem> for Unresolved {
    fn from(problem: Problem) -> Self {
        Self::Read(Arc::new(problem))
    }
}

impl Unresolved {
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Message(bad) if matches!(**bad, BadMessage::NotJson { .. }) => {
                "SerializationException"
            }
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

    pub(crate) fn message(&self) -> String {
        self.to_string()
    }

    pub(crate) fn hint(&self) -> &str {
        match self {
            Self::Message(bad) => match **bad {
                BadMessage::LimitExceeded(_) => {
                    "refer to fewer secrets in a message, or use fewer wildcards in SIDEKEY_RESOLVE_PATHS"
                }
                BadMessage::NotificationNotAnObject => {
                    "publish a message that is a JSON object to the SNS topic"
                }
                _ => "send SQS messages whose body is a JSON object",
            },
            Self::TooManyReferences | Self::TooManySecrets(_) | Self::AnswerTooLarge(_) => {
                "let SQS deliver the message again, or send fewer messages in one request"
            }
            Self::TooLarge(_) => {
                "refer to fewer secrets in one message, or only to those fields of the secrets that are needed"
            }
            Self::NotAString(_) => {
                "set this value of the JSON message to a secret's name or ARN, or remove the value"
            }
            Self::NoReference => {
                "put a secret's name or ARN into the message, at one of the paths in SIDEKEY_RESOLVE_PATHS"
            }
            Self::EarlierMessageFailed => {
                "let SQS deliver this message again, after the failed message of its FIFO group"
            }
            Self::Reference(_) => "refer to the secret by its name or by its ARN",
            Self::TenantMismatch(mismatch) => match mismatch {
                TenantMismatch::NoMessage(_) => {
                    "send the complete message to /resolve, not only a list of names and ARNs"
                }
                TenantMismatch::NoConvention => {
                    "add a [[convention]] table for such names to the file in SIDEKEY_CONVENTIONS, or read the secret by its name"
                }
                TenantMismatch::Different(_) | TenantMismatch::NotInMessage(_) => {
                    "check that the message comes from a trusted sender, and check [resolve.tenant] in the configuration"
                }
            },
            Self::Read(problem) => problem.hint(),
        }
    }

    /// Returns how the metrics count a read with this error: as refused by Sidekey, or as failed.
    pub(crate) fn result(&self) -> ReadResult {
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
                BadMessage::LimitExceeded(LimitExceeded::TooManyReferences).into(),
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
