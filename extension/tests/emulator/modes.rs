//! Tests Sidekey's extension in each mode of Lambda, such as SnapStart. In each mode, the function
//! can already read a secret in its static initialisation, and its handler finds all secrets in the
//! agent's cache.

use crate::emulator::Mode;
use crate::lambda::{LISTED, fake, start_or_skip};
use serde_json::{Value, json};
use std::time::Duration;

/// Runs a Lambda environment from its start to its shutdown. `calls_max` is the maximum number of
/// calls to AWS for one prefetched secret.
async fn run_environment(mode: Mode, calls_max: u64) {
    let fake = fake().await;
    // The latency is longer than the start of the function, so the static initialisation has to
    // wait.
    fake.faults().set_latency(Duration::from_millis(300));
    let lambda = start_or_skip!(mode, fake, |environment| environment);
    let answer = lambda.invoke(&LISTED).await;
    assert_eq!(answer["init"]["status"], 200, "{answer}\n{}", lambda.emulator.log());
    assert_eq!(answer["init"]["name"], LISTED[0]);
    let reads =
        answer["reads"].as_array().expect("the function's answer must have the array `reads`");
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
    let metrics = answer["metrics"].as_str().expect("`metrics` must be a string");
    assert!(
        metrics.lines().any(|own| own == line),
        "the metrics must have the line {line}:\n{metrics}"
    );
    log_is_json(&lambda.emulator.log());
    lambda.shut_down().await;
}

/// Checks that the log has the line of the agent's start, and that each log line of the agent is
/// JSON with a level and a time.
fn log_is_json(log: &str) {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own: Vec<Value> = lines
        .filter(|line| line["target"].as_str().is_some_and(|t| t.starts_with("sidekey")))
        .collect();
    let start = own.iter().find(|line| line["message"] == "sidekey serves");
    let start =
        start.unwrap_or_else(|| panic!("the log must have the line of the agent's start:\n{log}"));
    assert_eq!((&start["prefetched"], &start["listed"]), (&json!(3), &json!(3)));
    assert_eq!(start["dialect"], "extension");
    assert_eq!(
        start["dialect_because"],
        "SIDEKEY_DIALECT is `auto`, which means `extension` in the Lambda layer"
    );
    for line in own {
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn on_demand() {
    run_environment(Mode::OnDemand, 1).await;
}

#[tokio::test]
async fn snap_start() {
    run_environment(Mode::SnapStart, 2).await;
}

#[tokio::test]
async fn managed_instances() {
    run_environment(Mode::ManagedInstances { concurrency: 2 }, 1).await;
}
