//! Writes the agent's metrics for CloudWatch to the log, while the agent runs.

use super::Agent;
use crate::cache::Cache;
use crate::clock::{Clock, Moment};
use crate::telemetry::emf::Config;
use crate::telemetry::emf::interval::{Interval, State};
use crate::telemetry::emf::record::record;
use crate::telemetry::emf::schedule::{INTERVAL, Next, Reason, Schedule};
use crate::telemetry::emf::totals::Totals;
use crate::telemetry::log::Records;
use crate::telemetry::metrics::Metrics;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// The longest sleep between two checks whether a record of metrics is due. A sleep makes no
/// progress while Lambda freezes the process, so a long sleep would delay the record.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Writes records with the agent's metrics for CloudWatch. Each record reports what has happened
/// since the previous record.
#[derive(Debug)]
pub struct Reports {
    config: Config,
    records: Records,
    cache: Cache,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    base: Base,
    schedule: Schedule,
    is_trouble: bool,
}

/// The end of the last reported interval, which is the start of the next interval.
#[derive(Debug)]
struct Base {
    totals: Totals,
    at: Moment,
    /// How many times SnapStart had restored the process at the end of the interval.
    restores: u64,
}

impl Agent {
    /// Prepares to write records of the agent's metrics to `records`. The first record reports what
    /// has happened since the start of the process.
    pub fn reports(&self, config: Config, records: Records) -> Reports {
        let context = &self.server.context;
        Reports::new(
            config,
            records,
            context.cache.clone(),
            context.metrics.clone(),
            self.clock.clone(),
        )
    }
}

impl Reports {
    fn new(
        config: Config,
        records: Records,
        cache: Cache,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let now = clock.now();
        let start = Moment { wall: now.wall - now.steady, steady: Duration::ZERO };
        let base = Base { totals: Totals::default(), at: start, restores: cache.restores(now) };
        let schedule = Schedule::starting(now);
        Self { config, records, cache, metrics, clock, base, schedule, is_trouble: false }
    }

    /// Writes a record if SnapStart may take a snapshot of the process. Without this record, all
    /// environments that start from the snapshot would report the events before the snapshot. Call
    /// this method when the start of the agent has ended.
    pub fn start_ended(&mut self) {
        if self.config.is_snapshot {
            self.write(self.clock.now(), Reason::Snapshot);
        }
    }

    /// Writes a record of metrics once a minute, and at once after the first trouble of a minute,
    /// such as a stale read. Never returns.
    ///
    /// The caller may drop the future at any time. If a minute has passed during a freeze of the
    /// process, a record is written within [`SLEEP_MAX`] after the freeze.
    pub async fn run(&mut self) -> Infallible {
        let cache = self.cache.clone();
        loop {
            // A restore by SnapStart also completes this future.
            let changed = cache.changed();
            let wait = self.step();
            tokio::select! {
                biased;
                () = self.metrics.trouble() => self.is_trouble = true,
                () = changed => {}
                () = self.clock.sleep(wait.min(SLEEP_MAX)) => {}
            }
        }
    }

    /// Writes the last record. Call this method after the agent has answered its last request.
    pub fn finish(mut self) {
        let now = self.clock.now();
        self.forget_before_restore(now);
        self.write(now, Reason::Shutdown);
    }

    /// Writes a record if one is due. Returns the time until the next record is due.
    fn step(&mut self) -> Duration {
        let now = self.clock.now();
        self.forget_before_restore(now);
        match self.schedule.next(now, self.is_trouble) {
            Next::In(wait) => wait,
            Next::Now(reason) => {
                self.write(now, reason);
                INTERVAL
            }
        }
    }

    /// Starts a new interval if SnapStart has restored the process. All environments that start
    /// from one snapshot would otherwise report what happened before the snapshot.
    fn forget_before_restore(&mut self, now: Moment) {
        let restores = self.cache.restores(now);
        if restores != self.base.restores {
            self.base = Base { totals: self.metrics.totals(), at: now, restores };
        }
    }

    fn write(&mut self, now: Moment, reason: Reason) {
        let totals = self.metrics.totals();
        let state = self.state(now);
        let interval = Interval { before: &self.base.totals, after: &totals, state: &state };
        if let Some(line) = record(&self.config, &interval, reason, now.wall) {
            self.records.write(&line);
        }
        self.base = Base { totals, at: now, restores: self.base.restores };
        self.schedule.note(now, reason);
        self.is_trouble = false;
    }

    fn state(&self, now: Moment) -> State {
        let passed = now.since(self.base.at).unwrap_or_default();
        let replaced_read = self.cache.last_replaced_read();
        State {
            held: self.cache.snapshot().entries().count(),
            missing: self.cache.missing_required().len(),
            served: self.cache.served_since(now.wall - passed, now),
            since_replaced_read: replaced_read
                .map(|at| now.wall.duration_since(at).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests;
