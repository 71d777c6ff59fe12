//! Tests that Python functions with boto3 can read parameters through Sidekey without a change, and
//! get the same responses and exceptions as from Parameter Store.

use crate::clients::Clients;
use crate::moto::Moto;
use crate::support::agent::{Setup, TOKEN};
use crate::support::boto3::{Service, call};
use crate::support::clock::ManualClock;
use crate::support::fake;
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

const ARN: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";

async fn boto3(clients: &Clients, endpoint: &str, calls: &Value) -> Vec<Value> {
    let reports = call(clients, Service::ParameterStore, endpoint, Some(TOKEN), calls).await;
    reports.as_array().expect("the script must print a list").clone()
}

/// Returns the calls that create parameters.
fn writes() -> Value {
    let put = |parameters: Value| json!(["put_parameter", parameters]);
    let mut calls = vec![
        put(json!({"Name": "/app/url", "Value": "one \"ä\" <b>", "Type": "String"})),
        put(json!({"Name": "/app/url", "Value": "two", "Overwrite": true})),
        put(json!({"Name": "/app/hosts", "Value": "a,b", "Type": "StringList"})),
        put(json!({"Name": "/app/db/password", "Value": "hunter2", "Type": "SecureString"})),
        put(json!({"Name": "/app/long", "Value": "x".repeat(4_096), "Type": "String"})),
        put(json!({"Name": "flat", "Value": "x", "Type": "String"})),
        json!(["label_parameter_version",
            {"Name": "/app/url", "ParameterVersion": 1, "Labels": ["live"]}]),
    ];
    for number in 10..32 {
        let name = format!("/many/{number}");
        calls.push(put(json!({"Name": name, "Value": name, "Type": "String"})));
    }
    json!(calls)
}

/// Returns the calls that read parameters.
fn reads() -> Value {
    let get = |name: &str| json!(["get_parameter", {"Name": name, "WithDecryption": true}]);
    let by_path = |parameters: Value| json!(["every_page:get_parameters_by_path", parameters]);
    let secure = json!({"Key": "Type", "Option": "Equals", "Values": ["SecureString"]});
    let names = ["/app/url", "/app/db/password", "/app/absent", "/app/hosts"];
    json!([
        get("/app/url"),
        get("/app/url:1"),
        get("/app/url:live"),
        get("/app/hosts"),
        get("/app/db/password"),
        get("/app/long"),
        get("flat"),
        get(&format!("{ARN}/app/url")),
        ["get_parameters", {"Names": names, "WithDecryption": true}],
        by_path(json!({"Path": "/app", "WithDecryption": true})),
        by_path(json!({"Path": "/app/", "Recursive": true, "WithDecryption": true})),
        by_path(json!({"Path": "/app", "Recursive": true, "WithDecryption": true,
            "ParameterFilters": [secure]})),
        by_path(json!({"Path": "/many"})),
        by_path(json!({"Path": "/many", "PaginationConfig": {"PageSize": 4}})),
        by_path(json!({"Path": "/none"})),
        get("/app/absent"),
        get("/app/url:9"),
        get("/app/url:none"),
        ["get_parameters", {"Names": vec!["x"; 11]}],
        ["get_parameters_by_path", {"Path": "/app", "MaxResults": 11}],
    ])
}

/// Removes the parts of a report in which Sidekey, moto and AWS may differ: the selector (version
/// or label), which moto does not return, the order of a list, and the messages of errors.
fn comparable(mut report: Value) -> Value {
    if let Some(report) = report.as_object_mut() {
        report.remove("message");
    }
    let answer = &mut report["answer"];
    if let Some(parameter) = answer.get_mut("Parameter").and_then(Value::as_object_mut) {
        parameter.remove("Selector");
    }
    if let Some(parameters) = answer.get_mut("Parameters").and_then(Value::as_array_mut) {
        parameters.sort_by_key(|parameter| parameter["Name"].to_string());
    }
    report
}

/// Makes the same boto3 calls to `upstream` and to a Sidekey that calls `upstream`. Both must give
/// the same responses, exceptions and numbers of attempts.
async fn compare(clients: &Clients, upstream: &str) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_668_586_960_362));
    for (report, call) in boto3(clients, upstream, &writes()).await.iter().zip(0..) {
        assert!(report["error"].is_null(), "{upstream}: {call}: {report}");
    }
    let sidekey = Setup::for_endpoint(upstream, &clock).start().await;
    let calls = reads();
    let own = boto3(clients, &format!("http://{}", sidekey.address), &calls).await;
    let theirs = boto3(clients, upstream, &calls).await;
    let calls = calls.as_array().expect("the calls must be a list");
    assert_eq!((own.len(), theirs.len()), (calls.len(), calls.len()));
    for ((call, own), theirs) in calls.iter().zip(own).zip(theirs) {
        assert_eq!(comparable(own), comparable(theirs), "{upstream}: {call}");
    }
}

/// Behind Sidekey is once the fake AWS server, and once moto, an independent emulator.
#[tokio::test]
async fn calls_get_the_answers_of_parameter_store() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let fake = fake(&ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_668_586_960_362))).await;
    compare(&clients, &fake.url()).await;
    compare(&clients, &Moto::start(&clients).await.endpoint()).await;
}
