//! Tests of the text that `sidekey status` writes.

use super::counters::Counters;
use super::page::Page;
use super::report::{Report, UpstreamState};
use super::{WATCH_SECONDS, for_people, interval};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the current time in these tests: 2026-11-24 00:46:40 UTC.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_481_200)
}

fn entry(name: &str, changes: &Value) -> Value {
    let mut entry = json!({
        "name": name, "arn": "arn:aws:x", "stage": "AWSCURRENT",
        "version_id": "7f7adc2c-23e1-45ca-8ada-58974147d30c", "version_stages": ["AWSCURRENT"],
        "created": "2026-11-24T00:40:01.983Z", "age_seconds": 125, "freshness": "fresh",
        "ttl_seconds": 300.0, "refresh": "when-read", "next_refresh_seconds": 145, "reads": 12,
        "problem": null, "convention": null, "problems": [], "withheld": false,
    });
    for (name, value) in changes.as_object().expect("the changes must be an object") {
        entry[name] = value.clone();
    }
    entry
}

fn report(entries: &[Value], missing: &Value, metrics: &str) -> Report {
    let page = json!({
        "version": "0.1.0", "dialect": "agent", "ready": true, "entries": entries,
        "credentials": {"expires": "2026-11-24T01:46:40Z", "rejected": false},
        "missing": missing, "flights": 1,
    });
    let page: Page = serde_json::from_value(page).expect("the page must be valid");
    Report::of(page, Counters::parse(metrics), "127.0.0.1:2773".to_owned(), now())
}

fn throttled(failures: Option<u32>) -> Value {
    json!({"kind": "throttled", "code": "ThrottlingException", "message": "Rate exceeded\u{1b}",
           "hint": "wait", "failures": failures})
}

const METRICS: &str = "process_start_time_seconds 1795478200\n\
                       sidekey_connections 2\n\
                       sidekey_reads_total{result=\"hit\"} 40\n\
                       sidekey_reads_total{result=\"miss\"} 2\n\
                       sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"ok\"} 9\n\
                       sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"cut\"} 1\n\
                       sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"throttled\"} 2\n";

#[test]
fn secrets_that_need_attention_come_first() {
    let entries = [
        entry("app/good", &json!({})),
        entry(
            "app/stale",
            &json!({"freshness": "stale", "problem": throttled(Some(3)),
                                   "next_refresh_seconds": 0}),
        ),
        entry(
            "app/bad",
            &json!({"problems": [
            {"code": "placeholder", "field": "key", "message": "one"},
            {"code": "empty", "field": "id", "message": "two"},
        ], "withheld": true, "next_refresh_seconds": null}),
        ),
    ];
    let missing = json!([
        {"reference": "app/optional", "required": false, "problem": null},
        {"reference": "app/gone", "required": true, "problem": throttled(None)},
    ]);
    let report = report(&entries, &missing, METRICS);
    let expected = "\
Sidekey 0.1.0 at 127.0.0.1:2773: ready, up for 50m
AWS: fails, 12 calls, failed: 2 throttled; credentials until 2026-11-24T01:46:40Z (in 1h)
Reads: 42 (40 hit, 2 miss); connections: 2; calls to AWS in progress: 1
Secrets: 3 cached, 2 not cached (1 of them required)

STATE     NAME          VERSION   AGE  REFRESH    READS  PROBLEM
missing   app/gone      -         -    -          -      throttled: ThrottlingException: Rate exceeded?; wait
withheld  app/bad       7f7adc2c  2m   when read  12     placeholder: one
                                                         empty: two
stale     app/stale     7f7adc2c  2m   now        12     throttled (3 times): ThrottlingException: Rate exceeded?; wait
optional  app/optional  -         -    -          -      the agent has not fetched the secret yet
fresh     app/good      7f7adc2c  2m   2m         12
";
    assert_eq!(for_people(&report, now(), None, false), expected);
    assert!(!report.ok && report.agent.upstream.state == UpstreamState::Failing);
}

#[test]
fn calls_are_displayed_for_each_route_that_has_some() {
    let metrics = "sidekey_calls_total{route=\"crm\",status=\"2xx\"} 5\n\
                   sidekey_calls_total{route=\"crm\",status=\"none\"} 1\n\
                   sidekey_calls_total{route=\"openai\",status=\"2xx\"} 0\n";
    let report = report(&[], &json!([]), metrics);
    let text = for_people(&report, now(), None, false);
    assert!(text.contains("\nCalls to crm: 6 (5 2xx, 1 unanswered)\nSecrets: "), "{text}");
    assert!(!text.contains("openai"), "{text}");
    let json: Value = serde_json::from_str(&report.json()).expect("the report is JSON");
    assert_eq!(json["agent"]["routes"], json!({"crm": {"2xx": 5, "none": 1}}));
}

#[test]
fn columns_without_values_are_omitted() {
    let with = |changes: Value| {
        let report = report(&[entry("app/db", &changes)], &json!([]), "");
        for_people(&report, now(), None, false)
    };
    let plain = with(json!({}));
    assert!(
        plain.ends_with(
            "STATE  NAME    VERSION   AGE  REFRESH  READS\n\
                             fresh  app/db  7f7adc2c  2m   2m       12\n"
        ),
        "{plain}"
    );
    for (changes, head, cell) in [
        (json!({"stage": null}), "STAGE", "-"),
        (json!({"stage": "AWSPREVIOUS"}), "STAGE", "AWSPREVIOUS"),
        (json!({"region": "eu-west-1"}), "REGION", "eu-west-1"),
        (json!({"role": "arn:aws:iam::1:role/r"}), "ROLE", "arn:aws:iam::1:role/r"),
        (
            json!({"previous_version": {"version_id": "1a2b3c4d", "replaced": null,
                                        "last_read": "2026-11-24T00:41:40Z"}}),
            "PREVIOUS",
            "1a2b3c4d, last read 5m ago",
        ),
        (
            json!({"previous_version": {"version_id": "1a2b3c4d", "replaced": null,
                                        "last_read": null}}),
            "PREVIOUS",
            "1a2b3c4d, never read",
        ),
    ] {
        let text = with(changes);
        let is_shown = text.contains(head) && text.contains(cell);
        assert!(is_shown || (head, cell) == ("STAGE", "-"), "{head}: {text}");
    }
}

#[test]
fn table_fits_the_terminal() {
    let long = "whatsapp-credentials/acme/support/twilio";
    let entries = [
        entry(long, &json!({"region": "eu-west-1"})),
        entry("app/db", &json!({"problem": throttled(Some(1))})),
    ];
    let report = report(&entries, &json!([]), METRICS);
    for width in [40, 60, 80, 100, 120, 200] {
        let text = for_people(&report, now(), Some(width), false);
        for line in text.lines().filter(|line| line.chars().count() > width) {
            // Words are never divided.
            assert!(line.contains(long) && width < 60, "{width}: {line}");
        }
        let has_note = text.contains("Not displayed at this width: ");
        assert_eq!(has_note, width < 120, "{width}: {text}");
        assert!(text.contains(long));
    }
}

#[test]
fn state_of_aws_is_derived_from_the_last_errors() {
    let denied = json!({"kind": "denied", "code": "AccessDeniedException", "message": "", "hint": "",
                        "failures": 4});
    for (problem, metrics, expected) in [
        (Value::Null, "", UpstreamState::Unused),
        (Value::Null, METRICS, UpstreamState::Ok),
        (denied, METRICS, UpstreamState::Ok),
        (throttled(Some(1)), METRICS, UpstreamState::Failing),
    ] {
        let entries = [entry("app/db", &json!({"problem": problem}))];
        assert_eq!(report(&entries, &json!([]), metrics).agent.upstream.state, expected);
    }
}

#[test]
fn agent_without_secrets_has_no_table() {
    let report = report(&[], &json!([]), "");
    let text = for_people(&report, now(), None, true);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("AWS: not called yet; ") && report.ok, "{text}");
}

#[test]
fn interval_has_limits() {
    assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
    for text in ["", "x", "0", "-1", "NaN", "inf", "3601"] {
        assert!(interval(text).is_err(), "{text}");
    }
    assert!(WATCH_SECONDS.contains(&2.0));
}
