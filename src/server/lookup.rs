//! Finds the secret that a request asks for: in the cache, or with a call to AWS.
//!
//! Concurrent readers of the same uncached secret share one call to AWS, which is called a flight.

use super::problem::Problem;
use crate::cache::{Cache, How, Served};
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::reference::{BorrowedReference, SecretId};
use crate::telemetry::metrics::{Metrics, ReadResult};

/// Returns the wanted secret from the cache. If the secret is not cached, or if `refresh_now` is
/// set, fetches the secret from AWS.
///
/// The secret's value may break the rules for its kind of secret. So the caller must call
/// [`refuse_withheld`] before it serves the value.
pub(super) async fn find(
    cache: &Cache,
    wanted: &BorrowedReference<'_>,
    refresh_now: bool,
) -> Result<Served, Problem> {
    if !refresh_now && let Some(served) = cache.lookup(wanted.id, &wanted.selector) {
        return Ok(served);
    }
    let key = key_of(wanted)?;
    Ok(if refresh_now { cache.read_now(key).await? } else { cache.read(key).await? })
}

/// Reads one of the secrets of a request, from the cache or from AWS.
///
/// All reads of the request together have one time limit. `started` is the time at which the first
/// read of the request began.
pub(super) async fn find_since(
    cache: &Cache,
    wanted: &BorrowedReference<'_>,
    started: Moment,
) -> Result<Served, Problem> {
    if let Some(served) = cache.lookup(wanted.id, &wanted.selector) {
        return Ok(served);
    }
    Ok(cache.read_since(key_of(wanted)?, started).await?)
}

pub(super) fn key_of(wanted: &BorrowedReference<'_>) -> Result<Key, Problem> {
    Ok(Key { id: SecretId::parse(wanted.id)?, selector: wanted.selector.clone() })
}

/// Returns an error if the secret's value is malformed (it breaks the rules for its kind of
/// secret). If `SIDEKEY_STRICT` is `false`, returns no error.
///
/// # Errors
///
/// Fails with the list of problems of the value.
pub(super) fn refuse_withheld(served: &Served) -> Result<(), Problem> {
    match &served.entry.malformed {
        Some(malformed) if malformed.is_withheld => Err(Problem::Malformed(malformed.clone())),
        _ => Ok(()),
    }
}

/// Returns how the metrics count a read: as a hit, a miss or a stale read (of an outdated value).
/// For a stale read, also counts in the metrics why the value was outdated.
pub(super) fn read_result(served: &Served, metrics: &Metrics) -> ReadResult {
    match served.how {
        How::Hit => ReadResult::Hit,
        How::Miss | How::Refreshed => ReadResult::Miss,
        How::Stale(reason) => {
            metrics.stale_read(reason.label());
            ReadResult::Stale
        }
    }
}
