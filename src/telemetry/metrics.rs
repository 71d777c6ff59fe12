//! All metrics, with their help texts and labels.
//!
//! Label values come from fixed sets: the name of a secret or a string from a caller never becomes
//! a label value. All series exist from the first scrape on.

use crate::source::FetchErrorKind;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::time::Duration;

/// The upper bounds of the histogram buckets for the duration of calls to AWS, in seconds. A call
/// takes 10 to 300 ms.
const UPSTREAM_BUCKETS: [f64; 11] = [0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0];

/// The upper bounds of the histogram buckets for the duration of reads, in seconds.
///
/// A read from the cache takes microseconds. Any other read takes as long as the call to AWS that
/// the reader waits for.
const READ_BUCKETS: [f64; 11] =
    [0.000_005, 0.000_02, 0.000_05, 0.000_2, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0];

/// The result of reading a secret, as a label of the metric `sidekey_reads_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadResult {
    /// The read was answered from the cache with a fresh value.
    Hit,
    /// The read was answered after the reader had waited for AWS.
    Miss,
    /// The read was answered from the cache with a stale value, whose time to live is over.
    Stale,
    /// Sidekey refused the read, for example because the token was wrong or because `SIDEKEY_ALLOW`
    /// does not allow the secret.
    Refused,
    /// The read failed. AWS failed or did not answer in time, or the secret does not have the
    /// requested field.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    GetSecretValue,
    /// The operation `BatchGetSecretValue`, which fetches up to 20 secrets.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Answered,
    /// The call was interrupted, because the process was frozen or restored from a snapshot. An
    /// interrupted call does not count as failed.
    Interrupted,
    Failed(FetchErrorKind),
}

impl Ended {
    fn label(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Interrupted => "cut",
            Self::Failed(kind) => kind.label(),
        }
    }
}

/// All metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The counters of reads, in the order of [`ReadResult::ALL`]. Each counter is looked up once
    /// at start, because a lookup by label takes a lock, and a cached read must take no lock.
    reads: [IntCounter; ReadResult::ALL.len()],
    read_duration: Histogram,
    stale_reads: IntCounterVec,
    upstream_requests: IntCounterVec,
    upstream_duration: HistogramVec,
    refreshes: IntCounterVec,
    gate_refusals: IntCounterVec,
    /// The number of reads that shared a call to AWS that another read had started.
    pub(crate) flights_joined: IntCounter,
    pub(crate) evictions: IntCounter,
    pub(crate) entries: IntGauge,
    /// The number of bytes that cached values and the answers rendered from them need.
    pub(crate) cache_bytes: IntGauge,
    /// The age of the oldest cached entry, in seconds.
    pub(crate) oldest_entry_age: Gauge,
    secret_problems: IntGaugeVec,
    /// How long the prefetch of the listed secrets (those of `SIDEKEY_SECRETS`) took, in seconds.
    pub(crate) prefetch_duration: Gauge,
    /// The number of required secrets of `SIDEKEY_SECRETS` that are not cached.
    pub(crate) listed_missing: IntGauge,
    pub(crate) connections: IntGauge,
    pub(crate) panics: IntCounter,
    /// The number of log lines that Sidekey dropped. Sidekey drops lines if too many lines of one
    /// kind come, or if another process reads the log too slowly.
    pub log_lines_dropped: IntCounter,
}

impl Metrics {
    /// Makes all metrics of the agent, and registers them.
    pub fn new() -> Self {
        let registry = Registry::new();
        let build = register(
            &registry,
            IntGaugeVec::new(
                Opts::new("sidekey_build_info", "The version of Sidekey. The value is always 1."),
                &["version", "arch"],
            ),
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH]).set(1);
        Self {
            reads: {
                let name = "sidekey_reads_total";
                let reads = counters(&registry, name, "Reads of secrets, by result.", &["result"]);
                ReadResult::ALL.map(|result| reads.with_label_values(&[result.label()]))
            },
            read_duration: register(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "sidekey_read_duration_seconds",
                        "Time from the headers of a request that reads secrets to its answer.",
                    )
                    .buckets(READ_BUCKETS.to_vec()),
                ),
            ),
            stale_reads: counters(
                &registry,
                "sidekey_stale_reads_total",
                "Reads answered with a stale value, by reason.",
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
                        "Duration of calls to Secrets Manager, including failed calls.",
                    )
                    .buckets(UPSTREAM_BUCKETS.to_vec()),
                    &["operation"],
                ),
            ),
            refreshes: counters(
                &registry,
                "sidekey_refreshes_total",
                "Refreshes of cached entries, by outcome.",
                &["outcome"],
            ),
            gate_refusals: counters(
                &registry,
                "sidekey_gate_refusals_total",
                "Requests that Sidekey refused before it read a secret, by reason.",
                &["reason"],
            ),
            flights_joined: counter(
                &registry,
                "sidekey_flights_joined_total",
                "Reads that shared a call to Secrets Manager that another read had started.",
            ),
            evictions: counter(
                &registry,
                "sidekey_evictions_total",
                "Entries evicted because the cache was full.",
            ),
            entries: gauge(&registry, "sidekey_entries", "Cached entries."),
            cache_bytes: gauge(
                &registry,
                "sidekey_cache_bytes",
                "Bytes of cached values and their rendered answers.",
            ),
            oldest_entry_age: register(
                &registry,
                Gauge::new(
                    "sidekey_oldest_entry_age_seconds",
                    "Age of the oldest cached value, counted from the call that fetched it.",
                ),
            ),
            secret_problems: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "sidekey_secret_problems",
                        "Problems of cached values that break the rules for their kind of secret, by problem.",
                    ),
                    &["problem"],
                ),
            ),
            prefetch_duration: register(
                &registry,
                Gauge::new(
                    "sidekey_prefetch_duration_seconds",
                    "Time from the start of the prefetch until the first call for every required \
                     secret had ended.",
                ),
            ),
            listed_missing: gauge(
                &registry,
                "sidekey_listed_missing",
                "Required secrets of SIDEKEY_SECRETS that are not cached.",
            ),
            connections: gauge(&registry, "sidekey_connections", "Open connections of callers."),
            panics: counter(&registry, "sidekey_panics_total", "Panics that Sidekey caught."),
            log_lines_dropped: counter(
                &registry,
                "sidekey_log_lines_dropped_total",
                "Log lines dropped because too many of one kind came or the log is read too slowly.",
            ),
            registry,
        }
    }

    pub(crate) fn read(&self, result: ReadResult) {
        self.reads[result as usize].inc();
    }

    /// Records the duration of a request that read one or several secrets.
    pub(crate) fn read_took(&self, took: Duration) {
        self.read_duration.observe(took.as_secs_f64());
    }

    /// Counts a read that was answered with a stale value. `reason` must be one of the reasons that
    /// [`announce_stale_reasons`](Self::announce_stale_reasons) received.
    pub(crate) fn stale_read(&self, reason: &'static str) {
        self.stale_reads.with_label_values(&[reason]).inc();
    }

    /// Counts a call to Secrets Manager. Records how long the call took, unless a freeze
    /// interrupted the call.
    pub(crate) fn upstream(&self, operation: Operation, ended: Ended, took: Duration) {
        self.upstream_requests.with_label_values(&[operation.label(), ended.label()]).inc();
        // The call took so long because of a freeze of the process, not because of Secrets Manager.
        if ended != Ended::Interrupted {
            let duration = self.upstream_duration.with_label_values(&[operation.label()]);
            duration.observe(took.as_secs_f64());
        }
    }

    /// Counts a refresh of a cached entry. `failed` is the kind of the error, or `None` if the
    /// refresh succeeded.
    pub(crate) fn refreshed(&self, failed: Option<FetchErrorKind>) {
        let ended = failed.map_or(Ended::Answered, Ended::Failed);
        self.refreshes.with_label_values(&[ended.label()]).inc();
    }

    /// Counts a request that Sidekey refused before it read a secret, for example because of a
    /// wrong token.
    ///
    /// `reason` must be one of the reasons that
    /// [`announce_gate_refusals`](Self::announce_gate_refusals) received.
    pub(crate) fn gate_refused(&self, reason: &'static str) {
        self.gate_refusals.with_label_values(&[reason]).inc();
    }

    /// Sets how many problems of each kind the cached values have. `counts` has the kinds of
    /// problem, each with its number.
    pub fn show_problems(&self, counts: &[(&'static str, usize)]) {
        for (problem, count) in counts {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.secret_problems.with_label_values(&[problem]).set(count);
        }
    }

    /// Creates a time series for each reason of a stale read, so that all series exist from the
    /// start.
    pub fn announce_stale_reasons(&self, reasons: &[&'static str]) {
        for reason in reasons {
            self.stale_reads.with_label_values(&[reason]);
        }
    }

    /// Creates a time series for each reason to refuse a request before a secret is read, such as a
    /// wrong token. So all series exist from the start.
    pub fn announce_gate_refusals(&self, reasons: &[&'static str]) {
        for reason in reasons {
            self.gate_refusals.with_label_values(&[reason]);
        }
    }

    /// Renders all metrics in Prometheus' text format, including the metrics of the process.
    pub fn render(&self) -> String {
        self.create_series();
        let families = self.registry.gather().into_iter().chain(process_metrics());
        let families: Vec<MetricFamily> = families.collect();
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&families, &mut text) {
            Ok(()) => text,
            Err(error) => format!("# Sidekey could not render its metrics: {error}\n"),
        }
    }

    /// Creates all time series, so that the first failure shows as a step from zero.
    ///
    /// This function runs at each scrape and not at start, because it would take 2 % of all
    /// instructions of the start.
    fn create_series(&self) {
        for ended in FetchErrorKind::ALL.map(Ended::Failed).into_iter().chain([Ended::Answered]) {
            self.refreshes.with_label_values(&[ended.label()]);
        }
        let calls = FetchErrorKind::ALL.into_iter().filter(|kind| kind.is_call_result());
        for ended in calls.map(Ended::Failed).chain([Ended::Answered, Ended::Interrupted]) {
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
    let valid = metric.expect("the names, labels and buckets in this file are valid");
    registry.register(Box::new(valid.clone())).expect("each metric is registered once");
    valid
}

/// Returns metrics of the operating system about the process, such as memory and CPU time.
#[cfg(target_os = "linux")]
fn process_metrics() -> Vec<MetricFamily> {
    prometheus::process_collector::ProcessCollector::for_self().collect()
}

/// Returns no metrics about the process, because they are available only on Linux.
#[cfg(not(target_os = "linux"))]
fn process_metrics() -> Vec<MetricFamily> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_exists_at_start_with_a_help_text() {
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
            assert!(text.contains(line), "the metrics lack the line {line}:\n{text}");
        }
        let names = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        let helps: Vec<&str> =
            text.lines().filter(|line| line.starts_with("# HELP sidekey")).collect();
        assert!(names > helps.len(), "the rendered text must also contain metrics of the process");
        for help in helps {
            assert!(help.ends_with('.'), "the help text must end in a full stop: {help}");
        }
    }

    #[test]
    fn each_event_changes_its_own_series() {
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
            assert!(text.contains(line), "the metrics lack the line {line}:\n{text}");
        }
    }
}
