//! All Prometheus metrics of the agent, with their help texts and labels.
//!
//! The value of a label is one of a few fixed words, never the name of a secret or text from a
//! caller. Otherwise, callers could create any number of time series.

mod call;
mod calls;
mod create;
mod totals;

pub(crate) use call::{Ended, Operation, SearchResult};
pub(crate) use calls::CallMetrics;
#[cfg(test)]
pub(crate) use calls::REASONS;

use crate::source::FetchErrorKind;
use create::{counter, counters, gauge, gauges, seconds, valid};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry, TextEncoder,
};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;

/// The upper bounds of the histogram buckets for the duration of calls to AWS, in seconds. Most
/// calls take 10 to 300 ms, so most buckets are in this range.
const UPSTREAM_BUCKETS: [f64; 11] = [0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0];

/// The upper bounds of the histogram buckets for the duration of callers' reads, in seconds. A read
/// takes microseconds if the secret is cached, but may take seconds if it waits for AWS.
const READ_BUCKETS: [f64; 11] =
    [0.000_005, 0.000_02, 0.000_05, 0.000_2, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0];

/// How Sidekey answered a caller's read of a secret. This is the label `result` of the metric
/// `sidekey_reads_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadResult {
    Hit,
    /// The caller's read had to wait for AWS.
    Miss,
    /// Sidekey answered with a cached value that is older than its time to live, for example
    /// because AWS failed.
    Stale,
    /// Sidekey refused the read, for example because of a wrong token, or because `SIDEKEY_ALLOW`
    /// does not allow the secret.
    Refused,
    /// The read failed: AWS returned an error or did not answer in time, or the secret does not
    /// have the requested field.
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

/// All metrics of the agent.
///
/// A [`LazyLock`] creates its metric at its first change or at the first scrape. A start changes
/// few metrics, and to create all of them would take a few per cent of the CPU instructions of a
/// start.
#[derive(Debug)]
pub struct Metrics {
    registry: OnceLock<Registry>,
    all_reads: IntCounterVec,
    /// The counters of reads, one for each [`ReadResult`], in the order of [`ReadResult::ALL`].
    ///
    /// The counters are stored here, because finding a counter by its label takes a lock. Reads of
    /// cached secrets must take no lock.
    reads: [IntCounter; ReadResult::ALL.len()],
    read_duration: Histogram,
    stale_reads: LazyLock<IntCounterVec>,
    /// The reasons of stale reads. Each reason has a time series from the first scrape on.
    stale_reasons: OnceLock<Box<[&'static str]>>,
    upstream_requests: IntCounterVec,
    upstream_duration: HistogramVec,
    failover_requests: LazyLock<IntCounterVec>,
    refreshes: LazyLock<IntCounterVec>,
    searches: LazyLock<IntCounterVec>,
    /// The number of secrets that match the patterns of `SIDEKEY_SECRETS`.
    pub(crate) found_secrets: LazyLock<IntGauge>,
    gate_refusals: LazyLock<IntCounterVec>,
    /// The reasons of refused requests. Each reason has a time series from the first scrape on.
    gate_reasons: OnceLock<Box<[&'static str]>>,
    /// How many reads waited for a call to AWS that an earlier read had started.
    pub(crate) flights_joined: LazyLock<IntCounter>,
    pub(crate) evictions: LazyLock<IntCounter>,
    pub(crate) entries: LazyLock<IntGauge>,
    pub(crate) cache_bytes: LazyLock<IntGauge>,
    pub(crate) oldest_entry_age: LazyLock<Gauge>,
    pub(crate) replaced_version_read: LazyLock<Gauge>,
    pub(crate) overdue_entries: LazyLock<IntGauge>,
    secret_problems: LazyLock<IntGaugeVec>,
    pub(crate) prefetch_duration: LazyLock<Gauge>,
    pub(crate) listed_missing: LazyLock<IntGauge>,
    pub(crate) connections: IntGauge,
    pub(crate) panics: LazyLock<IntCounter>,
    /// How many log lines Sidekey dropped, because there were too many of the same kind or because
    /// another process read the log too slowly.
    pub log_lines_dropped: IntCounter,
    calls: OnceLock<CallMetrics>,
    /// Notified when there is trouble: a stale or refused read, a throttled call to AWS, or a
    /// failed prefetch.
    trouble: Notify,
}

impl Metrics {
    /// Returns metrics with the value zero.
    pub fn new() -> Self {
        let all_reads =
            counters("sidekey_reads_total", "Reads of secrets, by result.", &["result"]);
        Self {
            reads: ReadResult::ALL.map(|result| all_reads.with_label_values(&[result.label()])),
            all_reads,
            read_duration: valid(Histogram::with_opts(
                HistogramOpts::new(
                    "sidekey_read_duration_seconds",
                    "Time from the arrival of a request that reads secrets until its answer.",
                )
                .buckets(READ_BUCKETS.to_vec()),
            )),
            stale_reads: LazyLock::new(|| {
                counters(
                    "sidekey_stale_reads_total",
                    "Reads answered with a cached value older than its time to live, by reason.",
                    &["reason"],
                )
            }),
            stale_reasons: OnceLock::new(),
            upstream_requests: counters(
                "sidekey_upstream_requests_total",
                "Calls to Secrets Manager, by operation and outcome.",
                &["operation", "outcome"],
            ),
            upstream_duration: valid(HistogramVec::new(
                HistogramOpts::new(
                    "sidekey_upstream_request_duration_seconds",
                    "Duration of calls to Secrets Manager, including failed calls.",
                )
                .buckets(UPSTREAM_BUCKETS.to_vec()),
                &["operation"],
            )),
            failover_requests: LazyLock::new(|| {
                counters(
                    "sidekey_failover_requests_total",
                    "Reads of replicas in the failover region, by outcome.",
                    &["outcome"],
                )
            }),
            refreshes: LazyLock::new(|| {
                counters(
                    "sidekey_refreshes_total",
                    "Refreshes of cached secrets, by outcome.",
                    &["outcome"],
                )
            }),
            searches: LazyLock::new(|| {
                counters(
                    "sidekey_searches_total",
                    "Searches for the patterns and tags of SIDEKEY_SECRETS, by result.",
                    &["result"],
                )
            }),
            found_secrets: LazyLock::new(|| {
                gauge(
                    "sidekey_found_secrets",
                    "Secrets that match the patterns and tags of SIDEKEY_SECRETS, cached or not.",
                )
            }),
            gate_refusals: LazyLock::new(|| {
                counters(
                    "sidekey_gate_refusals_total",
                    "Requests that Sidekey refused before it read a secret, by reason.",
                    &["reason"],
                )
            }),
            gate_reasons: OnceLock::new(),
            flights_joined: LazyLock::new(|| {
                counter(
                    "sidekey_flights_joined_total",
                    "Reads that shared a call to Secrets Manager that another read had started.",
                )
            }),
            evictions: LazyLock::new(|| {
                counter(
                    "sidekey_evictions_total",
                    "Cached secrets evicted because the cache was full.",
                )
            }),
            entries: LazyLock::new(|| gauge("sidekey_entries", "Cached entries.")),
            cache_bytes: LazyLock::new(|| {
                gauge(
                    "sidekey_cache_bytes",
                    "Bytes of cached values and of the HTTP answers prepared from them.",
                )
            }),
            replaced_version_read: LazyLock::new(|| {
                seconds(
                    "sidekey_replaced_version_last_read_timestamp_seconds",
                    "When a reader last got a version of a secret that has been replaced since, in \
                     seconds since 1970; 0 if no reader got one.",
                )
            }),
            oldest_entry_age: LazyLock::new(|| {
                seconds(
                    "sidekey_oldest_entry_age_seconds",
                    "Age of the oldest cached value, counted from the call that fetched it.",
                )
            }),
            overdue_entries: LazyLock::new(|| {
                gauge(
                    "sidekey_overdue_entries",
                    "Cached values older than their time to live, although the agent should have \
                     refreshed them.",
                )
            }),
            secret_problems: LazyLock::new(|| {
                gauges(
                    "sidekey_secret_problems",
                    "Problems in values of cached secrets, such as missing fields, by problem.",
                    &["problem"],
                )
            }),
            prefetch_duration: LazyLock::new(|| {
                seconds(
                    "sidekey_prefetch_duration_seconds",
                    "Time from the start of the prefetch until the first call to AWS for every \
                     required secret had ended.",
                )
            }),
            listed_missing: LazyLock::new(|| {
                gauge(
                    "sidekey_listed_missing",
                    "Required secrets of SIDEKEY_SECRETS that are not cached.",
                )
            }),
            connections: gauge("sidekey_connections", "Open connections of callers."),
            panics: LazyLock::new(|| {
                counter("sidekey_panics_total", "Panics that Sidekey caught.")
            }),
            log_lines_dropped: counter(
                "sidekey_log_lines_dropped_total",
                "Log lines dropped because too many of one kind came, or no process read the log.",
            ),
            trouble: Notify::new(),
            registry: OnceLock::new(),
            calls: OnceLock::new(),
        }
    }

    /// Creates the list of all metrics for scrapes.
    fn registered(&self) -> Registry {
        let build = gauges(
            "sidekey_build_info",
            "The version of Sidekey. The value is always 1.",
            &["version", "arch"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH]).set(1);
        let registry = Registry::new();
        let metrics: [Box<dyn Collector>; _] = [
            Box::new(build),
            Box::new(self.all_reads.clone()),
            Box::new(self.read_duration.clone()),
            Box::new(self.stale_reads.clone()),
            Box::new(self.upstream_requests.clone()),
            Box::new(self.upstream_duration.clone()),
            Box::new(self.failover_requests.clone()),
            Box::new(self.refreshes.clone()),
            Box::new(self.searches.clone()),
            Box::new(self.found_secrets.clone()),
            Box::new(self.gate_refusals.clone()),
            Box::new(self.flights_joined.clone()),
            Box::new(self.evictions.clone()),
            Box::new(self.entries.clone()),
            Box::new(self.cache_bytes.clone()),
            Box::new(self.oldest_entry_age.clone()),
            Box::new(self.replaced_version_read.clone()),
            Box::new(self.overdue_entries.clone()),
            Box::new(self.secret_problems.clone()),
            Box::new(self.prefetch_duration.clone()),
            Box::new(self.listed_missing.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.panics.clone()),
            Box::new(self.log_lines_dropped.clone()),
        ];
        for metric in metrics.into_iter().chain(self.calls().collectors()) {
            registry.register(metric).expect("each metric must be registered only once");
        }
        registry
    }

    pub(crate) fn read(&self, result: ReadResult) {
        self.reads[result as usize].inc();
    }

    /// Records how long Sidekey took to answer a request of a caller. A request may read several
    /// secrets.
    pub(crate) fn read_took(&self, took: Duration) {
        self.read_duration.observe(took.as_secs_f64());
    }

    /// Counts a read that Sidekey answered with a stale value: a cached value that is older than
    /// its time to live. `reason` must be one of the strings that were passed to
    /// [`announce_stale_reasons`](Self::announce_stale_reasons).
    pub(crate) fn stale_read(&self, reason: &'static str) {
        self.stale_reads.with_label_values(&[reason]).inc();
        self.report_trouble();
    }

    /// Counts a call to AWS for secrets or parameters, and records how long the call took. The
    /// duration is not recorded if Lambda froze the process during the call.
    pub(crate) fn upstream(&self, operation: Operation, ended: Ended, took: Duration) {
        self.upstream_requests.with_label_values(&[operation.label(), ended.label()]).inc();
        if ended == Ended::Failed(FetchErrorKind::Throttled) {
            self.report_trouble();
        }
        // The duration would contain the time for which the process was frozen.
        if ended != Ended::Interrupted {
            let duration = self.upstream_duration.with_label_values(&[operation.label()]);
            duration.observe(took.as_secs_f64());
        }
    }

    /// Counts a call for the replica of a secret in the failover region.
    pub(crate) fn replica_answered(&self, ended: Ended) {
        self.failover_requests.with_label_values(&[ended.label()]).inc();
    }

    /// Counts a refresh of a cached secret. `failed` is the kind of error, or `None` if the refresh
    /// succeeded.
    pub(crate) fn refreshed(&self, failed: Option<FetchErrorKind>) {
        let ended = failed.map_or(Ended::Answered, Ended::Failed);
        self.refreshes.with_label_values(&[ended.label()]).inc();
    }

    /// Counts a search for a pattern or tag of `SIDEKEY_SECRETS`.
    pub(crate) fn searched(&self, result: SearchResult) {
        self.searches.with_label_values(&[result.label()]).inc();
    }

    /// Counts a request that Sidekey refused before it looked for the secret, for example because
    /// of a wrong token.
    ///
    /// `reason` must be one of the strings that were passed to
    /// [`announce_gate_refusals`](Self::announce_gate_refusals).
    pub(crate) fn gate_refused(&self, reason: &'static str) {
        self.gate_refusals.with_label_values(&[reason]).inc();
    }

    /// Reports trouble, such as a stale read, so that the agent writes its metrics for CloudWatch
    /// at once. Has no effect if `SIDEKEY_EMF` is `off`.
    pub(crate) fn report_trouble(&self) {
        self.trouble.notify_one();
    }

    /// Waits until trouble is reported. Returns at once if trouble was reported since the last call
    /// of this function.
    pub(crate) async fn trouble(&self) {
        self.trouble.notified().await;
    }

    /// Updates the metric `sidekey_secret_problems`. Each item of `counts` is the name of a
    /// problem, such as `missing` for a missing field, and how many times cached secrets have this
    /// problem.
    pub fn show_problems(&self, counts: &[(&'static str, usize)]) {
        for (problem, count) in counts {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.secret_problems.with_label_values(&[problem]).set(count);
        }
    }

    /// Sets all reasons why Sidekey may answer with a stale value (a cached value that is older
    /// than its time to live). Call this function before the first scrape.
    pub fn announce_stale_reasons(&self, reasons: &[&'static str]) {
        self.stale_reasons.get_or_init(|| reasons.into());
    }

    /// Sets all reasons why Sidekey may refuse a request, such as a wrong token. Call this function
    /// before the first scrape.
    pub fn announce_gate_refusals(&self, reasons: &[&'static str]) {
        self.gate_reasons.get_or_init(|| reasons.into());
    }

    /// Returns the metrics of calls to external APIs, through routes.
    pub(crate) fn calls(&self) -> &CallMetrics {
        self.calls.get_or_init(CallMetrics::new)
    }

    /// Creates the time series of calls to external APIs, with the value zero. `routes` are the
    /// names of the routes for these calls.
    pub fn announce_calls<'a>(&self, routes: impl Iterator<Item = &'a str>) {
        self.calls().announce(routes);
    }

    /// Renders all metrics in Prometheus' text format, including the metrics of the process.
    pub fn render(&self) -> String {
        self.create_series();
        let registry = self.registry.get_or_init(|| self.registered());
        let families = registry.gather().into_iter().chain(process_metrics());
        let families: Vec<MetricFamily> = families.collect();
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&families, &mut text) {
            Ok(()) => text,
            Err(error) => format!("# Sidekey could not render its metrics: {error}\n"),
        }
    }

    /// Creates all time series with the value zero. If a time series first appeared with the value
    /// one, Prometheus would see no increase.
    ///
    /// This function runs at each scrape and not at start, because it would take 2 % of all CPU
    /// instructions of a start.
    fn create_series(&self) {
        for reason in self.stale_reasons.get().into_iter().flatten() {
            self.stale_reads.with_label_values(&[reason]);
        }
        for reason in self.gate_reasons.get().into_iter().flatten() {
            self.gate_refusals.with_label_values(&[reason]);
        }
        for ended in FetchErrorKind::ALL.map(Ended::Failed).into_iter().chain([Ended::Answered]) {
            self.refreshes.with_label_values(&[ended.label()]);
        }
        for result in SearchResult::ALL {
            self.searches.with_label_values(&[result.label()]);
        }
        let calls = FetchErrorKind::ALL.into_iter().filter(|kind| kind.is_call_result());
        for ended in calls.map(Ended::Failed).chain([Ended::Answered, Ended::Interrupted]) {
            self.failover_requests.with_label_values(&[ended.label()]);
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

#[cfg(all(target_os = "linux", feature = "host"))]
fn process_metrics() -> Vec<MetricFamily> {
    prometheus::process_collector::ProcessCollector::for_self().collect()
}

/// Returns an empty list. Outside of Linux, the Prometheus library has no metrics of the process.
/// The Lambda layer omits them to be smaller, because Lambda itself reports the memory of an
/// environment.
#[cfg(not(all(target_os = "linux", feature = "host")))]
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
            "sidekey_failover_requests_total{outcome=\"ok\"} 0",
            "sidekey_refreshes_total{outcome=\"ok\"} 0",
            "sidekey_stale_reads_total{reason=\"failing\"} 0",
        ] {
            assert!(text.contains(line), "the metrics lack the line {line}:\n{text}");
        }
        let names = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        let helps: Vec<&str> =
            text.lines().filter(|line| line.starts_with("# HELP sidekey")).collect();
        assert!(
            names > helps.len(),
            "the text must also contain metrics of the process, such as its CPU time"
        );
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
