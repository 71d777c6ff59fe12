//! What a read returns: an entry and how it came, or why there is none.

use super::entry::Entry;
use super::freshness::Reason;
use crate::source::FetchError;
use std::sync::Arc;
use std::time::Duration;

/// The successful result of a read.
#[derive(Clone, Debug)]
pub struct Served {
    /// The entry that answers the read.
    pub entry: Arc<Entry>,
    /// Whether the entry was cached, stale, or fetched for this read.
    pub how: How,
    /// The time since the call that fetched the entry was sent.
    pub age: Duration,
}

/// How a read was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The entry was cached and not older than its TTL.
    Hit,
    /// The reader waited for AWS.
    Miss,
    /// The entry was cached, but its TTL was over or AWS refused to refresh it.
    Stale(Reason),
    /// The reader asked for `refreshNow` and got the answer of a new call.
    Refreshed,
    /// The reader asked for `refreshNow` less than
    /// [`REFRESH_NOW_INTERVAL`](super::reader::REFRESH_NOW_INTERVAL) after the last call, and got
    /// the cached entry.
    RefreshLimited,
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// `SIDEKEY_ALLOW` does not cover the secret. AWS was not asked.
    #[error("Sidekey refused this read: SIDEKEY_ALLOW does not cover the secret")]
    OutOfScope,
    /// AWS did not answer within this time, the configured wait of readers.
    #[error("AWS did not answer within {0:?}")]
    WaitOver(Duration),
    /// The call to AWS failed, or AWS refused it.
    #[error(transparent)]
    Upstream(#[from] FetchError),
}
