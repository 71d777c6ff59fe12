//! The result of a read: a cached or fetched value and how the cache obtained it, or an error.

use super::entry::Entry;
use super::freshness::Reason;
use crate::source::FetchError;
use std::sync::Arc;
use std::time::Duration;

/// The result of a successful read from the cache.
#[derive(Clone, Debug)]
pub struct Served {
    /// The cached or fetched version of the secret that answers the read.
    pub entry: Arc<Entry>,
    /// Whether the value was cached, stale, or fetched for this read.
    pub(crate) how: How,
    /// The age of the value: the time since Sidekey sent the call that fetched it.
    pub(crate) age: Duration,
}

/// How the cache answered a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The read was answered from the cache, and the cached value was not older than its TTL.
    Hit,
    /// The read was answered after the reader had waited for AWS.
    Miss,
    /// The read was answered with a cached value whose TTL was over, or that AWS refused to
    /// refresh.
    Stale(Reason),
    /// The reader asked for `refreshNow`, and got the answer of a new call to AWS.
    Refreshed,
    /// The reader asked for `refreshNow` too soon, and got the cached value. "Too soon" means less
    /// than [`REFRESH_NOW_INTERVAL`](super::reader::REFRESH_NOW_INTERVAL) after the last call.
    RefreshLimited,
}

/// Why a read from the cache failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Error: `SIDEKEY_ALLOW` does not cover the secret. Sidekey did not ask AWS.
    #[error("Sidekey refused this read: SIDEKEY_ALLOW does not cover the secret")]
    OutOfScope,
    /// Error: AWS did not answer within the configured maximum wait, which this variant contains.
    #[error("AWS did not answer within {0:?}")]
    WaitOver(Duration),
    /// Error: the call to AWS failed, or AWS refused the call.
    #[error(transparent)]
    Upstream(#[from] FetchError),
}
