//! Tests of the files in `deploy/monitoring` with the real Prometheus: alerts fire for their causes,
//! and the dashboard has data. Also tests the collector's configuration with a real collector.

mod collector;
mod prometheus;
mod scenarios;

use crate::support::agent::{Setup, Sidekey};
use crate::support::client::get;
use crate::support::clock::ManualClock;
use crate::support::linters::Linters;
use crate::support::{TempFolder, eventually, fake};
use fake_aws::Fake;
use prometheus::{Prometheus, promtool};
use serde_json::{Value, json};
use sidekey::telemetry::emf::metric::METRICS;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");
const ALERT_TESTS: &str = include_str!("../../deploy/monitoring/alerts.test.yaml");
const PROMETHEUS_CONFIG: &str = include_str!("../../deploy/monitoring/prometheus.yaml");
const COLLECTOR_CONFIG: &str = include_str!("../../deploy/monitoring/otel-collector.yaml");
const GRAFANA: &str = include_str!("../../deploy/monitoring/grafana-dashboard.json");
const METRICS_PAGE: &str = include_str!("../../docs/metrics.md");
const RUNBOOK: &str = include_str!("../../docs/observability.md");

const CLOUDWATCH_ALARMS: &str = include_str!("../../deploy/monitoring/cloudwatch-alarms.yaml");
const CLOUDWATCH_DASHBOARD: &str =
    include_str!("../../deploy/monitoring/cloudwatch-dashboard.json");

/// Returns the names of all alerts in `alerts.yaml`.
fn alert_names() -> BTreeSet<&'static str> {
    let names = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.collect()
}

/// Starts an agent that has read one secret.
async fn start_agent() -> (Fake, Sidekey) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["app/db", "app/other"] {
        fake.secrets().create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db").start().await;
    assert_eq!(sidekey.read("app/other").await.value(), "hunter2");
    (fake, sidekey)
}

async fn exposition(sidekey: &Sidekey) -> String {
    sidekey.connect().await.exchange(get("/metrics", &[])).await.text().to_owned()
}

/// Returns the name and the type of each metric on the page `/metrics`.
fn metric_types(page: &str) -> BTreeMap<&str, &str> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    lines.collect()
}

/// The page `/metrics` has every documented metric. Each metric arrives in a real Prometheus, and
/// Prometheus' own linter has no complaint about the page.
#[tokio::test]
async fn every_metric_arrives_in_prometheus() {
    if let Err(missing) = prometheus::find() {
        return missing.skip_or_fail();
    }
    let (_fake, sidekey) = start_agent().await;
    let page = exposition(&sidekey).await;
    let documented =
        METRICS_PAGE.lines().filter_map(|row| row.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<&str> = documented
        .map(|(name, _)| name)
        .filter(|name| ["sidekey_", "process_"].iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    let types = metric_types(&page);
    assert_eq!(types.keys().copied().collect::<BTreeSet<_>>(), documented);
    let done = promtool(&["check", "metrics"], page.as_bytes()).await;
    assert_eq!((done.code, done.text(), &*done.err), (Some(0), "", ""));

    let prometheus = Prometheus::start(&[sidekey.address], "").await;
    prometheus.until_scraped(1).await;
    let arrived = prometheus.metrics().await;
    for (name, kind) in types {
        let ends: &[&str] =
            if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        for end in ends {
            assert!(arrived.contains(&format!("{name}{end}")), "{name}{end} is missing");
        }
    }
}

/// The rules are valid, and each alert fires exactly when its condition has lasted long enough.
#[tokio::test]
async fn alert_rules_pass_their_own_tests() {
    if let Err(missing) = prometheus::find() {
        return missing.skip_or_fail();
    }
    let folder = TempFolder::new();
    folder.write("alerts.yaml", ALERTS);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let config = folder.write("prometheus.yaml", PROMETHEUS_CONFIG).display().to_string();
    let tests = folder.write("alerts.test.yaml", ALERT_TESTS).display().to_string();
    let done = promtool(&["check", "config", "--lint-fatal", &config], b"").await;
    assert_eq!(done.code, Some(0), "{} {}", done.text(), done.err);
    let done = promtool(&["test", "rules", &tests], b"").await;
    assert_eq!(done.code, Some(0), "{} {}", done.text(), done.err);
    let tested: BTreeSet<&str> = alert_names()
        .into_iter()
        .filter(|name| ALERT_TESTS.contains(&format!("\"{name}\"")))
        .collect();
    assert_eq!(tested, alert_names());

    // A rule that fires a minute late must not pass.
    let late = ALERTS.replace("for: 2m", "for: 3m");
    assert_ne!(late, ALERTS, "alerts.yaml must have an alert after two minutes: change this test");
    std::fs::write(path("alerts.yaml"), late).expect("the test must be able to write the folder");
    let done = promtool(&["test", "rules", &tests], b"").await;
    assert_eq!(done.code, Some(1), "{} {}", done.text(), done.err);
}

/// Real agents get into trouble. In a real Prometheus, exactly the expected alerts fire for each
/// agent, and no alert for the agent without trouble.
#[tokio::test]
async fn each_alert_fires_for_its_cause() {
    if let Err(missing) = prometheus::find() {
        return missing.skip_or_fail();
    }
    let scenarios = scenarios::all().await;
    let provoked: BTreeSet<&str> =
        scenarios.iter().flat_map(|scenario| scenario.alerts.iter().copied()).collect();
    assert_eq!(provoked, alert_names());
    let targets: Vec<_> = scenarios.iter().map(|scenario| scenario.address).collect();
    // A scrape that is late on a busy machine must not fire an alert.
    let soon = ALERTS.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 3s"),
        _ => line.to_owned(),
    });
    let rules = soon.collect::<Vec<_>>().join("\n");
    let prometheus = Arc::new(Prometheus::start(&targets, &rules).await);
    prometheus.until_scraped(targets.len()).await;

    let mut expected = BTreeMap::new();
    let mut alive = Vec::new();
    for scenario in scenarios {
        if !scenario.alerts.is_empty() {
            let alerts: Vec<String> = scenario.alerts.iter().map(ToString::to_string).collect();
            expected.insert(scenario.address.to_string(), (scenario.name, alerts));
        }
        alive.push((scenario.provoke)(prometheus.clone()).await);
    }
    eventually("exactly the expected alerts fire", async || {
        let firing = prometheus.firing().await;
        let is_expected = expected.iter().all(|(address, (name, alerts))| {
            let own = firing.get(address).map_or(&[][..], Vec::as_slice);
            let surplus: Vec<&String> =
                own.iter().filter(|alert| !alerts.contains(alert)).collect();
            assert!(surplus.is_empty(), "{name}: these alerts must not fire: {surplus:?}");
            own == alerts
        });
        (is_expected && firing.len() == expected.len()).then_some(())
    })
    .await;
    drop(alive);
}

/// Each alert names its section in the runbook, and this section exists.
#[test]
fn each_alert_has_a_section_in_the_runbook() {
    let sections: BTreeSet<&str> =
        RUNBOOK.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    for alert in alert_names() {
        assert!(sections.contains(alert), "docs/observability.md has no section {alert}");
        let link = format!("runbook: docs/observability.md#{}\n", alert.to_lowercase());
        assert!(ALERTS.contains(&link), "{link}");
    }
    let alerts = sections.into_iter().filter(|section| section.starts_with("Sidekey")).collect();
    assert_eq!(alert_names(), alerts, "the runbook must have no section without an alert");
}

/// The page has a row for each alarm of CloudWatch, with the alarm's metric.
#[test]
fn each_alarm_of_cloudwatch_is_explained() {
    let value = |line: &'static str, name| line.trim().strip_prefix(name);
    let lines = CLOUDWATCH_ALARMS.lines();
    let alarms =
        lines.clone().filter_map(|line| value(line, "AlarmName: !Sub \"")?.split_once('-'));
    let metrics = lines.filter_map(|line| value(line, "MetricName: "));
    let explained: Vec<(&str, &str)> = alarms.map(|(name, _)| name).zip(metrics).collect();
    assert!(explained.len() > 5, "{explained:?}");
    for (alarm, metric) in explained {
        let mut rows = RUNBOOK.lines().filter(|row| row.starts_with(&format!("| `{alarm}` |")));
        let row = rows.next().unwrap_or_else(|| panic!("docs/observability.md lacks {alarm}"));
        assert!(row.contains(&format!("`{metric}`")), "{metric} in {row}");
    }
}

/// Returns the PromQL expressions of all panels of the dashboard, each with the title of its panel.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().expect("a dashboard must have panels");
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        targets.iter().map(move |target| (panel["title"].clone(), target["expr"].clone()))
    });
    let text = |value: Value| value.as_str().expect("the text must be a string").to_owned();
    targets.map(|(title, expression)| (text(title), text(expression))).collect()
}

/// Prometheus parses each expression of the Grafana dashboard and finds data for it, so each metric
/// and each label in the expressions exists.
#[tokio::test]
async fn each_panel_of_the_dashboard_has_data() {
    if let Err(missing) = prometheus::find() {
        return missing.skip_or_fail();
    }
    let dashboard: Value = serde_json::from_str(GRAFANA).expect("the dashboard must be JSON");
    let (_fake, sidekey) = start_agent().await;
    let prometheus = Prometheus::start(&[sidekey.address], "").await;
    prometheus.until_scraped(1).await;
    let expressions = expressions(&dashboard);
    assert!(expressions.len() > 15, "{expressions:?}");
    for (title, expression) in expressions {
        let expression = expression
            .replace("$__rate_interval", "1m")
            .replace("$job", "sidekey")
            .replace("$instance", ".+");
        let series = prometheus.query(&expression).await;
        assert!(!series.is_empty(), "the panel {title} has no data: {expression}");
    }
}

/// The part of the collector's configuration for the scrape is a configuration of Prometheus. With
/// it, a real Prometheus scrapes an agent.
#[tokio::test]
async fn configuration_of_the_collector_scrapes_an_agent() {
    if let Err(missing) = prometheus::find() {
        return missing.skip_or_fail();
    }
    let (_fake, sidekey) = start_agent().await;
    let (_, rest) = COLLECTOR_CONFIG
        .split_once("scrape_configs:\n")
        .expect("the collector must have a scrape configuration");
    let (jobs, _) = rest.split_once("\n\n").expect("a blank line must follow the receivers");
    let target = format!("localhost:{}", sidekey.address.port());
    let jobs = jobs.replace("localhost:2773", &target).replace("15s", "1s").replace("5s", "1s");
    assert!(jobs.contains(&target), "the collector must scrape the default port: {jobs}");
    let prometheus = Prometheus::start_with(&jobs, "").await;
    prometheus.until("sidekey_build_info{job=\"sidekey\"}", 1).await;
}

/// AWS's linter accepts the template with the alarms, and a template with the dashboard. The alarms and
/// the dashboard contain only existing metrics, and the dashboard contains each metric.
#[tokio::test]
async fn files_for_cloudwatch_are_valid() {
    let alarmed: BTreeSet<&str> = CLOUDWATCH_ALARMS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("MetricName: "))
        .collect();
    assert!(alarmed.len() > 5, "{alarmed:?}");
    let searches = CLOUDWATCH_DASHBOARD.split("MetricName=\\\"").skip(1);
    let displayed: BTreeSet<&str> = searches.filter_map(|rest| rest.split('\\').next()).collect();
    let written: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(displayed, written);
    assert!(alarmed.is_subset(&displayed), "{alarmed:?}");
    let dashboard: Value =
        serde_json::from_str(CLOUDWATCH_DASHBOARD).expect("the dashboard must be JSON");
    let template = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {"Dashboard": {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {"DashboardBody": dashboard.to_string()},
        }},
    });

    let linters = match Linters::install() {
        Ok(linters) => linters,
        Err(missing) => return missing.skip_or_fail(),
    };
    let folder = TempFolder::new();
    for (name, text) in
        [("alarms.yaml", CLOUDWATCH_ALARMS), ("dashboard.json", &template.to_string())]
    {
        let path = folder.write(name, text).display().to_string();
        let done =
            linters.run("cfn-lint", &["--non-zero-exit-code", "informational", &path], b"").await;
        assert_eq!(done.code, Some(0), "{name}: {}{}", done.text(), done.err);
    }
}
