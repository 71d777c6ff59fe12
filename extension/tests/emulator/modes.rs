//! The life of an environment in each of Lambda's modes: the function reads a listed secret in its
//! static initialisation without a retry, its handler's reads are cache hits, and the extension
//! exits with 0. AWS gets one call for each listed secret.

use crate::emulator::Mode;
use crate::lambda::{LISTED, fake, start_or_skip};
use serde_json::{Value, json};
use std::time::Duration;

/// Runs an environment from start to shutdown. `calls_max` is the maximum number of calls to AWS
/// for one listed secret.
async fn run_environment(mode: Mode, calls_max: u64) {
    let fake = fake().await;
    // The latency is longer than the start of the function, so the static initialisation has to
    // wait.
    fake.faults().set_latency(Duration::from_millis(300));
    let lambda = start_or_skip!(mode, fake, |environment| environment);
    let answer = lambda.invoke(&LISTED).await;
    assert_eq!(answer["init"]["status"], 200, "{answer}\n{}", lambda.emulator.log());
    assert_eq!(answer["init"]["name"], LISTED[0]);
    let reads = answer["reads"].as_array().expect("the value is a JSON array");
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
    let metrics = answer["metrics"].as_str().expect("the bytes are UTF-8");
    assert!(metrics.lines().any(|own| own == line), "{line} is not in\n{metrics}");
    log_is_json(&lambda.emulator.log());
    lambda.shut_down().await;
}

/// Checks the agent's log line at its start, and that all its lines are JSON in Lambda's format.
fn log_is_json(log: &str) {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own: Vec<Value> = lines
        .filter(|line| line["target"].as_str().is_some_and(|t| t.starts_with("sidekey")))
        .collect();
    let start = own.iter().find(|line| line["message"] == "sidekey serves");
    let start = start.unwrap_or_else(|| panic!("the log has no start line:\n{log}"));
    assert_eq!((&start["prefetched"], &start["listed"]), (&json!(3), &json!(3)));
    assert_eq!(start["dialect"], "extension");
    assert_eq!(
        start["dialect_because"],
        "SIDEKEY_DIALECT is auto, and the default in the Lambda layer is `extension`"
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
