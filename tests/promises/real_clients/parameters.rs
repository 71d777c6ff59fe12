//! Tests that the same clients can read parameters of Parameter Store through Sidekey.

use super::language::{GO, JAVA, Language, NODE, PYTHON, SHELL};
use super::{OBJECT, Scene, TEXT, answer};
use crate::clients::MissingTool;
use crate::support::agent::TOKEN;
use fake_aws::Operation::{GetParameter, GetParameters, GetParametersByPath};
use fake_aws::{Fake, Fault, Match, ParameterValue};
use serde_json::{Value, json};

/// The time of the fake AWS server, in milliseconds since 1970.
const NOW: u64 = 1_569_534_789_046;

/// The number of parameters directly below the path `/many`. AWS returns ten on one page.
const MANY: usize = 12;

/// Adds parameters to the fake AWS server. Some of them cannot be read.
fn add_parameters(fake: &Fake) {
    let parameters = fake.parameters();
    let put = |name: &str, value: ParameterValue| {
        parameters.put(name, value).expect("the name must be valid");
    };
    put("/app/url", "the first".into());
    put("/app/url", TEXT.into());
    parameters.move_label("/app/url", "live", 1).expect("the version must exist");
    put("/app/hosts", ParameterValue::list(["a", "b"]));
    put("/app/password", ParameterValue::secure("hunter2"));
    put("/app/config.json", OBJECT.into());
    put("/aws/service/list/regions", "eu-north-1".into());
    for number in 0..MANY {
        put(&format!("/many/{number:02}"), "x".into());
    }
    put("/many/deep/12", "x".into());
    for name in ["/cold", "/denied", "/throttled"] {
        put(name, "hunter2".into());
    }
    fake.faults().deny_parameter("/denied");
    fake.faults().always(Match::parameter("/throttled"), Fault::Throttle);
    fake.secrets().create("app/db", OBJECT).expect("the fake AWS server must create the secret");
}

/// Returns a parameter as the client programs report it.
fn parameter(name: &str, kind: &str, value: &str, version: u64, selector: &str) -> Value {
    let account = if name.starts_with("/aws/") { "" } else { "123456789012" };
    json!({
        "arn": format!("arn:aws:ssm:eu-north-1:{account}:parameter{name}"),
        "name": name,
        "type": kind,
        "value": value,
        "version": version,
        "selector": selector,
        "date": NOW,
    })
}

fn url() -> Value {
    parameter("/app/url", "String", TEXT, 2, "")
}

fn password() -> Value {
    parameter("/app/password", "SecureString", "hunter2", 1, "")
}

/// Returns the parameters below the path `/app`, in the order of their names.
fn app() -> [Value; 4] {
    [
        parameter("/app/config.json", "String", OBJECT, 1, ""),
        parameter("/app/hosts", "StringList", "a,b", 1, ""),
        password(),
        url(),
    ]
}

/// Reads parameters with AWS's SDK.
async fn check_reads(scene: &mut Scene) {
    let first = |selector| parameter("/app/url", "String", "the first", 1, selector);
    let region = "/aws/service/list/regions";
    for (step, expected) in [
        ("get /app/url", url()),
        ("get arn:aws:ssm:eu-north-1:123456789012:parameter/app/url", url()),
        ("get /app/url:1", first(":1")),
        ("get /app/url:live", first(":live")),
        ("get /app/hosts", parameter("/app/hosts", "StringList", "a,b", 1, "")),
        ("get /app/password", password()),
        ("get /aws/service/list/regions", parameter(region, "String", "eu-north-1", 1, "")),
        (
            "all /app/url,/app/password,/absent",
            json!({"values": [url(), password()], "invalid": ["/absent"]}),
        ),
        ("path /app recursive=false", json!({"values": app()})),
    ] {
        scene.answers(&format!("ssm {step}"), expected).await;
    }
    let language = scene.language.name;
    let (reported, _) = scene.step("ssm get /app/password decrypt=false").await;
    let ciphertext = reported["value"].as_str().expect("the ciphertext must be a string");
    assert!(ciphertext.starts_with("AQICAH"), "{language}: {ciphertext}");

    let reference = "/aws/reference/secretsmanager/app/db";
    let (reported, _) = scene.step(&format!("ssm get {reference}")).await;
    let read = [&reported["name"], &reported["value"], &reported["version"]];
    assert_eq!(read, [&json!(reference), &json!(OBJECT), &json!(0)], "{language}");

    for (step, length) in [("recursive=false", MANY), ("recursive=true", MANY + 1)] {
        let (reported, counted) = scene.step(&format!("ssm path /many {step}")).await;
        let values = reported["values"].as_array().expect("the values must be a list");
        assert_eq!((values.len(), counted.requests()), (length, 2.0), "{language}: {step}");
    }
}

/// AWS's SDK raises the errors of Parameter Store, and retries only temporary errors.
async fn check_errors(scene: &mut Scene) {
    let Language { parameter_errors: errors, attempts, .. } = scene.language;
    for (step, class, code, attempts, words) in [
        ("get /absent", errors.not_found, "ParameterNotFound", 1, ""),
        ("get /app/url:9", errors.no_version, "ParameterVersionNotFound", 1, "version 9"),
        ("get /app/url:none", errors.no_version, "ParameterVersionNotFound", 1, "version none"),
        ("get /denied", errors.denied, "AccessDeniedException", 1, "not authorized"),
        ("all /app/url,/denied", errors.denied, "AccessDeniedException", 1, "not authorized"),
        ("get /throttled", errors.throttled, "ThrottlingException", *attempts, "Rate exceeded"),
        (
            "put /app/url",
            errors.unsupported,
            "UnsupportedOperationException",
            1,
            "reach AWS directly",
        ),
    ] {
        let message = scene.raises(&format!("ssm {step}"), class, code, attempts).await;
        assert!(message.contains(words), "{}: {step}: {message}", scene.language.name);
    }
}

/// Many reads at once of one parameter cause one call to AWS.
async fn check_many(scene: &mut Scene) {
    let Language { name: language, reads, .. } = *scene.language;
    let calls = |scene: &Scene| {
        let operations = [GetParameter, GetParameters, GetParametersByPath];
        operations.map(|operation| scene.fake.calls().count(operation)).iter().sum::<u64>()
    };
    let before = calls(scene);
    let (reported, counted) = scene.step(&format!("ssm many /cold times={reads}")).await;
    assert_eq!(reported, json!({"distinct": ["hunter2"]}), "{language}");
    assert_eq!((counted.requests(), calls(scene) - before), (f64::from(reads), 1), "{language}");
}

/// Plain HTTP clients read parameters and secrets from the same port, as from AWS's Lambda
/// extension.
async fn check_plain_http(scene: &mut Scene) {
    let of = |name: &str, kind: &str, value: &str, version: u64, selector: &str| {
        format!(
            r#"{{"Parameter":{{"ARN":"arn:aws:ssm:eu-north-1:123456789012:parameter{name}","DataType":"text","LastModifiedDate":"2019-09-26T21:53:09.046Z","Name":"{name}","Selector":{selector},"SourceResult":null,"Type":"{kind}","Value":{value},"Version":{version}}},"ResultMetadata":{{}}}}"#
        )
    };
    let config = of(
        "/app/config.json",
        "String",
        r#""{\"user\":\"\u003cann\u003e \u0026 co\"}""#,
        1,
        "null",
    );
    let first = |selector| of("/app/url", "String", r#""the first""#, 1, selector);
    for (query, body) in [
        ("?name=%2Fapp%2Fconfig.json", config.clone()),
        // The request of middy's middleware for AWS's extension.
        ("/?withDecryption=true&name=/app/config.json", config),
        ("?name=%2Fapp%2Furl&version=1", first(r#"":1""#)),
        ("/?name=/app/url&label=live", first(r#"":live""#)),
        (
            "?name=/app/password&withDecryption=true",
            of("/app/password", "SecureString", r#""hunter2""#, 1, "null"),
        ),
    ] {
        let step = format!("http get /systemsmanager/parameters/get{query}");
        scene.answers(&step, answer(200, "application/json", &body)).await;
    }
    let (reported, _) = scene.step("http get /secretsmanager/get?secretId=app/db").await;
    assert_eq!(reported["status"], 200, "{}: {reported}", scene.language.name);
    for (name, code) in [
        ("/absent", "ParameterNotFound"),
        ("/app/url&version=9", "ParameterVersionNotFound"),
        ("/denied", "AccessDeniedException"),
    ] {
        let step = format!("http get /systemsmanager/parameters/get?name={name}");
        let (reported, counted) = scene.step(&step).await;
        let body = reported["body"].as_str().expect("the body must be a string");
        let start = format!("an unexpected error occurred while executing request: {code}: ");
        assert!(body.starts_with(&start), "{}: {body}", scene.language.name);
        assert_eq!((&reported["status"], counted.requests()), (&json!(400), 1.0));
    }
}

/// Returns steps of the library `name`. Each has the number of requests that the library makes, and
/// the expected result.
fn library_steps(name: &str) -> Vec<(&'static str, f64, Value)> {
    let object: Value = serde_json::from_str(OBJECT).expect("the text must be JSON");
    match name {
        "powertools" => vec![
            ("parameter /app/url", 1.0, json!({"value": TEXT})),
            ("parameter /app/password", 1.0, json!({"value": "hunter2"})),
            ("parameter /app/config.json transform=json", 1.0, json!({"value": object})),
            (
                "path /app",
                1.0,
                json!({"values": {"config.json": OBJECT, "hosts": "a,b", "password": "hunter2",
                    "url": TEXT}}),
            ),
            // One call for the decrypted parameter, and one for all others.
            (
                "named /app/hosts,/app/config.json,/app/password,/absent",
                2.0,
                json!({"values": {"/app/hosts": "a,b", "/app/config.json": object,
                    "/app/password": "hunter2", "_errors": ["/absent"]}}),
            ),
        ],
        "middy" => vec![(
            "parameters /app/url,/app/hosts,/app/config.json,/app/",
            2.0,
            json!({"values": {
                "url": TEXT,
                "hosts": ["a", "b"],
                "config_json": object,
                "path": {"config_json": object, "hosts": ["a", "b"], "password": "hunter2",
                    "url": TEXT},
            }}),
        )],
        _ => Vec::new(),
    }
}

/// Reads parameters with libraries that use AWS's SDK.
async fn check_libraries(scene: &mut Scene) {
    let language = scene.language;
    for library in language.libraries {
        for (step, requests, expected) in library_steps(library.name) {
            let (reported, counted) = scene.step(&format!("{} {step}", library.name)).await;
            let expected = (expected, requests);
            assert_eq!((reported, counted.requests()), expected, "{}: {step}", language.name);
        }
        let step = match library.name {
            "powertools" => "powertools parameter /absent",
            "middy" => "middy parameters /absent",
            _ => continue,
        };
        let (reported, counted) = scene.step(step).await;
        assert_eq!(reported["error"], library.not_found, "{}: {reported}", language.name);
        assert_eq!(counted.requests(), 1.0, "{}: {step}", language.name);
    }
}

/// Runs all checks of this file for one language.
async fn check_language(language: &'static Language) -> Result<(), MissingTool> {
    let mut scene = Scene::filled_by(add_parameters, language, "extension", TOKEN).await?;
    check_reads(&mut scene).await;
    check_errors(&mut scene).await;
    check_many(&mut scene).await;
    check_plain_http(&mut scene).await;
    check_libraries(&mut scene).await;
    Ok(())
}

async fn skip_or_check(language: &'static Language) {
    if let Err(missing) = check_language(language).await {
        missing.skip_or_fail();
    }
}

#[tokio::test]
async fn python_reads_parameters() {
    skip_or_check(&PYTHON).await;
}

#[tokio::test]
async fn the_shell_reads_parameters() {
    skip_or_check(&SHELL).await;
}

#[tokio::test]
async fn node_reads_parameters() {
    skip_or_check(&NODE).await;
}

#[tokio::test]
async fn go_reads_parameters() {
    skip_or_check(&GO).await;
}

#[tokio::test]
async fn java_reads_parameters() {
    skip_or_check(&JAVA).await;
}
