//! Finds the secret that an HTTP request asks for: in the cache, or with a call to AWS.
//!
//! Concurrent readers of the same uncached secret share one call to AWS.

use super::context::Context;
use super::problem::Problem;
use crate::cache::withheld::Withheld;
use crate::cache::{Cache, How, Served};
use crate::clock::Moment;
use crate::secret::key::{Key, KeyRef};
use crate::secret::reference::{BorrowedReference, SecretId};
use crate::secret::role::RoleArn;
use crate::telemetry::metrics::{Metrics, ReadResult};

/// A secret that a request asks for, and the role with which Sidekey reads the secret. If the role
/// is `None`, Sidekey uses its own credentials.
///
/// Code can read the cache only with this type, so no handler forgets to choose the role.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) reference: BorrowedReference<'a>,
    role: Option<&'a RoleArn>,
}

impl<'a> Wanted<'a> {
    /// Chooses the role for the secret `reference`: the role that the request names, or else the
    /// role in the configuration.
    ///
    /// # Errors
    ///
    /// Fails if `SIDEKEY_ROLES` does not allow the role that the request names.
    pub(super) fn new(
        context: &'a Context,
        requested: Option<&'a RoleArn>,
        reference: BorrowedReference<'a>,
    ) -> Result<Self, Problem> {
        let role = context.role_rules.role_of(requested, reference.id)?;
        Ok(Self { reference, role })
    }

    /// Returns the key for a look-up in the cache.
    pub(super) fn key(&self) -> KeyRef<'_> {
        let BorrowedReference { id, selector, .. } = &self.reference;
        KeyRef { role: self.role, id, selector }
    }

    /// Parses the reference into the key that identifies the secret in the cache and in calls to AWS.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not a valid name or ARN.
    pub(super) fn owned_key(&self) -> Result<Key, Problem> {
        let BorrowedReference { id, selector, .. } = &self.reference;
        let id = SecretId::parse(id).map_err(|bad| Problem::reference(id, bad))?;
        Ok(Key { role: self.role.cloned(), id, selector: selector.clone() })
    }
}

/// Returns a secret from the cache. If the secret is not cached, or if `refresh_now` is `true`,
/// fetches the secret from AWS.
///
/// The value may break the configured rules, so check it with [`refuse_withheld`] before serving
/// it.
pub(super) async fn find(
    cache: &Cache,
    wanted: &Wanted<'_>,
    refresh_now: bool,
) -> Result<Served, Problem> {
    if !refresh_now && let Some(served) = cache.lookup(wanted.key()) {
        return Ok(served);
    }
    let key = wanted.owned_key()?;
    Ok(if refresh_now { cache.read_now(key).await? } else { cache.read(key).await? })
}

/// Reads one of several secrets that an HTTP request asks for, from the cache or from AWS.
///
/// All reads of the request together have one time limit, which began at the time `started`.
pub(super) async fn find_since(
    cache: &Cache,
    wanted: &Wanted<'_>,
    started: Moment,
) -> Result<Served, Problem> {
    if let Some(served) = cache.lookup(wanted.key()) {
        return Ok(served);
    }
    Ok(cache.read_since(wanted.owned_key()?, started).await?)
}

/// Returns an error if Sidekey must not return the secret to callers. There are two reasons: the
/// secret matches `SIDEKEY_USE_ONLY`, so Sidekey may use it only in its own calls to other servers,
/// or its value breaks the rules for its name. If `SIDEKEY_STRICT` is `false`, broken rules cause no
/// error.
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

/// Returns how the metrics count a request that reads several secrets: once, with the worst result
/// of its reads. `all` contains the secrets that were read. If there are none, the request counts
/// as an error.
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
