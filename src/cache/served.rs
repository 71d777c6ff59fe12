//! The result of a read from the cache: a value and how the cache obtained it, or an error.

use super::entry::Entry;
use super::freshness::Reason;
use crate::source::FetchError;
use std::sync::Arc;
use std::time::Duration;

/// The result of a successful read from the cache.
#[derive(Clone, Debug)]
pub struct Served {
    /// The version of the secret that the reader gets.
    pub entry: Arc<Entry>,
    /// Whether the value came from the cache, was stale, or was fetched for this read.
    pub(crate) how: How,
    /// How long ago Sidekey sent the call to AWS that fetched the value.
    pub(crate) age: Duration,
}

/// How the cache answered a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The cache answered the read with a cached value whose TTL was not over.
    Hit,
    /// The cache answered the read after the reader had waited for AWS.
    Miss,
    /// The cache answered the read with an old value. The TTL of the value was over, or AWS had
    /// refused to return the secret again.
    Stale(Reason),
    /// The reader asked for `refreshNow`, and got the answer of a new call to AWS.
    Refreshed,
}

/// Why a read from the cache failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("Sidekey refused this read: SIDEKEY_ALLOW does not cover the secret")]
    OutOfScope,
    #[error("AWS did not answer within {0:?}")]
    WaitOver(Duration),
    /// The call to AWS failed, or AWS refused the call.
    #[error(transparent)]
    Upstream(#[from] FetchError),
}
