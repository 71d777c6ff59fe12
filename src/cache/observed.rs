//! Computes values of metrics about cached secrets. The agent computes them only when it reports
//! metrics, so reads need no extra work.

use super::reader::Cache;
use super::rotation;
use crate::clock::Moment;
use crate::telemetry::emf::served::Served;
use std::time::SystemTime;

impl Cache {
    /// Checks the clocks for a new SnapStart restore. Returns how many times SnapStart has restored
    /// this process.
    pub(crate) fn restores(&self, now: Moment) -> u64 {
        self.state.detect_restore(now);
        self.state.epoch()
    }

    /// Returns the time of the last read, over all secrets, of a version that a newer version has
    /// since replaced in the cache. Returns `None` if there was no such read.
    pub(crate) fn last_replaced_read(&self) -> Option<SystemTime> {
        let now = self.state.clock.now();
        rotation::last_replaced_read(&self.state.snapshot.load(), now, self.state.epoch())
    }

    /// Returns the versions of secrets that requests got since the time `since`.
    pub(crate) fn served_since(&self, since: SystemTime, now: Moment) -> Served {
        rotation::served_since(&self.state.snapshot.load(), since, now, self.state.epoch())
    }
}
