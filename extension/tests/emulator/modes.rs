//! In each of Lambda's modes a function reads a listed secret in its static initialisation, with no
//! retry; its handler's reads are hits; upstream is called once for each listed secret; and shutdown
//! ends the process with 0.

use crate::emulator::Mode;
use crate::lambda::{LISTED, fake, started};
use serde_json::{Value, json};
use std::time::Duration;

/// Runs the whole life of an environment. `calls_max` is how often upstream may be asked for one
/// listed secret.
async fn lives(mode: Mode, calls_max: u64) {
    let fake = fake().await;
    // Longer than the function takes to come up: its static initialisation has to wait.
    fake.faults().set_latency(Duration::from_millis(300));
    let lambda = started!(mode, fake, |environment| environment);
    let answer = lambda.invoke(&LISTED).await;
    assert_eq!(answer["init"]["status"], 200, "{answer}\n{}", lambda.emulator.log());
    assert_eq!(answer["init"]["name"], LISTED[0]);
    let reads = answer["reads"].as_array().expect("a list");
    assert_eq!(reads.len(), LISTED.len());
    for (read, name) in reads.iter().zip(LISTED) {
        assert_eq!((&read["status"], &read["cache"]), (&json!(200), &json!("hit")), "{read}");
        assert_eq!((&read["name"], &read["reference"]), (&json!(name), &json!(name)));
        assert!((1..=calls_max).contains(&lambda.calls_for(name)), "{name}");
    }
    let calls: u64 = LISTED.iter().map(|name| lambda.calls_for(name)).sum();
    let line = format!(
        "sidekey_upstream_requests_total{{operation=\"GetSecretValue\",outcome=\"ok\"}} {calls}"
    );
    let metrics = answer["metrics"].as_str().expect("text");
    assert!(metrics.lines().any(|own| own == line), "{line} is not in\n{metrics}");
    log_is_json(&lambda.emulator.log());
    lambda.shut_down().await;
}

/// Checks the line that Sidekey logs at its start, and that all its lines are what Lambda filters.
fn log_is_json(log: &str) {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own: Vec<Value> = lines
        .filter(|line| line["target"].as_str().is_some_and(|t| t.starts_with("sidekey")))
        .collect();
    let start = own.iter().find(|line| line["message"] == "sidekey serves");
    let start = start.unwrap_or_else(|| panic!("no start line in\n{log}"));
    assert_eq!((&start["prefetched"], &start["listed"]), (&json!(3), &json!(3)));
    assert_eq!(start["dialect"], "extension");
    assert_eq!(start["dialect_because"], "this is the default in the Lambda layer");
    for line in own {
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn on_demand() {
    lives(Mode::OnDemand, 1).await;
}

#[tokio::test]
async fn snap_start() {
    lives(Mode::SnapStart, 2).await;
}

#[tokio::test]
async fn managed_instances() {
    lives(Mode::ManagedInstances { concurrency: 2 }, 1).await;
}
