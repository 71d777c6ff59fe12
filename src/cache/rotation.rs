//! Finds out when readers last got a version of a secret that a newer version has since replaced.

use super::cached_secret::CachedSecret;
use super::entry::Entry;
use super::snapshot::Snapshot;
use crate::clock::Moment;
use crate::telemetry::emf::served::{Served, ServedVersion};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How many characters of a version id are shown. They are enough to tell the versions of one
/// secret apart.
const PREFIX_CHARS: usize = 8;

/// A read counts as a read in a time interval even if its stored time is up to this long before the
/// start of the interval. Stored times are cut to whole milliseconds, so a read can seem to be
/// earlier than it was.
const SLACK: Duration = Duration::from_millis(2);

/// A version of a secret that a newer version has replaced in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Previous {
    /// The first characters of the id of the replaced version.
    pub(super) version: Box<str>,
    /// The time at which Sidekey sent the call to AWS whose answer contained the newer version.
    pub(super) replaced: SystemTime,
    /// When a request last got the replaced version. `None` if no request got it.
    pub(super) last_read: Option<SystemTime>,
}

/// Returns the version that the version in `entry` replaced in the cache. Returns `None` if the
/// cache contained no other version before.
///
/// While the replaced version is cached, requests can still read it by its version id or by another
/// staging label. The time of the last read includes such reads.
pub(super) fn previous(
    secret: &CachedSecret,
    entry: &Entry,
    now: Moment,
    epoch: u64,
) -> Option<Previous> {
    let former = entry.former()?;
    let others = secret.entries().iter().filter(|other| other.version.id == former.version);
    let read_by_id = others.filter_map(|other| other.last_read(now, epoch)).max();
    Some(Previous {
        version: version_prefix(&former.version).into(),
        replaced: former.replaced,
        last_read: former.last_read().max(read_by_id),
    })
}

/// Returns the time of the last read, over all secrets, of a version that a newer version has since
/// replaced in the cache. Returns `None` if there was no such read.
pub(super) fn last_replaced_read(
    snapshot: &Snapshot,
    now: Moment,
    epoch: u64,
) -> Option<SystemTime> {
    let reads = snapshot.entries().filter_map(|(secret, entry)| {
        previous(secret, entry, now, epoch).and_then(|previous| previous.last_read)
    });
    reads.max()
}

/// Records the read of `entry` if a newer version has replaced `entry` in the cache while the
/// request waited for AWS.
pub(super) fn note_late_read(snapshot: &Snapshot, entry: &Arc<Entry>, now: Moment) {
    let Some(cached) = snapshot.exact(entry.key()) else { return };
    let former = cached.former().filter(|former| former.version == entry.version.id);
    if let Some(former) = former.filter(|_| !Arc::ptr_eq(cached, entry)) {
        former.note_read(now.wall);
    }
}

/// Returns the versions that requests got since the time `since`, and the age of the oldest value
/// among them.
pub(super) fn served_since(
    snapshot: &Snapshot,
    since: SystemTime,
    now: Moment,
    epoch: u64,
) -> Served {
    let since = since - SLACK;
    let mut versions: BTreeMap<(&str, &str), SystemTime> = BTreeMap::new();
    let mut oldest: Option<Duration> = None;
    for (_, entry) in snapshot.entries() {
        let reads = [entry.last_served(epoch), entry.last_served_before()];
        let ages = reads.into_iter().flatten().filter(|read| read.at >= since).map(|read| read.age);
        oldest = oldest.max(ages.max());
        let own = entry.last_read(now, epoch).map(|at| (&*entry.version.id, at));
        let former = entry.former().and_then(|own| Some((&*own.version, own.last_read()?)));
        for (version, at) in own.into_iter().chain(former).filter(|(_, at)| *at >= since) {
            let latest = versions.entry((&entry.version.name, version)).or_insert(at);
            *latest = at.max(*latest);
        }
    }
    let versions = versions.into_iter().map(|((secret, version), last_read)| ServedVersion {
        secret: secret.into(),
        version: version_prefix(version).into(),
        last_read,
    });
    Served { versions: versions.collect(), oldest_age: oldest }
}

fn version_prefix(id: &str) -> &str {
    id.char_indices().nth(PREFIX_CHARS).map_or(id, |(end, _)| &id[..end])
}

#[cfg(test)]
mod tests;
