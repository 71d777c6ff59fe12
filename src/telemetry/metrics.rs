//! Every metric, with its help and its labels. Label values come from fixed sets, so that no name
//! of a secret and no text of a caller ever becomes one, and all of them exist from the start.

use crate::source::FetchErrorKind;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::time::Duration;

/// Upper bounds of the upstream latency buckets, in seconds: a call takes 10 to 300 ms.
const UPSTREAM_BUCKETS: [f64; 11] = [0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0];

/// Upper bounds of the read latency buckets, in seconds: a hit takes microseconds, a miss as long
/// as the call that it waits for.
const READ_BUCKETS: [f64; 11] =
    [0.000_005, 0.000_02, 0.000_05, 0.000_2, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0];

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// Served from the cache.
    Hit,
    /// Served after waiting for upstream.
    Miss,
    /// Served past its time.
    Stale,
    /// Refused by the gate, by `SIDEKEY_ALLOW` or for what was asked.
    Refused,
    /// Failed: upstream, a wait that was over, a field that is not there.
    Error,
}

impl ReadResult {
    const ALL: [Self; 5] = [Self::Hit, Self::Miss, Self::Stale, Self::Refused, Self::Error];

    fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Error => "error",
        }
    }
}

/// The operations of Secrets Manager that Sidekey calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One secret.
    GetSecretValue,
    /// Up to 20 secrets.
    BatchGetSecretValue,
}

impl Operation {
    const ALL: [Self; 2] = [Self::GetSecretValue, Self::BatchGetSecretValue];

    fn label(self) -> &'static str {
        match self {
            Self::GetSecretValue => "GetSecretValue",
            Self::BatchGetSecretValue => "BatchGetSecretValue",
        }
    }
}

/// How a call to Secrets Manager ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer.
    Answered,
    /// Cut by a freeze, which is nobody's failure.
    Cut,
    /// With a failure.
    Failed(FetchErrorKind),
}

impl Ended {
    fn label(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Cut => "cut",
            Self::Failed(kind) => kind.label(),
        }
    }
}

/// Every metric of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By the order of [`ReadResult::ALL`]: looking a label up takes a lock, which a hit must not.
    reads: [IntCounter; ReadResult::ALL.len()],
    read_duration: Histogram,
    stale_reads: IntCounterVec,
    upstream_requests: IntCounterVec,
    upstream_duration: HistogramVec,
    refreshes: IntCounterVec,
    gate_refusals: IntCounterVec,
    /// Readers that waited on a call somebody else had started.
    pub flights_joined: IntCounter,
    /// Entries pushed out because the cache was full.
    pub evictions: IntCounter,
    /// Entries held.
    pub entries: IntGauge,
    /// Bytes of the values of entries, and of what was rendered of them.
    pub cache_bytes: IntGauge,
    /// Age of the oldest entry.
    pub oldest_entry_age: Gauge,
    secret_problems: IntGaugeVec,
    /// How long the prefetch took.
    pub prefetch_duration: Gauge,
    /// Listed and required secrets that are not held.
    pub listed_missing: IntGauge,
    /// Connections of readers that are open.
    pub connections: IntGauge,
    /// Panics caught.
    pub panics: IntCounter,
    /// Log lines that were dropped: too many of their kind, or an undrained log.
    pub log_lines_dropped: IntCounter,
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Self {
        let registry = Registry::new();
        let build = register(
            &registry,
            IntGaugeVec::new(
                Opts::new("sidekey_build_info", "The version of Sidekey; always 1."),
                &["version", "arch"],
            ),
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH]).set(1);
        Self {
            reads: {
                let name = "sidekey_reads_total";
                let reads =
                    counters(&registry, name, "Reads of secrets, by how they ended.", &["result"]);
                ReadResult::ALL.map(|result| reads.with_label_values(&[result.label()]))
            },
            read_duration: register(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "sidekey_read_duration_seconds",
                        "Time from a request's head to its answer, for requests that read secrets.",
                    )
                    .buckets(READ_BUCKETS.to_vec()),
                ),
            ),
            stale_reads: counters(
                &registry,
                "sidekey_stale_reads_total",
                "Reads served past their time, by the reason.",
                &["reason"],
            ),
            upstream_requests: counters(
                &registry,
                "sidekey_upstream_requests_total",
                "Calls to Secrets Manager, by operation and outcome.",
                &["operation", "outcome"],
            ),
            upstream_duration: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "sidekey_upstream_request_duration_seconds",
                        "Time that calls to Secrets Manager took, whatever their outcome.",
                    )
                    .buckets(UPSTREAM_BUCKETS.to_vec()),
                    &["operation"],
                ),
            ),
            refreshes: counters(
                &registry,
                "sidekey_refreshes_total",
                "Refreshes of entries that were already held, by outcome.",
                &["outcome"],
            ),
            gate_refusals: counters(
                &registry,
                "sidekey_gate_refusals_total",
                "Requests that were refused before anything was read, by the reason.",
                &["reason"],
            ),
            flights_joined: counter(
                &registry,
                "sidekey_flights_joined_total",
                "Reads that waited on an upstream call which another one had started.",
            ),
            evictions: counter(
                &registry,
                "sidekey_evictions_total",
                "Entries pushed out because the cache was full.",
            ),
            entries: gauge(&registry, "sidekey_entries", "Entries held."),
            cache_bytes: gauge(
                &registry,
                "sidekey_cache_bytes",
                "Bytes of cached values and their rendered answers.",
            ),
            oldest_entry_age: register(
                &registry,
                Gauge::new(
                    "sidekey_oldest_entry_age_seconds",
                    "Age of the oldest entry held, counted from when its call was sent.",
                ),
            ),
            secret_problems: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "sidekey_secret_problems",
                        "What is wrong with the values of entries, by the conventions of their names.",
                    ),
                    &["problem"],
                ),
            ),
            prefetch_duration: register(
                &registry,
                Gauge::new(
                    "sidekey_prefetch_duration_seconds",
                    "Time from the start until every required listed secret had been answered for.",
                ),
            ),
            listed_missing: gauge(
                &registry,
                "sidekey_listed_missing",
                "Required secrets of SIDEKEY_SECRETS that are not held.",
            ),
            connections: gauge(&registry, "sidekey_connections", "Open connections of readers."),
            panics: counter(&registry, "sidekey_panics_total", "Panics that were caught."),
            log_lines_dropped: counter(
                &registry,
                "sidekey_log_lines_dropped_total",
                "Log lines dropped: too many of their kind, or an undrained log.",
            ),
            registry,
        }
    }

    /// Counts a read.
    pub fn read(&self, result: ReadResult) {
        self.reads[result as usize].inc();
    }

    /// Notes how long a request took that reads one secret, or several.
    pub fn read_took(&self, took: Duration) {
        self.read_duration.observe(took.as_secs_f64());
    }

    /// Counts a read served past its time, for one of the reasons announced.
    pub fn stale_read(&self, reason: &'static str) {
        self.stale_reads.with_label_values(&[reason]).inc();
    }

    /// Counts a call to Secrets Manager and the time it took.
    pub fn upstream(&self, operation: Operation, ended: Ended, took: Duration) {
        self.upstream_requests.with_label_values(&[operation.label(), ended.label()]).inc();
        // How long a freeze was says nothing of Secrets Manager.
        if ended != Ended::Cut {
            let duration = self.upstream_duration.with_label_values(&[operation.label()]);
            duration.observe(took.as_secs_f64());
        }
    }

    /// Counts a refresh of an entry that was held.
    pub fn refreshed(&self, failed: Option<FetchErrorKind>) {
        let ended = failed.map_or(Ended::Answered, Ended::Failed);
        self.refreshes.with_label_values(&[ended.label()]).inc();
    }

    /// Counts a request that the gate refused, for one of the reasons announced.
    pub fn gate_refused(&self, reason: &'static str) {
        self.gate_refusals.with_label_values(&[reason]).inc();
    }

    /// Shows how many problems the values of entries have, for every kind of problem.
    pub fn show_problems(&self, counts: &[(&'static str, usize)]) {
        for (problem, count) in counts {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.secret_problems.with_label_values(&[problem]).set(count);
        }
    }

    /// Makes the series of every reason for a stale read exist.
    pub fn announce_stale_reasons(&self, reasons: &[&'static str]) {
        for reason in reasons {
            self.stale_reads.with_label_values(&[reason]);
        }
    }

    /// Makes the series of every reason for a refusal exist.
    pub fn announce_gate_refusals(&self, reasons: &[&'static str]) {
        for reason in reasons {
            self.gate_refusals.with_label_values(&[reason]);
        }
    }

    /// Renders every metric in Prometheus' text format, those of the process included.
    pub fn render(&self) -> String {
        self.preset();
        let families = self.registry.gather().into_iter().chain(of_the_process());
        let families: Vec<MetricFamily> = families.collect();
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&families, &mut text) {
            Ok(()) => text,
            Err(error) => format!("# the metrics could not be rendered: {error}\n"),
        }
    }

    /// Makes every series exist, so that a first failure is a step from zero and not a gap. For
    /// whoever looks, not at start: there it would take one instruction in fifty.
    fn preset(&self) {
        for ended in FetchErrorKind::ALL.map(Ended::Failed).into_iter().chain([Ended::Answered]) {
            self.refreshes.with_label_values(&[ended.label()]);
        }
        let calls = FetchErrorKind::ALL.into_iter().filter(|kind| kind.is_call_result());
        for ended in calls.map(Ended::Failed).chain([Ended::Answered, Ended::Cut]) {
            for operation in Operation::ALL {
                self.upstream_requests.with_label_values(&[operation.label(), ended.label()]);
            }
        }
        for operation in Operation::ALL {
            self.upstream_duration.with_label_values(&[operation.label()]);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("names, labels and buckets are constants of this file");
    registry.register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}

#[cfg(target_os = "linux")]
fn of_the_process() -> Vec<MetricFamily> {
    prometheus::process_collector::ProcessCollector::for_self().collect()
}

/// Only Linux tells.
#[cfg(not(target_os = "linux"))]
fn of_the_process() -> Vec<MetricFamily> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_exists_at_start_and_has_help() {
        let metrics = Metrics::new();
        metrics.announce_stale_reasons(&["failing"]);
        metrics.announce_gate_refusals(&["token"]);
        let text = metrics.render();
        for line in [
            "sidekey_reads_total{result=\"hit\"} 0",
            "sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"ok\"} 0",
            "sidekey_upstream_requests_total{operation=\"BatchGetSecretValue\",outcome=\"throttled\"} 0",
            "sidekey_gate_refusals_total{reason=\"token\"} 0",
            "sidekey_refreshes_total{outcome=\"ok\"} 0",
            "sidekey_stale_reads_total{reason=\"failing\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        let names = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        let helps: Vec<&str> =
            text.lines().filter(|line| line.starts_with("# HELP sidekey")).collect();
        assert!(names > helps.len(), "the process's own figures are there too");
        for help in helps {
            assert!(help.ends_with('.'), "a sentence ends in a full stop: {help}");
        }
    }

    #[test]
    fn each_count_moves_its_own_series() {
        let metrics = Metrics::new();
        for (at, result) in ReadResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, at, "{result:?}");
        }
        metrics.read(ReadResult::Stale);
        metrics.read_took(Duration::from_micros(10));
        metrics.stale_read("failing");
        metrics.upstream(
            Operation::GetSecretValue,
            Ended::Failed(FetchErrorKind::Throttled),
            Duration::from_millis(30),
        );
        metrics.refreshed(None);
        metrics.gate_refused("host");
        let text = metrics.render();
        for line in [
            "sidekey_reads_total{result=\"stale\"} 1",
            "sidekey_read_duration_seconds_bucket{le=\"0.00002\"} 1",
            "sidekey_stale_reads_total{reason=\"failing\"} 1",
            "sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"throttled\"} 1",
            "sidekey_upstream_request_duration_seconds_count{operation=\"GetSecretValue\"} 1",
            "sidekey_refreshes_total{outcome=\"ok\"} 1",
            "sidekey_gate_refusals_total{reason=\"host\"} 1",
            "sidekey_build_info{arch=",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
