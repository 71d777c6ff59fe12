//! Tests that Sidekey's extension reads secrets of another account with an assumed role.

use crate::emulator::Mode;
use crate::lambda::{fake, start_or_skip};
use fake_aws::{Location, Operation};
use serde_json::json;
use std::path::Path;

const ROLE: &str = "arn:aws:iam::210987654321:role/reader";
const NAME: &str = "shared/db";

#[tokio::test]
async fn layer_reads_with_an_assumed_role() {
    let fake = fake().await;
    let theirs = Location::new("210987654321", "eu-north-1");
    fake.secrets().create_in(&theirs, NAME, "theirs").expect("the secret is new");
    fake.roles().create(ROLE);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("role.toml");
    let tables = format!("[[role]]\narn = \"{ROLE}\"\nmatch = [\"shared/*\"]\n");
    std::fs::write(&file, tables).expect("the folder for temporary files must be writable");
    let lambda = start_or_skip!(Mode::OnDemand, fake, |environment| {
        environment.env("SIDEKEY_CONFIG", file.display().to_string())
    });
    let answer = lambda.invoke(&[NAME, NAME]).await;
    for (read, cache) in [("miss", 0), ("hit", 1)].map(|(cache, n)| (&answer["reads"][n], cache)) {
        assert_eq!((&read["status"], &read["cache"]), (&json!(200), &json!(cache)), "{answer}");
    }
    assert_eq!(lambda.fake.calls().count(Operation::AssumeRole), 1);
    assert_eq!(lambda.calls_for(NAME), 1);
    lambda.shut_down().await;
}
