//! A real Prometheus that scrapes agents, and its tool `promtool`.

use crate::clients::{MissingTool, killed_with_test, run};
use crate::exchange;
use crate::port::Port;
use crate::support::finished::Finished;
use crate::support::program::Program;
use crate::support::{TempFolder, eventually};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

/// The settings of Prometheus in these tests. The short intervals keep the tests short.
const CONFIG: &str = "
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
";

/// Returns an error if Prometheus is not installed.
pub(super) fn find() -> Result<(), MissingTool> {
    for tool in ["prometheus", "promtool"] {
        run(Command::new(tool).arg("--version"))?;
    }
    Ok(())
}

/// Runs `promtool` with these arguments.
pub(super) async fn promtool(args: &[&str], stdin: &[u8]) -> Finished {
    let mut command = killed_with_test("promtool");
    command.args(args);
    Finished::run(command, &BTreeMap::new(), stdin).await
}

/// A running Prometheus. Dropping this value stops Prometheus and deletes its data.
#[derive(Debug)]
pub(super) struct Prometheus {
    port: Port,
    _process: Program,
    _folder: TempFolder,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes the agents at `targets` as the job `sidekey`. `rules` is the
    /// text of a file with alert rules.
    pub(super) async fn start(targets: &[SocketAddr], rules: &str) -> Self {
        let targets: Vec<String> = targets.iter().map(SocketAddr::to_string).collect();
        let job = format!(
            "  - {{job_name: sidekey, static_configs: [{{targets: {}}}]}}\n",
            Value::from(targets)
        );
        Self::start_with(&job, rules).await
    }

    /// Starts a Prometheus with the entries `jobs` of the list `scrape_configs`.
    pub(super) async fn start_with(jobs: &str, rules: &str) -> Self {
        let folder = TempFolder::new();
        folder.write("rules.yaml", rules);
        let config = folder.write("prometheus.yaml", &format!("{CONFIG}{jobs}"));
        let port = Port::reserve();
        let mut command = killed_with_test("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn");
        let process = Program::run(command, &BTreeMap::new());
        let prometheus = Self { port, _process: process, _folder: folder };
        eventually("Prometheus is ready", async || {
            let answer = prometheus.get("/-/ready").await?;
            (answer.status == 200).then_some(())
        })
        .await;
        prometheus
    }

    async fn get(&self, path: &str) -> Option<exchange::Answer> {
        exchange::request(self.port.number(), "GET", path, &[], b"").await.ok()
    }

    /// Calls Prometheus' HTTP interface, and returns the member `data` of the response.
    async fn data(&self, path: &str) -> Value {
        let answer = self.get(path).await.expect("Prometheus must answer");
        let json = answer.json();
        assert_eq!(json["status"], "success", "{path}: {json}");
        json["data"].clone()
    }

    /// Evaluates a PromQL expression. Returns the labels and the value of each resulting series.
    pub(super) async fn query(&self, expression: &str) -> Vec<(Value, String)> {
        let encoded = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let data = self.data(&format!("/api/v1/query?query={encoded}")).await;
        let series = data["result"].as_array().expect("the result must be a list of series");
        let pair = |one: &Value| {
            let value = one["value"][1].as_str().expect("a value of Prometheus is a string");
            (one["metric"].clone(), value.to_owned())
        };
        series.iter().map(pair).collect()
    }

    /// Waits until the expression has at least `count` series.
    pub(super) async fn until(&self, expression: &str, count: usize) {
        eventually(expression, async || {
            (self.query(expression).await.len() >= count).then_some(())
        })
        .await;
    }

    /// Waits until Prometheus has scraped each agent at least twice, so that it can compute rates.
    pub(super) async fn until_scraped(&self, agents: usize) {
        self.until("count_over_time(sidekey_build_info[5m]) > 1", agents).await;
    }

    /// Returns the names of all metrics.
    pub(super) async fn metrics(&self) -> Vec<String> {
        let data = self.data("/api/v1/label/__name__/values").await;
        serde_json::from_value(data).expect("the names must be strings")
    }

    /// Returns the names of the firing alerts for each agent.
    pub(super) async fn firing(&self) -> BTreeMap<String, Vec<String>> {
        let data = self.data("/api/v1/alerts").await;
        let alerts = data["alerts"].as_array().expect("the alerts must be a list");
        let mut firing = BTreeMap::<String, Vec<String>>::new();
        for alert in alerts.iter().filter(|alert| alert["state"] == "firing") {
            let label = |name: &str| {
                alert["labels"][name].as_str().expect("an alert must have this label").to_owned()
            };
            firing.entry(label("instance")).or_default().push(label("alertname"));
        }
        firing.values_mut().for_each(|names| names.sort());
        firing
    }
}
