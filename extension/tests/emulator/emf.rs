//! Tests the metrics that the extension writes to its log for CloudWatch.

use crate::clients::{MissingTool, install_into_folder};
use crate::emulator::{Mode, SESSION_TOKEN};
use crate::exchange;
use crate::lambda::{LISTED, Lambda, fake, start_or_skip, time_of_day};
use fake_aws::{Fault, Match};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};
use tokio::task::JoinSet;

/// The rules of the Embedded Metric Format, as a JSON schema.
const SCHEMA: &str = include_str!("emf.schema.json");

/// The template with the queries of CloudWatch Logs Insights.
const QUERIES: &str = include_str!("../../../deploy/monitoring/rotation-queries.yaml");

const HEADER: &str = "X-Aws-Parameters-Secrets-Token";

/// The number of reads in the tests of a busy log.
const READS: usize = 320;

/// The number of readers in the tests of a busy log. The readers read at the same time.
const READERS: usize = 8;

/// A Python script that validates each line of standard input against the JSON schema in its
/// argument. Prints for each line `True` or `False`.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.loads(sys.argv[1])
Validator.check_schema(schema)
for line in sys.stdin:
    print(Validator(schema).is_valid(json.loads(line)))
";

/// A Python script that prints the named groups that a query of Logs Insights finds in a log line.
/// The arguments are the regular expression of the query and the log line.
const PARSE: &str = "
import json, re, sys
found = re.search(sys.argv[1].replace('(?<', '(?P<'), sys.argv[2])
print(json.dumps(found and found.groupdict()))
";

/// Installs the validator of JSON schemas. Returns the Python interpreter that can import it.
fn python() -> Result<PathBuf, MissingTool> {
    let pip =
        "venv/bin/python -m pip --quiet --disable-pip-version-check install -r requirements.txt";
    let commands: [&[&str]; 2] = [&["python3", "-m", "venv", "venv"], &["sh", "-c", pip]];
    let files = [("requirements.txt", "jsonschema==4.26.0\n")];
    Ok(install_into_folder("json-schema", &files, &commands)?.join("venv/bin/python"))
}

/// Returns the records in the log. Each log line that contains a part of a record must be a
/// complete record.
fn records(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.contains("metrics of Sidekey"));
    let parse = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| {
            panic!("each record in the log must be JSON: {error} in the line {line}")
        })
    };
    lines.map(parse).collect()
}

fn sum(records: &[Value], metric: &str) -> f64 {
    records.iter().filter_map(|record| record.get(metric)?.as_f64()).sum()
}

/// Checks a record against those rules of the Embedded Metric Format that its JSON schema does not
/// contain.
#[track_caller]
fn check_targets(record: &Value) {
    let directive = &record["_aws"]["CloudWatchMetrics"][0];
    for metric in directive["Metrics"].as_array().expect("`Metrics` must be an array") {
        let name = metric["Name"].as_str().expect("the name must be a string");
        assert!(record[name].is_number(), "{name} in {record}");
    }
    for dimension in
        directive["Dimensions"][0].as_array().expect("a dimension set must be an array")
    {
        let name = dimension.as_str().expect("the name must be a string");
        let value = record[name].as_str().unwrap_or_else(|| panic!("{name} in {record}"));
        assert!(value.len() <= 1024, "{name} in {record}");
    }
    let millis = record["_aws"]["Timestamp"].as_u64().expect("`Timestamp` must be a number");
    let since_1970 =
        time_of_day()().duration_since(UNIX_EPOCH).expect("the clock must be after 1970");
    let age = since_1970.abs_diff(Duration::from_millis(millis));
    assert!(age < Duration::from_secs(3600), "`Timestamp` must be in milliseconds: {record}");
    assert!(record.to_string().len() < 1_000_000, "a record must be smaller than 1 MB");
}

/// Returns for each record whether it follows the JSON schema of the Embedded Metric Format.
fn follow_schema(python: &Path, records: &[Value]) -> Vec<bool> {
    let mut validator = Command::new(python)
        .args(["-c", VALIDATE, SCHEMA])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python must start");
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    let mut input = validator.stdin.take().expect("standard input must be a pipe");
    input.write_all(lines.as_bytes()).expect("Python must read its input");
    drop(input);
    let output = validator.wait_with_output().expect("waiting for Python must succeed");
    let output = String::from_utf8(output.stdout).expect("the output must be UTF-8");
    output.lines().map(|line| line == "True").collect()
}

/// Returns the value of a metric on the page `/metrics`.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("/metrics must have the series {series}:\n{page}"));
    value.parse().expect("the value of the metric must be a number")
}

/// Ends the environment, and returns its records of metrics.
async fn shut_down(mut lambda: Lambda) -> Vec<Value> {
    let shutdown = lambda.emulator.shutdown().await;
    assert_eq!(shutdown.exit_code, Some(0), "{}", lambda.emulator.log());
    let records = records(&lambda.emulator.log());
    lambda.fake.stop().await;
    records
}

/// Reads secrets before and after a freeze, and sends requests with a wrong token. Each event must
/// be in exactly one record of metrics, and each record must be valid.
async fn count_each_event_once(log_format: &str) {
    let python = match python() {
        Ok(python) => python,
        Err(missing) => return missing.skip_or_fail(),
    };
    // The longest dimensions that CloudWatch allows.
    let names: Vec<String> = (2..30).map(|at| format!("{at:0>250}")).collect();
    let fixed: Vec<String> = names.iter().map(|name| format!("{name}={:x>1024}", "")).collect();
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
        environment
            .env("SIDEKEY_EMF", "on")
            .env("SIDEKEY_EMF_NAMESPACE", "Team/Secrets")
            .env("SIDEKEY_EMF_DIMENSIONS", format!("function,stage=dev,{}", fixed.join(",")))
            .env("SIDEKEY_LOG", "debug")
            .env("AWS_LAMBDA_LOG_FORMAT", log_format)
    });
    lambda.invoke(&LISTED).await;
    assert_eq!(
        records(&lambda.emulator.log()),
        [Value::Null; 0],
        "the start must not write a record"
    );

    let path = format!("/secretsmanager/get?secretId={}", LISTED[0]);
    assert_eq!(lambda.emulator.ask_sidekey(&path, &[(HEADER, "wrong")]).await.status, 401);
    lambda.emulator.log_line("\"reason\":\"trouble\"").await;

    lambda.emulator.stop_extension().await;
    lambda.emulator.continue_extension().await;
    for _ in 0..20 {
        lambda.invoke(&LISTED).await;
    }
    assert_eq!(lambda.emulator.ask_sidekey(&path, &[(HEADER, "wrong")]).await.status, 401);
    let page = lambda.page("/metrics").await;
    let records = shut_down(lambda).await;

    let reasons: Vec<&Value> = records.iter().map(|record| &record["reason"]).collect();
    assert_eq!(reasons, ["trouble", "shutdown"]);
    for (metric, series) in [
        ("ReadHits", "sidekey_reads_total{result=\"hit\"}"),
        ("ReadMisses", "sidekey_reads_total{result=\"miss\"}"),
        ("ReadsRefused", "sidekey_reads_total{result=\"refused\"}"),
        ("ReadErrors", "sidekey_reads_total{result=\"error\"}"),
        ("GateRefusals", "sidekey_gate_refusals_total{reason=\"token\"}"),
        ("CallsOk", "sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"ok\"}"),
    ] {
        assert_eq!(sum(&records, metric), value(&page, series), "{metric}: {records:#?}");
    }
    assert_eq!(sum(&records, "GateRefusals"), 2.0);
    for record in &records {
        assert!(record["level"] == "INFO" && record["timestamp"].is_string(), "{record}");
        let directive = &record["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Team/Secrets");
        let dimensions: Vec<&str> =
            ["FunctionName", "stage"].into_iter().chain(names.iter().map(|name| &**name)).collect();
        assert_eq!(directive["Dimensions"], json!([dimensions]));
        assert_eq!(record["FunctionName"], "whatsapp-channel-processor-dev");
        assert_eq!((&record["stage"], &record["SecretsHeld"]), (&json!("dev"), &json!(3)));
        check_targets(record);
    }
    assert_eq!(follow_schema(&python, &records), [true, true], "{records:#?}");
}

/// The JSON schema must accept exactly the records that AWS's specification allows.
#[test]
fn schema_has_the_limits_of_the_specification() {
    let python = match python() {
        Ok(python) => python,
        Err(missing) => return missing.skip_or_fail(),
    };
    let record = |changes: &[(&str, Value)]| {
        let mut record = json!({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{
            "Namespace": "n", "Dimensions": [["d"]], "Metrics": [{"Name": "m", "Unit": "Count"}],
        }]}});
        for (pointer, value) in changes {
            let parent = record.pointer_mut(pointer).expect("the record must have this member");
            *parent = value.clone();
        }
        record
    };
    let first = "/_aws/CloudWatchMetrics/0";
    let at = |path: &str, value: Value| record(&[(&format!("{first}/{path}"), value)]);
    let names = |count| json!([(0..count).map(|at| at.to_string()).collect::<Vec<_>>()]);
    let metrics = |count| Value::from(vec![json!({"Name": "m"}); count]);
    let text = |length| Value::from("x".repeat(length));
    for (is_valid, records) in [
        (
            true,
            vec![
                record(&[]),
                at("Namespace", text(1024)),
                at("Dimensions", names(30)),
                at("Dimensions", json!([[]])),
                at("Dimensions/0/0", text(250)),
                at("Metrics", metrics(100)),
                at("Metrics/0/Name", text(1024)),
                at(
                    "Metrics/0",
                    json!({"Name": "m", "Unit": "Bits/Second", "StorageResolution": 1}),
                ),
            ],
        ),
        (
            false,
            vec![
                json!({"m": 1}),
                record(&[("/_aws", json!({"CloudWatchMetrics": []}))]),
                record(&[("/_aws", json!({"Timestamp": 1}))]),
                record(&[("/_aws/Timestamp", json!("1"))]),
                record(&[("/_aws/Timestamp", json!(1.5))]),
                record(&[(first, json!({"Namespace": "n", "Metrics": []}))]),
                at("Namespace", text(0)),
                at("Namespace", text(1025)),
                at("Namespace", json!("a\nb")),
                at("Dimensions", json!([])),
                at("Dimensions", names(31)),
                at("Dimensions", json!(["d"])),
                at("Dimensions/0/0", text(0)),
                at("Dimensions/0/0", text(251)),
                at("Metrics", metrics(101)),
                at("Metrics/0/Name", text(1025)),
                at("Metrics/0/Unit", json!("Minutes")),
                at("Metrics/0", json!({"Unit": "Count"})),
                at("Metrics/0", json!({"Name": "m", "StorageResolution": 5})),
                at("Metrics/0", json!({"Name": "m", "Value": 5})),
            ],
        ),
    ] {
        let found = follow_schema(&python, &records);
        assert_eq!(found.len(), records.len());
        for (found, record) in found.into_iter().zip(records) {
            assert_eq!(found, is_valid, "{record}");
        }
    }
}

#[tokio::test]
async fn records_count_each_event_once_in_a_json_log() {
    count_each_event_once("JSON").await;
}

#[tokio::test]
async fn records_count_each_event_once_in_a_text_log() {
    count_each_event_once("Text").await;
}

#[tokio::test]
async fn failed_prefetch_is_reported_at_once() {
    let fake = fake().await;
    fake.faults().always(Match::secret(LISTED[1]), Fault::InternalError);
    let lambda = start_or_skip!(Mode::OnDemand, fake, |environment| {
        environment.env("SIDEKEY_EMF", "upstream,cache")
    });
    lambda.invoke(&[]).await;
    let line = lambda.emulator.log_line("\"reason\":\"trouble\"").await;
    let record: Value = serde_json::from_str(&line).expect("the record must be JSON");
    assert_eq!((&record["SecretsHeld"], &record["SecretsMissing"]), (&json!(2), &json!(1)));
    assert_eq!((&record["CallsOk"], &record["CallsFailed"]), (&json!(2), &json!(1)), "{record}");
    assert_eq!(record.get("ReadHits"), None, "the unselected group `reads` must be missing");
    lambda.shut_down().await;
}

/// The agent writes a record at once if it refuses a request with a wrong token or with an `Origin`
/// header of another site. The next record counts further refusals in the same minute.
#[tokio::test]
async fn refused_request_is_reported_at_once_but_only_once_a_minute() {
    let foreign: [&[(&str, &str)]; 2] =
        [&[(HEADER, "wrong")], &[(HEADER, SESSION_TOKEN), ("Origin", "https://evil.example")]];
    for headers in foreign {
        let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
            environment.env("SIDEKEY_EMF", "refusals")
        });
        lambda.invoke(&LISTED).await;
        assert_eq!(
            records(&lambda.emulator.log()),
            [Value::Null; 0],
            "no record must be written before a refusal"
        );
        let path = format!("/secretsmanager/get?secretId={}", LISTED[0]);
        let refuse = async || {
            let status = lambda.emulator.ask_sidekey(&path, headers).await.status;
            assert!((400..500).contains(&status), "{status}");
        };
        refuse().await;
        lambda.emulator.log_line("\"reason\":\"trouble\"").await;
        for _ in 0..4 {
            refuse().await;
        }
        let records = shut_down(lambda).await;
        let reported: Vec<_> =
            records.iter().map(|record| (&record["reason"], &record["GateRefusals"])).collect();
        let expected = [(&json!("trouble"), &json!(1)), (&json!("shutdown"), &json!(4))];
        assert_eq!(reported, expected, "{headers:?}");
    }
}

/// While the agent writes many log lines, one for each read, it also writes a record of metrics
/// because of wrong tokens. Each line of the log must be complete.
async fn keep_lines_whole(log_format: &str) {
    let fake = fake().await;
    let names: Vec<String> = (0..READS).map(|at| format!("busy/{at}")).collect();
    for name in &names {
        fake.secrets().create(name, "hunter2").expect("the name must be new");
    }
    let lambda = start_or_skip!(Mode::OnDemand, fake, |environment| {
        environment
            .env("SIDEKEY_EMF", "on")
            .env("SIDEKEY_LOG", "debug")
            .env("AWS_LAMBDA_LOG_FORMAT", log_format)
    });
    lambda.invoke(&[]).await;
    let port = lambda.emulator.sidekey_port();
    let mut readers = JoinSet::new();
    for own in names.chunks(READS / READERS) {
        let own = own.to_vec();
        readers.spawn(async move {
            for (at, name) in own.iter().enumerate() {
                let (token, status) =
                    if at == own.len() / 2 { ("wrong", 401) } else { (SESSION_TOKEN, 200) };
                let path = format!("/secretsmanager/get?secretId={name}");
                let answer = exchange::request(port, "GET", &path, &[(HEADER, token)], b"").await;
                assert_eq!(answer.expect("the agent must answer").status, status, "{name}");
            }
        });
    }
    while let Some(ended) = readers.join_next().await {
        ended.expect("the reader task must not panic");
    }
    let mut lambda = lambda;
    lambda.emulator.shutdown().await;
    let log = lambda.emulator.log();
    let found = records(&log);
    let reasons: Vec<&Value> = found.iter().map(|record| &record["reason"]).collect();
    assert_eq!(reasons, ["trouble", "shutdown"]);
    let fetched: Vec<&str> =
        log.lines().filter(|line| line.contains("Sidekey fetched a secret from AWS")).collect();
    assert_eq!(fetched.len(), READS - READERS + LISTED.len(), "{log}");
    for line in fetched {
        let is_whole = match log_format {
            "JSON" => {
                serde_json::from_str::<Value>(line).is_ok_and(|line| line["name"].is_string())
            }
            // The level begins the message, and the id of the version ends the line.
            _ => {
                line.matches("DEBUG ").count() == 1
                    && line.rsplit_once(" version=\"").is_some_and(|(_, id)| id.len() == 37)
            }
        };
        assert!(is_whole, "{line}");
    }
    lambda.fake.stop().await;
}

#[tokio::test]
async fn lines_of_a_busy_json_log_are_whole() {
    keep_lines_whole("JSON").await;
}

#[tokio::test]
async fn lines_of_a_busy_text_log_are_whole() {
    keep_lines_whole("Text").await;
}

/// After a rotation of a secret, the queries in the template for Logs Insights must find in the
/// records the replaced version, and when a caller last read this version.
#[tokio::test]
async fn shipped_queries_find_the_versions_that_readers_were_given() {
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
        environment.env("SIDEKEY_EMF", "versions")
    });
    let python = match python() {
        Ok(python) => python,
        Err(missing) => return missing.skip_or_fail(),
    };
    let name = LISTED[1];
    let old = lambda.fake.secrets().version_id(name, "AWSCURRENT").expect("the secret must exist");
    lambda.invoke(&[name]).await;
    let new = lambda.fake.secrets().put(name, "rotated").expect("the secret must exist");
    let read = lambda.page(&format!("/secretsmanager/get?secretId={name}&refreshNow=true")).await;
    assert!(read.contains(&new), "{read}");
    let headers = [(HEADER, SESSION_TOKEN)];
    let status = lambda.emulator.ask_sidekey("/status", &headers).await.json();
    let entries = status["entries"].as_array().expect("`entries` must be an array");
    let entry =
        entries.iter().find(|entry| entry["name"] == name).expect("the secret must be cached");
    let previous = &entry["previous_version"];
    assert_eq!(previous["version_id"], old[..8], "{entry}");
    assert!(previous["last_read"].is_string() && previous["replaced"].is_string(), "{entry}");

    let records = shut_down(lambda).await;
    let [record] = &records[..] else {
        panic!("the log must have exactly one record: {records:#?}")
    };
    assert!(record["SinceReplacedVersion"].is_number(), "{record}");
    let patterns: Vec<&str> = QUERIES
        .split("parse @message /")
        .skip(1)
        .filter_map(|rest| rest.lines().next()?.strip_suffix('/'))
        .collect();
    assert_eq!(patterns.len(), 2, "the template must have two queries");
    let secret = name.replace('/', r"\/");
    for pattern in patterns {
        let pattern = pattern.replace("${Secret}", &secret);
        let output = Command::new(&python)
            .args(["-c", PARSE, &pattern])
            .arg(record.to_string())
            .output()
            .expect("Python must start");
        let found: Value = serde_json::from_slice(&output.stdout).expect("the output must be JSON");
        assert_eq!(found["version"], old[..8], "the replaced version must come first");
        let second =
            |time: &Value| time.as_str().expect("the time must be a string")[..19].to_owned();
        assert_eq!(second(&found["last_read"]), second(&previous["last_read"]), "{record}");
    }
    let served = record["served"].to_string();
    assert!(served.contains(&new[..8]), "{served}");
}

#[tokio::test]
async fn without_emf_no_record_is_written() {
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| environment);
    lambda.invoke(&LISTED).await;
    assert_eq!(lambda.emulator.ask_sidekey("/status", &[]).await.status, 401);
    assert_eq!(shut_down(lambda).await, [Value::Null; 0]);
}

#[tokio::test]
async fn environment_for_a_snapshot_reports_its_start_before_the_snapshot() {
    let lambda = start_or_skip!(Mode::SnapStart, fake().await, |environment| {
        environment.env("SIDEKEY_EMF", "upstream")
    });
    lambda.invoke(&LISTED).await;
    let records = shut_down(lambda).await;
    let first = records.first().expect("the log must have a record");
    assert_eq!((&first["reason"], &first["CallsOk"]), (&json!("snapshot"), &json!(3)), "{first}");
}
