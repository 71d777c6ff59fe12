//! A real OpenTelemetry collector with the shipped configuration. The collector scrapes an agent, and
//! exports the metrics to the test.
//!
//! The first build of the collector takes some minutes, 1.6 GB of memory and 5 GB of disk. So the test
//! runs only if the variable `TEST_COLLECTOR` is `1`.

use super::{COLLECTOR_CONFIG, exposition, metric_types, start_agent};
use crate::clients::{MissingTool, install_into_folder, killed_with_test, path};
use crate::support::gateway::CannedUpstream;
use crate::support::program::Program;
use crate::support::{TempFolder, eventually};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const ENABLED: &str = "TEST_COLLECTOR";

/// Settings in addition to the shipped configuration: the test can read the exported metrics, and the
/// collector opens no port for metrics of its own.
const READABLE: &str = "
exporters: {otlphttp: {encoding: json, compression: none}}
service: {telemetry: {metrics: {level: none}}}
";

/// The answer of a backend to exported metrics.
const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                        Content-Length: 2\r\nConnection: close\r\n\r\n{}";

#[expect(
    clippy::disallowed_methods,
    reason = "the environment variable configures the tests and not the agent"
)]
fn is_enabled() -> bool {
    std::env::var(ENABLED).is_ok_and(|value| value == "1")
}

/// Builds the collector with only the parts that the shipped configuration needs. The build tag leaves
/// out the clients of clouds, with which Prometheus can discover targets.
fn install() -> Result<PathBuf, MissingTool> {
    let files = [
        ("main.go", include_str!("collector/main.go")),
        ("go.mod", include_str!("collector/go.mod")),
        ("go.sum", include_str!("collector/go.sum")),
    ];
    let build = "go build -mod=readonly -tags remove_all_sd -ldflags=-w -o collector .";
    let build: Vec<&str> = build.split(' ').collect();
    let folder = install_into_folder("collector", &files, &[&build]);
    Ok(folder.map_err(|missing| missing.context("the collector"))?.join("collector"))
}

/// Returns the names of the metrics in a request of the collector, whose body is OTLP in JSON.
fn exported(request: &str) -> BTreeSet<String> {
    let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: Value = serde_json::from_str(body).expect("the collector must export JSON");
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let scopes = list(&body, "resourceMetrics").into_iter();
    let scopes = scopes.flat_map(|resource| list(&resource, "scopeMetrics"));
    let metrics = scopes.flat_map(|scope| list(&scope, "metrics"));
    metrics.filter_map(|metric| Some(metric["name"].as_str()?.to_owned())).collect()
}

/// Each metric of an agent arrives at the backend of a real collector.
#[tokio::test]
async fn real_collector_exports_every_metric() {
    if !is_enabled() {
        let reason = format!("set {ENABLED}=1 to build a collector, which takes minutes");
        return MissingTool::new(reason).skip();
    }
    let collector = match install() {
        Ok(collector) => collector,
        Err(missing) => return missing.skip_or_fail(),
    };
    let (_fake, sidekey) = start_agent().await;
    let page = exposition(&sidekey).await;
    let expected: BTreeSet<String> = metric_types(&page).into_keys().map(str::to_owned).collect();
    let arrived: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let received = arrived.clone();
    let backend = CannedUpstream::with_handler(move |request| {
        assert!(request.starts_with("POST /v1/metrics "), "{request}");
        received.lock().expect("no thread may panic with the lock").extend(exported(request));
        ACCEPTED.into()
    });
    let backend = backend.await;

    let folder = TempFolder::new();
    let target = format!("localhost:{}", sidekey.address.port());
    let shipped = COLLECTOR_CONFIG.replace("localhost:2773", &target);
    let shipped = shipped.replace("15s", "1s").replace("timeout: 5s", "timeout: 1s");
    assert!(shipped.contains(&target), "the collector must scrape the default port");
    let configs = [("shipped.yaml", &*shipped), ("readable.yaml", READABLE)];
    let mut command = killed_with_test(collector);
    for (name, text) in configs {
        command.arg(format!("--config=file:{}", folder.write(name, text).display()));
    }
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), backend.url()),
        ("PATH".to_owned(), path().to_string_lossy().into_owned()),
    ];
    let running = Program::run(command, &BTreeMap::from(vars));
    eventually("every metric arrives at the backend", async || {
        let arrived = arrived.lock().expect("no thread may panic with the lock").clone();
        expected.is_subset(&arrived).then_some(())
    })
    .await;
    let output = running.output();
    assert!(!output.contains("\terror\t"), "the collector reports an error: {output}");
}
