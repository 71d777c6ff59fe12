//! Finds the secret that a request asks for: in the cache, or with a flight.
//!
//! A flight is one call to AWS that all readers of the same secret share.

use super::problem::Problem;
use crate::cache::{Cache, How, Served};
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::reference::{BorrowedReference, SecretId};
use crate::telemetry::metrics::{Metrics, ReadResult};

/// Returns the wanted secret from the cache, or else from a flight. With `refresh_now` the secret is
/// fetched from AWS even if it is cached.
///
/// The value may be malformed: call [`refuse_withheld`] before the value is served.
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

/// Returns the wanted secret as [`find`] does, for a request that reads several secrets.
///
/// The reader's timeout counts from `started`, at which the request began to read its first secret.
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

fn key_of(wanted: &BorrowedReference<'_>) -> Result<Key, Problem> {
    Ok(Key { id: SecretId::parse(wanted.id)?, selector: wanted.selector.clone() })
}

/// Refuses a malformed value, unless the configuration says to serve malformed values.
///
/// # Errors
///
/// Fails with the problems of the value.
pub(super) fn refuse_withheld(served: &Served) -> Result<(), Problem> {
    match &served.entry.malformed {
        Some(malformed) if malformed.is_withheld => Err(Problem::Malformed(malformed.clone())),
        _ => Ok(()),
    }
}

/// Returns the result under which the metrics count a read. A stale read is also counted by its reason.
pub(super) fn read_result(served: &Served, metrics: &Metrics) -> ReadResult {
    match served.how {
        How::Hit | How::RefreshLimited => ReadResult::Hit,
        How::Miss | How::Refreshed => ReadResult::Miss,
        How::Stale(reason) => {
            metrics.stale_read(reason.label());
            ReadResult::Stale
        }
    }
}
