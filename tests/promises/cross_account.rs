//! Tests that the commands in `docs/cross_account.md` work as written, with the fake AWS server. The
//! fake's role gets exactly the policies that these commands write.

use crate::clients::killed_with_test;
use crate::page_commands::{Block, blocks, check_output, script};
use crate::port::Port;
use crate::support::agent::REGION;
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::program::{PATH, SIDEKEY};
use crate::support::{TempFolder, fake};
use fake_aws::{Fake, Location};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/cross_account.md");

const READER: &str = "arn:aws:iam::210987654321:role/reader";

const APP: &str = "arn:aws:iam::123456789012:role/app";

fn policy(folder: &TempFolder, name: &str) -> Value {
    let text = std::fs::read_to_string(folder.path().join(name));
    let text = text.expect("the commands of the page must write the policy");
    let policy: Value = serde_json::from_str(&text).expect("the policy must be JSON");
    let statements = policy["Statement"].as_array().expect("the policy must have statements");
    assert_eq!(statements.len(), 1, "{policy}");
    statements[0].clone()
}

/// Gives the role in the fake the policies that the page's commands have written.
fn apply(fake: &Fake, folder: &TempFolder) {
    let trust = policy(folder, "trust.json");
    assert_eq!(trust["Principal"]["AWS"], APP);
    let external_id = trust["Condition"]["StringEquals"]["sts:ExternalId"].as_str();
    fake.roles().require_external_id(READER, external_id.expect("the trust policy has an id"));
    let reader = policy(folder, "reader.json");
    assert_eq!(reader["Action"], "secretsmanager:GetSecretValue");
    let arns = reader["Resource"].as_array().expect("the policy must have resources");
    let arns: Vec<&str> = arns.iter().filter_map(Value::as_str).collect();
    fake.roles().allow_only(READER, &arns);
    let app = policy(folder, "app.json");
    assert_eq!(app["Action"], "sts:AssumeRole");
    assert_eq!(app["Resource"][0], READER);
}

#[tokio::test]
async fn every_command_of_the_page_works() {
    let fake = fake(&ManualClock::new()).await;
    let theirs = Location::new("210987654321", REGION);
    let created = fake.secrets().create_in(&theirs, "shared/db", "value of the other account");
    created.expect("the fake AWS server must create the secret");
    let (folder, port) = (TempFolder::new(), Port::reserve());
    let own = Path::new(SIDEKEY).parent().expect("the path must be a folder");
    let vars = [
        ("PATH", format!("{}:{PATH}", own.display())),
        ("SIDEKEY_ENDPOINT", fake.url()),
        ("SIDEKEY_PORT", port.to_string()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIATESTS".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret-key-of-these-tests".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("SIDEKEY_UPSTREAM_TIMEOUT", "1m".to_owned()),
        ("SIDEKEY_READER_WAIT", "1m".to_owned()),
    ];
    let vars: BTreeMap<String, String> =
        vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let sections = ["## Create", "## Read a secret", "## Revoke"]
        .map(|heading| PAGE.find(heading).expect("the page must have this section"));
    let [create, read, revoke] = sections;
    let variables = blocks(&PAGE[..create]);
    assert_eq!(variables.len(), 1);
    let steps = [&PAGE[create..read], &PAGE[read..revoke], &PAGE[revoke..]];
    for (number, step) in steps.into_iter().enumerate() {
        match number {
            0 => {}
            1 => apply(&fake, &folder),
            _ => fake.roles().allow_only(READER, &[]),
        }
        let all: Vec<Block<'_>> = variables.iter().cloned().chain(blocks(step)).collect();
        let text = script(&all, folder.path());
        let done = Finished::run(killed_with_test("bash"), &vars, text.as_bytes()).await;
        let log = std::fs::read_to_string(folder.path().join("sidekey.log")).unwrap_or_default();
        assert_eq!(done.code, Some(0), "{}\n{}\n{log}", done.text(), done.err);
        check_output(&all, done.text());
        assert!(!log.contains("value of the other account"), "the log contains a value: {log}");
    }
}
