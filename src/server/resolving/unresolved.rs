//! Every way in which a message, or one reference of it, is not resolved.
//!
//! Pure: kinds, messages and hints. None shows a value, or any of a message but a path.

use crate::message::body::BadMessage;
use crate::message::tenant::TenantMismatch;
use crate::secret::reference::BadReference;
use crate::server::problem::Problem;
use crate::telemetry::metrics::ReadResult;

/// Why a message, or a reference, is not resolved. It is small: an event can have 10,000 messages that
/// fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// A record has no message.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// The messages of one request have more references together than one request may have, and
    /// this message is one of the largest.
    #[error(
        "the messages of this request have too many references together, and this message is one of the largest"
    )]
    TooManyReferences,
    /// The messages of one request name more secrets together than one request may name, and this
    /// message is one of the largest.
    #[error(
        "the messages of this request name more than {0} secrets together, and this message is one of the largest"
    )]
    TooManySecrets(usize),
    /// The credentials of the message are too large.
    #[error("the credentials of this message take more than {0} bytes")]
    TooLarge(usize),
    /// The answers to the messages of one request are too large together, and this one is one of the
    /// largest.
    #[error(
        "the credentials of this request take more than {0} bytes together, and those of this message are some of the largest"
    )]
    AnswerTooLarge(usize),
    /// What stands at a path is no string.
    #[error("the reference at {0} is no string")]
    NoString(Box<str>),
    /// There is no reference.
    #[error("no reference was found")]
    NoReference,
    /// An earlier message of its group failed.
    #[error(
        "an earlier message of the same group failed, and this one is only skipped: to deal with it now would change their order"
    )]
    HeldUp,
    /// A reference makes no sense.
    #[error(transparent)]
    Reference(#[from] BadReference),
    /// A reference is to somebody else's secret.
    #[error(transparent)]
    TenantMismatch(#[from] TenantMismatch),
    /// The secret could not be read.
    #[error("{}", .0.message())]
    Read(Box<Problem>),
}

impl From<Problem> for Unresolved {
    fn from(problem: Problem) -> Self {
        Self::Read(Box::new(problem))
    }
}

impl Unresolved {
    /// Returns the error's type, in the style of AWS's names.
    pub fn kind(&self) -> &str {
        match self {
            Self::Message(BadMessage::NotJson { .. }) => "SerializationException",
            Self::Message(_) | Self::NoString(_) | Self::Reference(_) | Self::TooLarge(_) => {
                "ValidationException"
            }
            Self::TooManyReferences | Self::TooManySecrets(_) | Self::AnswerTooLarge(_) => {
                "LimitExceededException"
            }
            Self::NoReference => "NoReferenceFound",
            Self::HeldUp => "EarlierMessageFailed",
            Self::TenantMismatch(_) => "AccessDeniedException",
            Self::Read(problem) => problem.kind(),
        }
    }

    /// Returns the error's message.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Message(BadMessage::LimitExceeded(_)) => {
                "check SIDEKEY_RESOLVE_PATHS and the message"
            }
            Self::Message(_) => "a record's body is a Context Object as JSON text",
            Self::TooManyReferences | Self::TooManySecrets(_) | Self::AnswerTooLarge(_) => {
                "let SQS deliver it again, or send fewer messages in one request"
            }
            Self::TooLarge(_) => {
                "refer to fewer secrets in one message, or to single fields of them"
            }
            Self::NoString(_) => "write a secret's name or ARN there, or leave it out",
            Self::NoReference => {
                "check SIDEKEY_RESOLVE_PATHS and the message; a list of references has no other member"
            }
            Self::HeldUp => "let SQS deliver it again, after the one before it",
            Self::Reference(_) => "write the secret's name or its ARN",
            Self::TenantMismatch(TenantMismatch::NoMessage { .. }) => "send the message itself",
            Self::TenantMismatch(TenantMismatch::NoConvention) => {
                "describe how such secrets are named in a convention, or read it by itself"
            }
            Self::TenantMismatch(_) => {
                "check who wrote the message, and [resolve.tenant] in the configuration"
            }
            Self::Read(problem) => problem.hint(),
        }
    }

    /// Returns how it counts as a read.
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
    fn every_failure_has_its_kind_and_says_what_to_do() {
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
            (Unresolved::NoString("a.b".into()), "ValidationException", ReadResult::Refused),
            (Unresolved::NoReference, "NoReferenceFound", ReadResult::Refused),
            (Unresolved::HeldUp, "EarlierMessageFailed", ReadResult::Refused),
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
