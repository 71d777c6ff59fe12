//! The result of a read from the cache: a secret, or an error.

use super::entry::Entry;
use super::freshness::Reason;
use crate::source::FetchError;
use std::sync::Arc;
use std::time::Duration;

/// The result of a successful read from the cache.
#[derive(Clone, Debug)]
pub struct Served {
    /// The version of the secret that a request gets.
    pub entry: Arc<Entry>,
    pub(crate) how: How,
    pub(crate) age: Duration,
}

/// How the cache obtained the secret for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Hit,
    /// The request had to wait until AWS returned the secret.
    Miss,
    /// The request got the cached secret although its TTL was over, or although AWS now returns a
    /// permanent error for the secret, such as denied access.
    Stale(Reason),
    /// The request contained `refreshNow=true`, so Sidekey fetched the secret from AWS again.
    Refreshed,
}

/// Why the agent could not return a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("Sidekey refused this read: SIDEKEY_ALLOW does not cover the secret")]
    OutOfScope,
    #[error("AWS did not answer within {0:?}")]
    WaitOver(Duration),
    /// Sidekey could not fetch the secret from AWS.
    #[error(transparent)]
    Upstream(#[from] FetchError),
}
