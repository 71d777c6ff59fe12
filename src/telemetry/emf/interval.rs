//! The counters before and after one interval, and the state of the cache at the end of the
//! interval.

use super::latency::Latencies;
use super::served::Served;
use super::totals::Totals;
use std::time::Duration;

/// The counters before and after one interval, and the state of the cache at the end of the
/// interval.
#[derive(Debug)]
pub(crate) struct Interval<'a> {
    pub(crate) before: &'a Totals,
    pub(crate) after: &'a Totals,
    pub(crate) state: &'a State,
}

/// The state of the cache at the end of an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The number of cached entries.
    pub(crate) held: usize,
    /// The number of required secrets in `SIDEKEY_SECRETS` that are not cached.
    pub(crate) missing: usize,
    pub(crate) served: Served,
    /// The time since a caller last read the old version of any secret: a version that a newer
    /// version has replaced. `None` if there was no such read.
    pub(crate) since_replaced_read: Option<Duration>,
}

impl Interval<'_> {
    /// Returns by how much a counter has increased in this interval.
    pub(crate) fn increase(&self, counter: fn(&Totals) -> u64) -> u64 {
        counter(self.after).saturating_sub(counter(self.before))
    }

    pub(crate) fn latencies(&self) -> Latencies {
        self.after.latencies.since(&self.before.latencies)
    }
}
