//! The table of metrics for CloudWatch.
//!
//! CloudWatch charges for each metric that it receives in an hour. So there are few metrics, and
//! most metrics are written only if they are not zero.

use super::group::Group;
use super::interval::Interval;
use serde_json::Number;
use std::time::Duration;

/// A metric for CloudWatch.
#[derive(Debug)]
pub struct Metric {
    /// The name of the metric in CloudWatch.
    pub name: &'static str,
    /// The unit of the metric: one of the units of CloudWatch's API.
    pub unit: &'static str,
    /// The group to which the metric belongs.
    pub group: Group,
    /// Returns the value of the metric for an interval. Returns `None` if there is nothing to
    /// report.
    pub(super) value: fn(&Interval<'_>) -> Option<Number>,
}

const COUNT: &str = "Count";
const MILLISECONDS: &str = "Milliseconds";
const SECONDS: &str = "Seconds";

/// All metrics for CloudWatch, in the order of the documentation.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    Metric { name: "ReadHits", unit: COUNT, group: Group::Reads, value: |of| increase(of.increase(|all| all.reads.hit)) },
    Metric { name: "ReadMisses", unit: COUNT, group: Group::Reads, value: |of| increase(of.increase(|all| all.reads.miss)) },
    Metric { name: "ReadsStale", unit: COUNT, group: Group::Reads, value: |of| increase(of.increase(|all| all.reads.stale)) },
    Metric { name: "ReadsRefused", unit: COUNT, group: Group::Reads, value: |of| increase(of.increase(|all| all.reads.refused)) },
    Metric { name: "ReadErrors", unit: COUNT, group: Group::Reads, value: |of| increase(of.increase(|all| all.reads.error)) },
    Metric { name: "ReadMedian", unit: MILLISECONDS, group: Group::Latency, value: |of| millis(of.latencies().median()?) },
    Metric { name: "ReadSlowest", unit: MILLISECONDS, group: Group::Latency, value: |of| millis(of.latencies().slowest()?) },
    Metric { name: "CallsOk", unit: COUNT, group: Group::Upstream, value: |of| increase(of.increase(|all| all.calls.ok)) },
    Metric { name: "CallsThrottled", unit: COUNT, group: Group::Upstream, value: |of| increase(of.increase(|all| all.calls.throttled)) },
    Metric { name: "CallsDenied", unit: COUNT, group: Group::Upstream, value: |of| increase(of.increase(|all| all.calls.denied)) },
    Metric { name: "CallsFailed", unit: COUNT, group: Group::Upstream, value: |of| increase(of.increase(|all| all.calls.failed)) },
    Metric { name: "GateRefusals", unit: COUNT, group: Group::Refusals, value: |of| increase(of.increase(|all| all.gate_refusals)) },
    Metric { name: "SecretsHeld", unit: COUNT, group: Group::Cache, value: |of| Some(of.state.held.into()) },
    Metric { name: "SecretsMissing", unit: COUNT, group: Group::Cache, value: |of| (of.state.missing > 0).then(|| of.state.missing.into()) },
    Metric { name: "OldestServedAge", unit: SECONDS, group: Group::Cache, value: |of| seconds(of.state.served.oldest_age?) },
    Metric { name: "SinceReplacedVersion", unit: SECONDS, group: Group::Versions, value: |of| seconds(of.state.since_replaced_read?) },
    Metric { name: "RouteCallsOk", unit: COUNT, group: Group::Routes, value: |of| increase(of.increase(|all| all.routes.ok)) },
    Metric { name: "RouteCallsFailed", unit: COUNT, group: Group::Routes, value: |of| increase(of.increase(|all| all.routes.failed)) },
    Metric { name: "RouteCallsRefused", unit: COUNT, group: Group::Routes, value: |of| increase(of.increase(|all| all.routes.refused)) },
    Metric { name: "RouteRedactions", unit: COUNT, group: Group::Routes, value: |of| increase(of.increase(|all| all.routes.redacted)) },
];

fn increase(count: u64) -> Option<Number> {
    (count > 0).then(|| count.into())
}

fn seconds(duration: Duration) -> Option<Number> {
    rounded(duration.as_secs_f64())
}

fn millis(seconds: f64) -> Option<Number> {
    rounded(seconds * 1000.0)
}

/// Rounds to three decimal places, so that lines are short.
fn rounded(value: f64) -> Option<Number> {
    Number::from_f64((value * 1000.0).round() / 1000.0)
}
