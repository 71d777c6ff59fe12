//! Tests that the fake Parameter Store answers boto3, AWS's SDK for Python, as AWS does. The tests
//! also compare the fake with moto, an independent emulator.

use crate::clients::Clients;
use crate::moto::Moto;
use crate::support::boto3::{Service, call};
use crate::support::clock::ManualClock;
use crate::support::fake;
use fake_aws::Operation::{GetParameter, GetParameters};
use fake_aws::{Fake, Fault, Location, Match, ParameterValue};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

const ARN: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";

async fn boto3(clients: &Clients, endpoint: &str, calls: &Value) -> Vec<Value> {
    let reports = call(clients, Service::ParameterStore, endpoint, Some("any"), calls).await;
    reports.as_array().expect("the script must print a list").clone()
}

fn get(name: &str) -> Value {
    json!(["get_parameter", {"Name": name, "WithDecryption": true}])
}

async fn start_fake() -> Fake {
    fake(&ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_668_586_960_362))).await
}

/// Returns the calls that must get the same responses from moto and from the fake AWS server.
fn calls_for_both() -> Value {
    let put = |parameters: Value| json!(["put_parameter", parameters]);
    let by_path = |parameters: Value| json!(["every_page:get_parameters_by_path", parameters]);
    let label = |version: u64, labels: Value| {
        let parameters = json!({"Name": "/app/url", "ParameterVersion": version, "Labels": labels});
        json!(["label_parameter_version", parameters])
    };
    let secure = json!({"Key": "Type", "Option": "Equals", "Values": ["SecureString"]});
    let unknown = json!({"Key": "Name", "Option": "Equals", "Values": ["x"]});
    let long = "x".repeat(4_096);
    let mut calls = vec![
        put(json!({"Name": "/app/url", "Value": "one \"ä\" <b>", "Type": "String"})),
        put(json!({"Name": "/app/url", "Value": "two", "Overwrite": true})),
        put(json!({"Name": "/app/url", "Value": "three", "Type": "String"})),
        put(json!({"Name": "/app/hosts", "Value": "a,b", "Type": "StringList"})),
        put(json!({"Name": "/app/db/password", "Value": "hunter2", "Type": "SecureString"})),
        put(json!({"Name": "/app/long", "Value": long, "Type": "String"})),
        put(json!({"Name": "flat", "Value": "x", "Type": "String"})),
        put(json!({"Name": "/app/new", "Value": "x"})),
        put(json!({"Name": "/app/new", "Value": "", "Type": "String"})),
        put(json!({"Name": "/app/new", "Value": "x", "Type": "Secret"})),
        put(json!({"Name": "/aws/service/new", "Value": "x", "Type": "String"})),
        put(json!({"Name": "ssm-new", "Value": "x", "Type": "String"})),
        label(1, json!(["live", "1st", "aws-x"])),
        label(1, json!(["test"])),
        label(2, json!(["test"])),
        label(9, json!(["test"])),
        label(2, json!(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])),
        get("/app/url"),
        get("/app/url:1"),
        get("/app/url:live"),
        get("/app/url:test"),
        get("/app/url:9"),
        get("/app/hosts"),
        get("/app/db/password"),
        get("/app/long"),
        get("flat"),
        get("/flat"),
        get("/app/absent"),
        get(&format!("{ARN}/app/url")),
        get(&format!("{ARN}/app/url:1")),
        json!(["get_parameter", {"Name": "/aws/reference/secretsmanager/db"}]),
    ];
    for count in [1, 2, 11] {
        let names: Vec<String> = (0..count).map(|number| format!("/app/{number}")).collect();
        calls.push(json!(["get_parameters", {"Names": names}]));
    }
    let names = ["/app/url", "/app/db/password", "/app/absent", "/app/url:1", "/app/url:9"];
    calls.push(json!(["get_parameters", {"Names": names, "WithDecryption": true}]));
    for number in 10..32 {
        let name = format!("/many/{number}");
        calls.push(put(json!({"Name": name, "Value": name, "Type": "String"})));
    }
    calls.extend([
        by_path(json!({"Path": "/app", "WithDecryption": true})),
        by_path(json!({"Path": "/app/", "Recursive": true, "WithDecryption": true})),
        by_path(json!({"Path": "/app", "Recursive": true, "WithDecryption": true,
            "ParameterFilters": [secure]})),
        by_path(json!({"Path": "/app", "ParameterFilters": [unknown]})),
        by_path(json!({"Path": "/many"})),
        by_path(json!({"Path": "/many", "PaginationConfig": {"PageSize": 4}})),
        by_path(json!({"Path": "/none"})),
        json!(["get_parameters_by_path", {"Path": "/app", "MaxResults": 11}]),
        json!(["delete_parameter", {"Name": "/app/url"}]),
        json!(["delete_parameter", {"Name": "/app/url"}]),
        get("/app/url"),
    ]);
    json!(calls)
}

/// Removes the parts of a report in which moto differs from AWS, and the dates.
fn comparable(mut report: Value) -> Value {
    // The messages of these errors differ between moto and AWS.
    for code in ["ParameterNotFound", "InvalidFilterKey", "ParameterVersionLabelLimitExceeded"] {
        if report["code"] == code {
            report["message"].take();
        }
    }
    if report["code"] == "ValidationException" {
        let message = report["message"].as_str().unwrap_or_default().to_owned();
        // moto ends some texts with a full stop, does not quote numbers, and has a shorter text for
        // names that start with `ssm`.
        let message = message.trim_end_matches('.').replace('\'', "");
        let end = message.find("(case-insensitive)").unwrap_or(message.len());
        report["message"] = json!(message[..end].replace("\"aws\" or ", ""));
    }
    let answer = &mut report["answer"];
    if let Some(parameter) = answer.get_mut("Parameter") {
        remove_differences(parameter);
    }
    if let Some(parameters) = answer.get_mut("Parameters").and_then(Value::as_array_mut) {
        parameters.iter_mut().for_each(remove_differences);
        parameters.sort_by_key(|it| (it["Name"].to_string(), it["Version"].as_u64()));
    }
    report
}

/// Removes the date of a parameter, and the selector (version or label), which moto does not
/// return.
fn remove_differences(parameter: &mut Value) {
    let parameter = parameter.as_object_mut().expect("the parameter must be an object");
    assert!(parameter.remove("LastModifiedDate").is_some_and(|date| date.is_number()));
    parameter.remove("Selector");
}

/// Makes the same boto3 calls to moto and to the fake AWS server. Both must give the same
/// responses, exceptions and numbers of attempts.
#[tokio::test]
async fn boto3_gets_the_same_answers_from_moto_and_from_the_fake() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let (moto, fake) = (Moto::start(&clients).await, start_fake().await);
    let calls = calls_for_both();
    let in_moto = boto3(&clients, &moto.endpoint(), &calls).await;
    let in_fake = boto3(&clients, &fake.url(), &calls).await;
    let calls = calls.as_array().expect("the calls must be a list");
    assert_eq!((in_moto.len(), in_fake.len()), (calls.len(), calls.len()));
    for ((call, moto), fake) in calls.iter().zip(in_moto).zip(in_fake) {
        assert_eq!(comparable(fake), comparable(moto), "{call}");
    }
}

/// Reads parameters for which moto differs from AWS, such as public parameters and parameters of
/// another account.
#[tokio::test]
async fn boto3_reads_what_moto_does_not_have() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let fake = start_fake().await;
    let parameters = fake.parameters();
    parameters.put("/app/url", "one").expect("the name is valid");
    parameters.put("/app/url", "two").expect("the name is valid");
    parameters.move_label("/app/url", "live", 1).expect("the version must exist");
    parameters.put("/app/password", ParameterValue::secure("hunter2")).expect("the name is valid");
    parameters.put("/aws/service/list/regions", "eu-north-1").expect("the name is valid");
    let other = Location::new("999988887777", "eu-west-1");
    let shared = parameters.put_in(&other, "/shared", "theirs").expect("the name is valid");
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    fake.secrets().create("key", vec![0, 255]).expect("the fake AWS server must create the secret");
    let label = json!({"Key": "Label", "Values": ["live"]});
    let calls = json!([
        get("/app/url:live"),
        ["get_parameters_by_path", {"Path": "/app", "ParameterFilters": [label]}],
        ["get_parameter", {"Name": "/app/password"}],
        get("/aws/service/list/regions"),
        get(&shared),
        get("/aws/reference/secretsmanager/app/db:AWSCURRENT"),
        get("/aws/reference/secretsmanager/key"),
        get("/aws/reference/secretsmanager/absent"),
    ]);
    let reports = boto3(&clients, &fake.url(), &calls).await;
    let answers: Vec<&Value> = reports.iter().map(|it| &it["answer"]["Parameter"]).collect();
    let live = json!({
        "ARN": format!("{ARN}/app/url"), "DataType": "text", "LastModifiedDate": 1_668_586_960_362_u64,
        "Name": "/app/url", "Selector": ":live", "Type": "String", "Value": "one", "Version": 1,
    });
    assert_eq!(answers[0], &live);
    let mut labelled = reports[1]["answer"]["Parameters"][0].clone();
    labelled["Selector"] = json!(":live");
    assert_eq!(labelled, live);
    let ciphertext = answers[2]["Value"].as_str().expect("the ciphertext must be a string");
    assert!(ciphertext.starts_with("AQICAH"), "{ciphertext}");
    assert_eq!(answers[3]["ARN"], "arn:aws:ssm:eu-north-1::parameter/aws/service/list/regions");
    assert_eq!(answers[4]["Value"], "theirs");

    let arn = fake.secrets().arn("app/db").expect("the secret exists");
    let version = fake.secrets().version_id("app/db", "AWSCURRENT").expect("the secret exists");
    let source = format!(
        r#"{{"ARN":"{arn}","name":"app/db","versionId":"{version}","secretString":"hunter2","versionStages":["AWSCURRENT"],"createdDate":"Nov 16, 2022, 8:22:40 AM"}}"#
    );
    let reference = json!({
        "ARN": arn, "LastModifiedDate": 1_668_586_960_362_u64,
        "Name": "/aws/reference/secretsmanager/app/db", "Selector": ":AWSCURRENT",
        "SourceResult": source, "Type": "SecureString", "Value": "hunter2", "Version": 0,
    });
    assert_eq!(answers[5], &reference);
    assert_eq!((answers[6].get("Value"), &answers[6]["Version"]), (None, &json!(0)));
    assert_eq!(reports[7]["error"], "ParameterNotFound");
}

/// boto3 raises a different exception for each failure of Parameter Store, and retries only
/// throttled calls.
#[tokio::test]
async fn boto3_raises_the_exceptions_of_parameter_store() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let fake = start_fake().await;
    for name in ["/a", "/denied", "/locked"] {
        fake.parameters().put(name, ParameterValue::secure("hunter2")).expect("the name is valid");
    }
    fake.faults().deny_parameter("/denied");
    fake.faults().break_parameter_key("/locked", true);
    fake.faults().script(Match::operation(GetParameters), [Fault::Throttle]);
    let calls = json!([
        get("/denied"),
        get("/locked"),
        ["get_parameter", {"Name": "/locked"}],
        ["get_parameters", {"Names": ["/a", "/b"]}],
        get("/a:9"),
        ["get_parameters_by_path", {"Path": "/", "NextToken": "x"}],
    ]);
    let reports = boto3(&clients, &fake.url(), &calls).await;
    let found: Vec<_> = reports.iter().map(|it| (it["error"].as_str(), &it["attempts"])).collect();
    let (once, twice) = (json!(1), json!(2));
    let expected = [
        (Some("AccessDeniedException"), &once),
        (Some("InvalidKeyId"), &once),
        (None, &once),
        (None, &twice),
        (Some("ParameterVersionNotFound"), &once),
        (Some("InvalidNextToken"), &once),
    ];
    assert_eq!(found, expected);
    assert_eq!(reports[3]["answer"]["InvalidParameters"], json!(["/b"]));
    assert_eq!(fake.calls().count_for(GetParameter, "/locked"), 2);
}
