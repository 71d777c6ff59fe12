//! The functions in `examples` are functions as people write them: under the emulator each takes a batch
//! of SQS, sends with the credentials that its messages refer to, and hands back only what failed.

use crate::clients::{Clients, Missing, furnish};
use crate::emulator::{Emulator, Environment, Mode};
use crate::lambda::{Lambda, time_of_day};
use serde_json::{Value, json};
use sidekey::source::double::Double;
use std::path::{Path, PathBuf};

const TWILIO: &str = "whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio";
const OPENAI: &str = "openai-api-key/whatsapp";

const MAKE_EXECUTABLE: &[&str] = &["chmod", "+x", "bootstrap"];

fn python() -> Result<PathBuf, Missing> {
    let files = [
        ("bootstrap", include_str!("../runtimes/bootstrap.py")),
        ("handler.py", include_str!("../../../examples/python/handler.py")),
    ];
    furnish("example-python", &files, &[MAKE_EXECUTABLE])
}

fn node() -> Result<PathBuf, Missing> {
    let files = [
        ("bootstrap", include_str!("../runtimes/bootstrap.js")),
        ("handler.mjs", include_str!("../../../examples/node/handler.mjs")),
    ];
    furnish("example-node", &files, &[MAKE_EXECUTABLE, &found("node")])
}

fn go() -> Result<PathBuf, Missing> {
    let files = [
        ("main.go", include_str!("../../../examples/go/main.go")),
        ("go.mod", include_str!("../../../examples/go/go.mod")),
        ("go.sum", include_str!("../../../examples/go/go.sum")),
    ];
    let build = ["go", "build", "-mod=readonly", "-o", "task/bootstrap", "."];
    Ok(furnish("example-go", &files, &[&build])?.join("task"))
}

fn rust() -> Result<PathBuf, Missing> {
    let files = [
        ("src/main.rs", include_str!("../../../examples/rust/src/main.rs")),
        ("Cargo.toml", include_str!("../../../examples/rust/Cargo.toml")),
        ("Cargo.lock", include_str!("../../../examples/rust/Cargo.lock")),
    ];
    // Nobody debugs it, and so it is built in less time.
    let build = ["cargo", "build", "--quiet", "--locked", "--target-dir", "built"];
    let build = [&["env", "CARGO_PROFILE_DEV_DEBUG=false"], &build[..]].concat();
    let take = ["install", "-D", "built/debug/bootstrap", "task/bootstrap"];
    Ok(furnish("example-rust", &files, &[&build, &take])?.join("task"))
}

fn java() -> Result<PathBuf, Missing> {
    let files = [
        ("bootstrap", include_str!("../runtimes/bootstrap.sh")),
        ("Processor.java", include_str!("../../../examples/java/Processor.java")),
        ("pom.xml", include_str!("../../../examples/java/pom.xml")),
    ];
    let copy = [
        "mvn",
        "--batch-mode",
        "--quiet",
        "org.apache.maven.plugins:maven-dependency-plugin:3.11.0:copy-dependencies",
        "-DoutputDirectory=task",
    ];
    let build = ["javac", "-cp", "task/*", "-d", "task", "Processor.java"];
    let commands =
        [&copy[..], &build, MAKE_EXECUTABLE, &["mv", "bootstrap", "task"], &found("java")];
    Ok(furnish("example-java", &files, &commands)?.join("task"))
}

/// Returns a command that ends well where a program is among those that an environment can start.
fn found(program: &str) -> [&str; 4] {
    ["env", "PATH=/usr/local/bin:/usr/bin:/bin", program, "--version"]
}

/// Returns a record of SQS with a Context Object in it.
fn record(id: &str, credentials: &str) -> Value {
    let message = json!({
        "to": format!("reader of {id}"),
        "channel_config": {"whatsapp": {"credentials_id": credentials}},
        "ai_config": {"ai_api_key_reference": OPENAI},
    });
    json!({"messageId": id, "body": message.to_string(), "eventSource": "aws:sqs"})
}

/// Starts an environment around a function, in front of a double with its two secrets.
async fn started(function: &Path) -> Result<Lambda, Missing> {
    let double = Double::start(time_of_day()).await.expect("a free port");
    let twilio = json!({"twilio_account_sid": "AC-of-acme", "twilio_auth_token": "hunter2"});
    double.secrets().create(TWILIO, twilio.to_string()).expect("a new name");
    let openai = json!({"ai_api_key": "hunter2"});
    double.secrets().create(OPENAI, openai.to_string()).expect("a new name");
    let extension = Path::new(env!("CARGO_BIN_EXE_sidekey-extension"));
    let environment = Environment::new(Mode::OnDemand, extension, function)
        .env("SIDEKEY_ENDPOINT", double.url())
        .env("SIDEKEY_SECRETS", format!("{TWILIO} {OPENAI}"));
    let emulator = Emulator::start(&Clients::install()?, &environment).await?;
    Ok(Lambda { double, emulator })
}

/// Runs a function: two invocations, one call for each of its secrets, one message that cannot be sent,
/// and no secret in the log.
async fn sends(function: Result<PathBuf, Missing>) {
    let started = async { started(&function?).await };
    let lambda = match started.await {
        Ok(lambda) => lambda,
        Err(missing) => return missing.skip_or_fail(),
    };
    let batch = json!({"Records": [record("m-1", TWILIO), record("m-2", "nobodys/twilio")]});
    for _ in 0..2 {
        let (status, answer) = lambda.emulator.invoke(&batch).await;
        let failed = json!({"batchItemFailures": [{"itemIdentifier": "m-2"}]});
        assert_eq!((status, answer), (200, failed), "{}", lambda.emulator.log());
    }
    lambda.emulator.log_line("sent to reader of m-1 by account AC-of-acme").await;
    let failure = lambda.emulator.log_line("failed m-2").await;
    assert!(failure.contains("ResourceNotFoundException"), "{failure}");
    assert!(!lambda.emulator.log().contains("hunter2"), "{}", lambda.emulator.log());
    assert_eq!((lambda.calls_for(TWILIO), lambda.calls_for(OPENAI)), (1, 1));
    lambda.shut_down().await;
}

#[tokio::test]
async fn a_function_in_python_sends() {
    sends(python()).await;
}

#[tokio::test]
async fn a_function_in_node_sends() {
    sends(node()).await;
}

#[tokio::test]
async fn a_function_in_go_sends() {
    sends(go()).await;
}

#[tokio::test]
async fn a_function_in_java_sends() {
    sends(java()).await;
}

#[tokio::test]
async fn a_function_in_rust_sends() {
    sends(rust()).await;
}
