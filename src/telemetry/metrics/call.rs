//! The labels of calls to AWS: the operation, and how the call ended.

use crate::source::FetchErrorKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    GetSecretValue,
    BatchGetSecretValue,
    GetParameter,
    GetParameters,
    GetParametersByPath,
}

impl Operation {
    pub(super) const ALL: [Self; 5] = [
        Self::GetSecretValue,
        Self::BatchGetSecretValue,
        Self::GetParameter,
        Self::GetParameters,
        Self::GetParametersByPath,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::GetSecretValue => "GetSecretValue",
            Self::BatchGetSecretValue => "BatchGetSecretValue",
            Self::GetParameter => "GetParameter",
            Self::GetParameters => "GetParameters",
            Self::GetParametersByPath => "GetParametersByPath",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Answered,
    /// Lambda froze the process, or restored it from a snapshot, during the call to AWS. Such a
    /// call does not count as a failure of AWS.
    Interrupted,
    Failed(FetchErrorKind),
}

impl Ended {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Interrupted => "cut",
            Self::Failed(kind) => kind.label(),
        }
    }
}
