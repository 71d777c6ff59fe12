//! Makes one log line with metrics in CloudWatch's Embedded Metric Format (EMF).
//!
//! Source: AWS's page *Specification: Embedded metric format* in the CloudWatch user guide.

use super::Config;
use super::group::Group;
use super::interval::Interval;
use super::metric::{METRICS, Metric};
use super::schedule::Reason;
use super::served::ServedVersion;
use serde_json::{Map, Number, Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The JSON fields of a record (a log line with metrics) that are neither metrics nor dimensions.
pub(super) const OWN_MEMBERS: [&str; 7] =
    ["_aws", "level", "timestamp", "message", "reason", "served", "served_omitted"];

/// The maximum number of versions in the field `served`. It limits the size of a line, because each
/// version has a name of up to 1011 bytes. The queue of the log drops lines that are longer than
/// 256 KiB, and CloudWatch Logs accepts at most 1 MB.
const SERVED_MAX: usize = 100;

/// Returns the log line with the metrics of an interval that ended at `now`, without a line break.
/// Returns `None` if there is nothing to report.
///
/// An interval without reads, calls and refused requests is reported only for [`Reason::Trouble`].
pub(crate) fn record(
    config: &Config,
    interval: &Interval<'_>,
    reason: Reason,
    now: SystemTime,
) -> Option<String> {
    if reason != Reason::Trouble && interval.before == interval.after {
        return None;
    }
    let metrics: Vec<(&Metric, Number)> = METRICS
        .iter()
        .filter(|metric| config.groups.contains(metric.group))
        .filter_map(|metric| Some((metric, (metric.value)(interval)?)))
        .collect();
    let has_versions = config.groups.contains(Group::Versions);
    let versions = if has_versions { &interval.state.served.versions[..] } else { &[] };
    if metrics.is_empty() && versions.is_empty() {
        return None;
    }
    let mut members = Map::new();
    members.insert("timestamp".to_owned(), rfc3339(now).into());
    members.insert("level".to_owned(), config.level.as_str().into());
    members.insert("message".to_owned(), "metrics of Sidekey".into());
    members.insert("reason".to_owned(), reason.label().into());
    if !metrics.is_empty() {
        members.insert("_aws".to_owned(), directive(config, &metrics, now));
        let dimensions = config.dimensions.iter();
        members.extend(dimensions.map(|(name, value)| (name.clone(), value.as_str().into())));
        members.extend(metrics.into_iter().map(|(one, value)| (one.name.into(), value.into())));
    }
    if !versions.is_empty() {
        let (served, omitted) = served(versions);
        members.insert("served".to_owned(), served);
        if omitted > 0 {
            members.insert("served_omitted".to_owned(), omitted.into());
        }
    }
    Some(Value::Object(members).to_string())
}

/// Returns the field `_aws`, which tells CloudWatch which fields of the record are metrics.
fn directive(config: &Config, metrics: &[(&Metric, Number)], now: SystemTime) -> Value {
    let dimensions: Vec<&str> = config.dimensions.iter().map(|(name, _)| &**name).collect();
    let metrics: Vec<Value> = metrics
        .iter()
        .map(|(metric, _)| json!({"Name": metric.name, "Unit": metric.unit}))
        .collect();
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "Timestamp": u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
        "CloudWatchMetrics": [{
            "Namespace": config.namespace,
            "Dimensions": [dimensions],
            "Metrics": metrics,
        }],
    })
}

/// Returns the field `served`, which has the most recently read versions, and the number of omitted
/// versions. The versions are sorted by the time of their last read, so the old version of a secret
/// comes before the new one. A query in CloudWatch sees only the first version of a secret, and so
/// shows the old version.
fn served(versions: &[ServedVersion]) -> (Value, usize) {
    let mut latest: Vec<&ServedVersion> = versions.iter().collect();
    latest.sort_by_key(|version| std::cmp::Reverse(version.last_read));
    let omitted = latest.len().saturating_sub(SERVED_MAX);
    latest.truncate(SERVED_MAX);
    let shown = latest.into_iter().rev().map(|version| {
        // The queries in `deploy/monitoring` depend on the order of these fields.
        json!({
            "last_read": rfc3339_seconds(version.last_read),
            "secret": version.secret,
            "version": version.version,
        })
    });
    (shown.collect(), omitted)
}

/// Formats a time to the second. Such times have the same length, so they can be sorted as text.
fn rfc3339_seconds(time: SystemTime) -> String {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(UNIX_EPOCH + Duration::from_secs(since_1970.as_secs()))
}

fn rfc3339(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::group::Groups;
    use super::super::interval::State;
    use super::super::latency::Latencies;
    use super::super::served::Served;
    use super::super::totals::{Calls, Reads, RouteCalls, Totals};
    use super::*;

    fn config(groups: &str) -> Config {
        Config {
            groups: Groups::parse(groups.split(',')).expect("the groups in the test must be valid"),
            namespace: "Sidekey".to_owned(),
            dimensions: vec![("FunctionName".to_owned(), "f".to_owned())],
            level: "INFO".to_owned(),
            is_snapshot: false,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Returns the counters after `times` rounds of events. Each round increases every counter.
    fn totals(times: u64) -> Totals {
        Totals {
            reads: Reads {
                hit: 5 * times,
                miss: 4 * times,
                stale: 3 * times,
                refused: 2 * times,
                error: times,
            },
            latencies: Latencies {
                buckets: vec![(0.001, 15 * times)],
                count: 15 * times,
                sum: 0.01 * times as f64,
            },
            calls: Calls { ok: 4 * times, throttled: 3 * times, denied: 2 * times, failed: times },
            gate_refusals: 7 * times,
            routes: RouteCalls {
                ok: 4 * times,
                failed: 3 * times,
                refused: 2 * times,
                redacted: times,
            },
        }
    }

    fn state() -> State {
        let version = |secret: &str, version: &str, seconds| ServedVersion {
            secret: secret.into(),
            version: version.into(),
            last_read: at(seconds),
        };
        State {
            held: 3,
            missing: 1,
            served: Served {
                versions: vec![version("app/db", "v1", 1000), version("app/db", "v2", 1030)],
                oldest_age: Some(Duration::from_millis(1500)),
            },
            since_replaced_read: Some(Duration::from_secs(60)),
        }
    }

    fn made(
        config: &Config,
        before: &Totals,
        after: &Totals,
        state: &State,
        reason: Reason,
    ) -> Option<Value> {
        let interval = Interval { before, after, state };
        let line = record(config, &interval, reason, at(1060))?;
        assert!(!line.contains('\n'), "a record must be one line");
        Some(serde_json::from_str(&line).expect("a record must be JSON"))
    }

    #[test]
    fn record_has_every_metric_with_its_increase() {
        let found = made(&config("on"), &totals(1), &totals(3), &state(), Reason::Interval);
        let found = found.expect("a record must report the changed counters");
        assert_eq!(
            found,
            json!({
                "_aws": found["_aws"],
                "timestamp": "1970-01-01T00:17:40Z",
                "level": "INFO",
                "message": "metrics of Sidekey",
                "reason": "interval",
                "FunctionName": "f",
                "ReadHits": 10, "ReadMisses": 8, "ReadsStale": 6, "ReadsRefused": 4, "ReadErrors": 2,
                "ReadMedian": 0.5, "ReadSlowest": 1.0,
                "CallsOk": 8, "CallsThrottled": 6, "CallsDenied": 4, "CallsFailed": 2,
                "GateRefusals": 14,
                "SecretsHeld": 3, "SecretsMissing": 1, "OldestServedAge": 1.5,
                "SinceReplacedVersion": 60.0,
                "RouteCallsOk": 8, "RouteCallsFailed": 6, "RouteCallsRefused": 4, "RouteRedactions": 2,
                "served": [
                    {"secret": "app/db", "version": "v1", "last_read": "1970-01-01T00:16:40Z"},
                    {"secret": "app/db", "version": "v2", "last_read": "1970-01-01T00:17:10Z"},
                ],
            })
        );
        let directive = &found["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(found["_aws"]["Timestamp"], 1_060_000);
        assert_eq!(directive["Dimensions"], json!([["FunctionName"]]));
        let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        let listed = directive["Metrics"].as_array().expect("`Metrics` must be an array");
        assert_eq!(listed.iter().map(|one| &one["Name"]).collect::<Vec<_>>(), names);
    }

    #[test]
    fn metrics_without_news_are_left_out() {
        let quiet = State { held: 3, ..State::default() };
        let one_read = Totals { reads: Reads { hit: 6, ..totals(1).reads }, ..totals(1) };
        let found = made(&config("on"), &totals(1), &one_read, &quiet, Reason::Interval);
        let found = found.expect("a record must report the changed counters");
        let listed = &found["_aws"]["CloudWatchMetrics"][0]["Metrics"];
        let names: Vec<&Value> = listed
            .as_array()
            .expect("`Metrics` must be an array")
            .iter()
            .map(|one| &one["Name"])
            .collect();
        assert_eq!(names, ["ReadHits", "SecretsHeld"]);
        assert_eq!((&found["ReadHits"], &found["served"]), (&json!(1), &Value::Null));
    }

    #[test]
    fn interval_without_events_is_reported_only_in_trouble() {
        for (reason, is_reported) in [
            (Reason::Interval, false),
            (Reason::Shutdown, false),
            (Reason::Snapshot, false),
            (Reason::Trouble, true),
        ] {
            let found = made(&config("on"), &totals(2), &totals(2), &state(), reason);
            assert_eq!(found.is_some(), is_reported, "{reason:?}");
        }
    }

    #[test]
    fn only_chosen_groups_are_reported() {
        for (groups, expected) in [
            ("upstream", &["CallsOk", "CallsThrottled", "CallsDenied", "CallsFailed"][..]),
            ("refusals,latency", &["ReadMedian", "ReadSlowest", "GateRefusals"]),
        ] {
            let found = made(&config(groups), &totals(1), &totals(2), &state(), Reason::Interval);
            let found = found.expect("a record must report the changed counters");
            for metric in METRICS {
                let is_expected = expected.contains(&metric.name);
                assert_eq!(
                    found.get(metric.name).is_some(),
                    is_expected,
                    "{groups}: {}",
                    metric.name
                );
            }
            assert_eq!(found.get("served"), None, "{groups}");
        }
    }

    #[test]
    fn versions_alone_need_no_metric() {
        let state = State { since_replaced_read: None, ..state() };
        let found = made(&config("versions"), &totals(1), &totals(2), &state, Reason::Interval);
        let found = found.expect("a record must report the versions that readers got");
        assert_eq!(
            found.get("_aws"),
            None,
            "a record with versions alone must not create a metric"
        );
        assert_eq!(found["served"].as_array().map(Vec::len), Some(2));
    }

    /// This test uses the longest possible names, and more versions than a line may contain.
    #[test]
    fn line_has_a_limited_number_of_versions() {
        let pair = |at: u32| (format!("{at:0>250}"), "v".repeat(1024));
        let config = Config {
            namespace: "n".repeat(255),
            dimensions: (0..30).map(pair).collect(),
            ..config("on")
        };
        let version = |number: u64| ServedVersion {
            secret: "x".repeat(1011).into(),
            version: number.to_string().into(),
            last_read: at(number),
        };
        let served = Served { versions: (0..1000).map(version).collect(), oldest_age: None };
        let state = State { served, ..State::default() };
        let found = made(&config, &totals(1), &totals(2), &state, Reason::Shutdown);
        let found = found.expect("a record must report the changed counters");
        assert_eq!(found["served"].as_array().map(Vec::len), Some(SERVED_MAX));
        assert_eq!(
            (&found["served"][0]["version"], &found["served_omitted"]),
            (&json!("900"), &json!(900))
        );
        assert!(found.to_string().len() < 256 * 1024);
    }
}
