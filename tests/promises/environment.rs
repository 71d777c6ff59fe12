//! Tests with environment variables as shells, files, templates and Kubernetes set them.

use crate::support::agent::{REGION, Setup, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::program::Program;
use crate::support::{TempFolder, fake};
use rustix::process::Signal;
use std::collections::BTreeMap;

/// The variables that Kubernetes sets in a pod beside Services called `sidekey` and
/// `sidekey-metrics`.
const SERVICE_LINKS: [(&str, &str); 14] = [
    ("SIDEKEY_SERVICE_HOST", "10.96.3.4"),
    ("SIDEKEY_SERVICE_PORT", "9277"),
    ("SIDEKEY_PORT", "tcp://10.96.3.4:9277"),
    ("SIDEKEY_PORT_9277_TCP", "tcp://10.96.3.4:9277"),
    ("SIDEKEY_PORT_9277_TCP_PROTO", "tcp"),
    ("SIDEKEY_PORT_9277_TCP_PORT", "9277"),
    ("SIDEKEY_PORT_9277_TCP_ADDR", "10.96.3.4"),
    ("SIDEKEY_METRICS_SERVICE_HOST", "10.96.3.4"),
    ("SIDEKEY_METRICS_SERVICE_PORT", "9277"),
    ("SIDEKEY_METRICS_PORT", "tcp://10.96.3.4:9277"),
    ("SIDEKEY_METRICS_PORT_9277_TCP", "tcp://10.96.3.4:9277"),
    ("SIDEKEY_METRICS_PORT_9277_TCP_PROTO", "tcp"),
    ("SIDEKEY_METRICS_PORT_9277_TCP_PORT", "9277"),
    ("SIDEKEY_METRICS_PORT_9277_TCP_ADDR", "10.96.3.4"),
];

/// Kubernetes sets variables for the Services of a pod. `serve` and `exec` ignore these variables,
/// and use the port in the configuration file.
#[tokio::test]
async fn kubernetes_service_links_are_ignored() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let folder = TempFolder::new();
    let mut vars: BTreeMap<String, String> = Setup::for_fake(&fake, &clock).vars().clone();
    let config = folder.write("serve.toml", "port = 0\n");
    vars.insert("SIDEKEY_CONFIG".to_owned(), config.display().to_string());
    for (name, value) in SERVICE_LINKS {
        vars.insert(name.to_owned(), value.to_owned());
    }
    let agent = Program::start(&["serve"], &vars);
    let address = agent.address().await;

    let config = folder.write("exec.toml", &format!("port = {}\n", address.port()));
    vars.insert("SIDEKEY_CONFIG".to_owned(), config.display().to_string());
    vars.insert("SECRET".to_owned(), "sidekey:app/db".to_owned());
    let program = Program::start(&["exec", "sh", "-c", "echo $SECRET $SIDEKEY_PORT"], &vars);
    let expected = (Some(0), "hunter2 tcp://10.96.3.4:9277".to_owned());
    assert_eq!(program.ended().await, expected);
    agent.signal(Signal::TERM);
    let (code, log) = agent.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("SERVICE") && !log.contains("_TCP"), "{log}");
}

/// Some variables are empty, and others have white space or quotes around their values. The agent
/// must still find its region, credentials and token.
#[tokio::test]
async fn untidy_values_work_as_meant() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let folder = TempFolder::new();
    let token = folder.write("token", &format!("\u{feff}{TOKEN}\r\n"));
    let mut setup = Setup::for_fake(&fake, &clock)
        .without("SIDEKEY_TOKEN")
        .with("AWS_TOKEN", format!(" file://{}\n", token.display()))
        .with("AWS_ACCESS_KEY_ID", "AKIATESTS\n")
        .with("AWS_SECRET_ACCESS_KEY", "\u{feff}secret-key-of-these-tests ")
        .with("AWS_DEFAULT_REGION", format!("\"{REGION}\"\n"));
    for name in ["SIDEKEY_REGION", "SIDEKEY_TOKEN", "SIDEKEY_TTL", "SIDEKEY_SOCKET"] {
        setup = setup.with(name, "");
    }
    for name in ["AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"] {
        setup = setup.with(name, " ");
    }
    let sidekey = setup.with("AWS_SESSION_TOKEN", "").start().await;
    assert_eq!(sidekey.read("app/db").await.value(), "hunter2");
}

#[tokio::test]
async fn unusable_values_end_the_start() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let folder = TempFolder::new();
    let profile = folder.write("config", "[default]\nregion = Stockholm\n");
    let profile = profile.display().to_string();
    let setup = Setup::for_fake(&fake, &clock);
    for (name, value, reported) in [
        ("AWS_REGION", "Stockholm", "the value must be a region like eu-north-1"),
        ("AWS_SECRET_ACCESS_KEY", "hunter\n2", "character 7 is a line break"),
        ("AWS_SESSION_TOKEN", "hunter 2", "character 7 is a line break, a space"),
        ("SIDEKEY_TOKEN", "\"hunter2\"", "the value is in quotes"),
        ("SIDEKEY_ALLOW", "\"app/*\"", "the value is in quotes"),
        ("SIDEKEY_ALLOW", "", "the value must not be empty"),
        ("SIDEKEY_ALLOW", "app/{a,b}", "write one pattern for each alternative"),
        ("SIDEKEY_ALLOW", "^app/.*$", "a pattern is not a regular expression"),
        ("SIDEKEY_ALLOW", "[\"app/*\"]", "without quotes and brackets"),
        ("AWS_CONFIG_FILE", &profile, "the AWS profile has the region"),
    ] {
        let setup = setup.clone().without("SIDEKEY_REGION").with(name, value);
        let (code, log) = Program::start(&["serve"], setup.vars()).ended().await;
        assert_eq!(code, Some(2), "{name}: {log}");
        assert!(log.contains(reported) && !log.contains("hunter"), "{name}: {log}");
    }
}
