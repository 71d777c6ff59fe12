//! Tests that the commands in `docs/walkthrough.md` work as written, with the fake AWS server and
//! with moto.

use crate::clients::{Clients, killed_with_test};
use crate::moto::Moto;
use crate::page_commands::{blocks, check_output, script};
use crate::port::Port;
use crate::support::agent::REGION;
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::program::{PATH, SIDEKEY};
use crate::support::{TempFolder, fake};
use std::collections::BTreeMap;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/walkthrough.md");

/// Runs all commands of the page in one shell, with the Secrets Manager at `endpoint`. Compares the
/// output with the page.
async fn walk(clients: &Clients, endpoint: &str) {
    let (folder, port) = (TempFolder::new(), Port::reserve());
    let tools = clients.python().parent().expect("the path must be a folder").to_owned();
    let own = Path::new(SIDEKEY).parent().expect("the path must be a folder");
    let vars = [
        ("PATH", format!("{}:{}:{PATH}", own.display(), tools.display())),
        ("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python").to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.to_owned()),
        ("SIDEKEY_ENDPOINT", endpoint.to_owned()),
        ("SIDEKEY_PORT", port.to_string()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIATESTS".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret-key-of-these-tests".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("SIDEKEY_UPSTREAM_TIMEOUT", "1m".to_owned()),
        ("SIDEKEY_READER_WAIT", "1m".to_owned()),
    ];
    let vars: BTreeMap<String, String> =
        vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let blocks = blocks(PAGE);
    assert!(blocks.len() > 8, "{blocks:?}");
    let script = script(&blocks, folder.path());
    let done = Finished::run(killed_with_test("bash"), &vars, script.as_bytes()).await;
    let log = std::fs::read_to_string(folder.path().join("sidekey.log")).unwrap_or_default();
    assert_eq!(done.code, Some(0), "{}\n{}\n{log}", done.text(), done.err);
    check_output(&blocks, done.text());
    assert!(!log.contains("demo"), "the log contains a value: {log}");
    assert!(log.contains("AccessDeniedException") || log.contains("refused"), "{log}");
}

#[tokio::test]
async fn every_command_of_the_page_works_before_the_fake() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let fake = fake(&ManualClock::new()).await;
    walk(&clients, &fake.url()).await;
}

#[tokio::test]
async fn every_command_of_the_page_works_before_moto() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let moto = Moto::start(&clients).await;
    walk(&clients, &moto.endpoint()).await;
}
