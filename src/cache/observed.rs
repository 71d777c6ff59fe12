//! What the metrics report about cached secrets. Everything is computed only when a monitoring
//! system asks, so it costs a read nothing.

use super::reader::Cache;
use super::rotation;
use crate::clock::Moment;
use crate::telemetry::emf::served::Served;
use std::time::SystemTime;

impl Cache {
    /// Returns how often SnapStart has restored this process, after a check of the clocks for a new
    /// restore.
    pub(crate) fn restores(&self, now: Moment) -> u64 {
        self.state.detect_restore(now);
        self.state.epoch()
    }

    /// Returns when a reader was last given a version of any secret that a newer version has
    /// replaced. Returns `None` if no reader was.
    pub(crate) fn last_replaced_read(&self) -> Option<SystemTime> {
        let now = self.state.clock.now();
        rotation::last_replaced_read(&self.state.snapshot.load(), now, self.state.epoch())
    }

    /// Returns the versions of secrets that readers were given since the time `since`.
    pub(crate) fn served_since(&self, since: SystemTime, now: Moment) -> Served {
        rotation::served_since(&self.state.snapshot.load(), since, now, self.state.epoch())
    }
}
