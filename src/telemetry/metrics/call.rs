//! The labels of calls to AWS: the operation, and how the call ended.

use crate::source::FetchErrorKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    GetSecretValue,
    BatchGetSecretValue,
    ListSecrets,
    GetParameter,
    GetParameters,
    GetParametersByPath,
}

impl Operation {
    pub(super) const ALL: [Self; 6] = [
        Self::GetSecretValue,
        Self::BatchGetSecretValue,
        Self::ListSecrets,
        Self::GetParameter,
        Self::GetParameters,
        Self::GetParametersByPath,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::GetSecretValue => "GetSecretValue",
            Self::BatchGetSecretValue => "BatchGetSecretValue",
            Self::ListSecrets => "ListSecrets",
            Self::GetParameter => "GetParameter",
            Self::GetParameters => "GetParameters",
            Self::GetParametersByPath => "GetParametersByPath",
        }
    }
}

/// How a search for a pattern of `SIDEKEY_SECRETS` ended. This is the label `result` of the metric
/// `sidekey_searches_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SearchResult {
    /// The search found all secrets that match the pattern, and the cache had room for them.
    Complete,
    /// The size limit of the cache left no room for at least one secret that the search found.
    Limited,
    /// IAM denied the search.
    Denied,
    Failed,
}

impl SearchResult {
    pub(super) const ALL: [Self; 4] = [Self::Complete, Self::Limited, Self::Denied, Self::Failed];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Limited => "limited",
            Self::Denied => "denied",
            Self::Failed => "failed",
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
