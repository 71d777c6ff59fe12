//! Remembers which version of a secret a cached version has replaced, and when a request last got
//! the replaced version.
//!
//! The times are computed when one entry replaces another, so a cached read does no extra work.

use super::marks::unix_millis;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The data that a cache entry keeps from the entry that it replaced.
#[derive(Debug, Default)]
pub(super) struct Predecessor {
    /// When a request last got the same version of the secret from an earlier entry. Each refresh
    /// makes a new entry, even if AWS returns the same version again.
    pub(super) same_version_read: Option<SystemTime>,
    pub(super) last_served: Option<LastServed>,
    pub(super) former: Option<Arc<Former>>,
}

/// The last read of a cache entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastServed {
    pub(super) at: SystemTime,
    /// The age of the value when the request got the value.
    pub(super) age: Duration,
}

/// A version of a secret that a newer version has replaced in the cache.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) version: Box<str>,
    /// When Sidekey sent the call to AWS that returned the newer version.
    pub(super) replaced: SystemTime,
    /// When a request last got this version, in milliseconds since 1970. Zero if no request got
    /// this version.
    read_at_ms: AtomicU64,
}

impl Former {
    pub(super) fn new(
        version: Box<str>,
        replaced: SystemTime,
        last_read: Option<SystemTime>,
    ) -> Self {
        Self { version, replaced, read_at_ms: AtomicU64::new(last_read.map_or(0, unix_millis)) }
    }

    pub(super) fn last_read(&self) -> Option<SystemTime> {
        let read_at_ms = self.read_at_ms.load(Ordering::Relaxed);
        (read_at_ms > 0).then(|| UNIX_EPOCH + Duration::from_millis(read_at_ms))
    }

    /// Records that a request got this version although a newer version is cached. This happens if
    /// the request waited for a call to AWS, and a later call returned the newer version.
    pub(super) fn note_read(&self, now: SystemTime) {
        self.read_at_ms.fetch_max(unix_millis(now), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn last_read_of_a_replaced_version_never_goes_back() {
        let unread = Former::new("v1".into(), at(100), None);
        assert_eq!(unread.last_read(), None);
        unread.note_read(at(101));
        unread.note_read(at(99));
        assert_eq!(unread.last_read(), Some(at(101)));
    }
}
