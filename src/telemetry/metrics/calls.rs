//! The metrics of calls: requests that the agent passes on to an external API, through a route.

use super::create::{counters, sums, valid};
use crate::telemetry::emf::totals::RouteCalls;
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec};
use std::time::Duration;

/// The upper bounds of the histogram buckets for the time until an answer begins, in seconds.
const CALL_BUCKETS: [f64; 11] = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0];

/// The label `status` of calls that the server of the route did not answer.
const NO_ANSWER: &str = "none";

/// The classes of HTTP statuses. This is the label `status` of the metric `sidekey_calls_total`.
const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", NO_ANSWER];

/// All values of the label `reason` of `sidekey_call_refusals_total`: why the agent refused a call
/// or could not finish it. `gate` means a wrong token or a foreign host, and `secret` means that
/// the secret could not be read.
pub(crate) const REASONS: [&str; 11] = [
    "gate",
    "route",
    "target",
    "method",
    "path",
    "reference",
    "secret",
    "credential",
    "upstream",
    "timeout",
    "body",
];

/// The metrics of calls to external APIs (through routes). They are created at the first call or
/// scrape, so that the agent starts faster.
#[derive(Debug)]
pub(crate) struct CallMetrics {
    calls: IntCounterVec,
    duration: HistogramVec,
    retries: IntCounterVec,
    redactions: IntCounterVec,
    refusals: IntCounterVec,
}

impl CallMetrics {
    pub(super) fn new() -> Self {
        let duration = HistogramOpts::new(
            "sidekey_call_duration_seconds",
            "Time from the arrival of a call until the headers of its answer, by route.",
        );
        Self {
            calls: counters(
                "sidekey_calls_total",
                "Calls to the servers of routes, by route and status class.",
                &["route", "status"],
            ),
            duration: valid(HistogramVec::new(duration.buckets(CALL_BUCKETS.to_vec()), &["route"])),
            retries: counters(
                "sidekey_call_retries_total",
                "Calls that were made once more, because the secret had changed, by route.",
                &["route"],
            ),
            redactions: counters(
                "sidekey_call_redactions_total",
                "Fields of secrets that Sidekey replaced in answers to calls, by route.",
                &["route"],
            ),
            refusals: counters(
                "sidekey_call_refusals_total",
                "Calls through routes that Sidekey refused or could not pass on, by reason.",
                &["reason"],
            ),
        }
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 5] {
        [
            Box::new(self.calls.clone()),
            Box::new(self.duration.clone()),
            Box::new(self.retries.clone()),
            Box::new(self.redactions.clone()),
            Box::new(self.refusals.clone()),
        ]
    }

    /// Counts a call. `status` is the status of the answer, or `None` if the server of the route
    /// did not answer. `took` is the time until the headers of the answer.
    pub(crate) fn ended(&self, route: &str, status: Option<u16>, took: Duration) {
        let class = status.map_or(STATUSES.len(), |status| usize::from(status / 100));
        let class = STATUSES.get(class.saturating_sub(1)).copied().unwrap_or(NO_ANSWER);
        self.calls.with_label_values(&[route, class]).inc();
        self.duration.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    pub(crate) fn retried(&self, route: &str) {
        self.retries.with_label_values(&[route]).inc();
    }

    pub(crate) fn redacted(&self, route: &str, count: u64) {
        self.redactions.with_label_values(&[route]).inc_by(count);
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// Returns the counts of calls to external APIs since the start of the process, for the metrics
    /// of CloudWatch.
    pub(super) fn totals(&self) -> RouteCalls {
        let mut totals = RouteCalls::default();
        for (status, count) in sums(&self.calls, "status") {
            let is_failed = ["4xx", "5xx", NO_ANSWER].contains(&&*status);
            *(if is_failed { &mut totals.failed } else { &mut totals.ok }) += count;
        }
        totals.refused = sums(&self.refusals, "reason").map(|(_, count)| count).sum();
        totals.redacted = sums(&self.redactions, "route").map(|(_, count)| count).sum();
        totals
    }

    /// Creates all time series with the value zero, for the routes with the names `routes`. If a
    /// time series first appeared with the value one, Prometheus would see no increase.
    pub(super) fn announce<'a>(&self, routes: impl Iterator<Item = &'a str>) {
        for route in routes {
            for status in STATUSES {
                self.calls.with_label_values(&[route, status]);
            }
            self.duration.with_label_values(&[route]);
            self.retries.with_label_values(&[route]);
            self.redactions.with_label_values(&[route]);
        }
        for reason in REASONS {
            self.refusals.with_label_values(&[reason]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn calls_are_counted_by_status_class() {
        let metrics = Metrics::new();
        let calls = metrics.calls();
        metrics.announce_calls(["crm"].into_iter());
        for status in [Some(200), Some(204), Some(429), None] {
            calls.ended("crm", status, Duration::ZERO);
        }
        let text = metrics.render();
        for (status, expected) in [("2xx", 2), ("4xx", 1), ("5xx", 0), ("none", 1)] {
            let line =
                format!("sidekey_calls_total{{route=\"crm\",status=\"{status}\"}} {expected}");
            assert!(text.contains(&line), "{text}");
        }
        calls.redacted("crm", 5);
        calls.refused("path");
        let expected = RouteCalls { ok: 2, failed: 2, refused: 1, redacted: 5 };
        assert_eq!(metrics.totals().routes, expected);
    }
}
