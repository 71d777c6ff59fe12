//! Finds the secret that an HTTP request asks for: in the cache, or with a call to AWS.
//!
//! Concurrent readers of the same uncached secret share one call to AWS.

use super::problem::Problem;
use crate::cache::withheld::Withheld;
use crate::cache::{Cache, How, Served};
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::reference::{BorrowedReference, SecretId};
use crate::telemetry::metrics::{Metrics, ReadResult};

/// Returns a secret from the cache. If the secret is not cached, or if `refresh_now` is `true`,
/// fetches the secret from AWS.
///
/// The value may break the configured rules, so check it with [`refuse_withheld`] before serving
/// it.
pub(super) async fn find(
    cache: &Cache,
    wanted: &BorrowedReference<'_>,
    refresh_now: bool,
) -> Result<Served, Problem> {
    if !refresh_now && let Some(served) = cache.lookup(wanted.key()) {
        return Ok(served);
    }
    let key = key_of(wanted)?;
    Ok(if refresh_now { cache.read_now(key).await? } else { cache.read(key).await? })
}

/// Reads one of several secrets that an HTTP request asks for, from the cache or from AWS.
///
/// All reads of the request together have one time limit, which began at the time `started`.
pub(super) async fn find_since(
    cache: &Cache,
    wanted: &BorrowedReference<'_>,
    started: Moment,
) -> Result<Served, Problem> {
    if let Some(served) = cache.lookup(wanted.key()) {
        return Ok(served);
    }
    Ok(cache.read_since(key_of(wanted)?, started).await?)
}

pub(super) fn key_of(wanted: &BorrowedReference<'_>) -> Result<Key, Problem> {
    let id = SecretId::parse(wanted.id).map_err(|bad| Problem::reference(wanted.id, bad))?;
    Ok(Key::own(id, wanted.selector.clone()))
}

/// Returns an error if no caller may read the secret (`SIDEKEY_USE_ONLY`), or if the secret's value
/// breaks the rules that the configuration sets for the secret's name. If `SIDEKEY_STRICT` is
/// `false`, broken rules are no error.
pub(super) fn refuse_withheld(served: &Served) -> Result<(), Problem> {
    match &served.entry.withheld {
        None => Ok(()),
        Some(Withheld::Malformed(malformed)) => Err(Problem::Malformed(malformed.clone())),
        Some(Withheld::UseOnly(route)) => Err(Problem::UseOnly(route.clone())),
    }
}

/// Returns how the metrics count a read of a secret: as a hit, a miss, or a stale read (the cached
/// value was outdated). For a stale read, also counts why the value was outdated.
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

/// Returns how the metrics count a call that has read `all` these secrets: once, under the worst
/// result of a read, or as an error if the call has read no secret.
pub(super) fn worst_result<'a>(
    all: impl Iterator<Item = &'a Served>,
    metrics: &Metrics,
) -> ReadResult {
    all.map(|served| read_result(served, metrics)).reduce(worse).unwrap_or(ReadResult::Error)
}

/// Returns the worse of two results of reads. A miss is worse than a stale (outdated) read, and a
/// stale read is worse than a hit.
fn worse(a: ReadResult, b: ReadResult) -> ReadResult {
    match (a, b) {
        (ReadResult::Miss, _) | (_, ReadResult::Miss) => ReadResult::Miss,
        (ReadResult::Hit, other) => other,
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_counts_as_its_slowest_read() {
        use ReadResult::{Hit, Miss, Stale};
        for (a, b, expected) in [
            (Hit, Hit, Hit),
            (Hit, Stale, Stale),
            (Stale, Hit, Stale),
            (Stale, Miss, Miss),
            (Miss, Stale, Miss),
        ] {
            assert_eq!(worse(a, b), expected, "{a:?} {b:?}");
        }
    }
}
