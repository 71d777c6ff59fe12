//! The errors of a message, and of one reference (a secret's name or ARN) in a message.
//!
//! The text of an error contains no secret value. It contains nothing from the caller's message
//! except the path of a value.

use crate::message::body::BadMessage;
use crate::message::tenant::TenantMismatch;
use crate::secret::reference::BadReference;
use crate::server::problem::Problem;
use crate::telemetry::metrics::ReadResult;
use std::sync::Arc;

/// Why Sidekey cannot provide the secrets of a message, or the secret of one reference (a secret's
/// name or ARN) in it.
///
/// Large variants are boxed or shared, because an event can have 10,000 messages that fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unresolved {
    /// Error: the message is not valid or exceeds a limit, so Sidekey could not find the secrets
    /// that it refers to.
    #[error(transparent)]
    Message(Box<BadMessage>),
    #[error("the messages of this request have too many references in total")]
    TooManyReferences,
    #[error("the messages of this request name more than {0} secrets in total")]
    TooManySecrets(usize),
    #[error("the credentials of this message take more than {0} bytes")]
    TooLarge(usize),
    #[error(
        "the credentials of this request take more than {0} bytes in total, and this message has some of the largest credentials"
    )]
    AnswerTooLarge(usize),
    #[error("the value at {0} in the message is not a string, so it cannot name a secret")]
    NotAString(Box<str>),
    #[error("no reference to a secret was found")]
    NoReference,
    #[error("this message was skipped: an earlier message of its FIFO group failed")]
    EarlierMessageFailed,
    /// Error: a reference in the message is not a valid name or ARN of a secret.
    #[error(transparent)]
    Reference(Box<BadReference>),
    /// Error: the message refers to a secret that does not belong to the tenant of the message.
    #[error(transparent)]
    TenantMismatch(#[from] TenantMismatch),
    /// Error: Sidekey could not read a secret that the message refers to, or refused to read it.
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

    /// Returns advice for the caller or the operator: what to do about the error.
    pub(crate) fn hint(&self) -> &str {
        match self {
            Self::Message(bad) => match **bad {
                BadMessage::LimitExceeded(_) => {
                    "narrow the paths in SIDEKEY_RESOLVE_PATHS, or send a message with fewer references"
                }
                BadMessage::NotificationNotAnObject => {
                    "publish a JSON object (a Context Object) to the SNS topic"
                }
                _ => "send a JSON object (a Context Object) as the record's body",
            },
            Self::TooManyReferences | Self::TooManySecrets(_) | Self::AnswerTooLarge(_) => {
                "let SQS deliver the message again, or send fewer messages at once"
            }
            Self::TooLarge(_) => {
                "refer to fewer secrets in one message, or only to those fields of the secrets that are needed"
            }
            Self::NotAString(_) => "put a secret's name or ARN at this path, or remove the value",
            Self::NoReference => "check the message and SIDEKEY_RESOLVE_PATHS",
            Self::EarlierMessageFailed => "let SQS deliver this message again",
            Self::Reference(_) => "use the secret's name or its ARN as the reference",
            Self::TenantMismatch(mismatch) => match mismatch {
                TenantMismatch::NoMessage(_) => {
                    "send the complete message instead of a list of references"
                }
                TenantMismatch::NoConvention => {
                    "add a naming convention for secrets with such names, or read the secret without a message"
                }
                TenantMismatch::Different(_) | TenantMismatch::NotInMessage(_) => {
                    "check the sender of the message, and [resolve.tenant] in the configuration"
                }
            },
            Self::Read(problem) => problem.hint(),
        }
    }

    /// Returns how the metrics count a reference with this error: as a refused read, or as a failed
    /// read.
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
