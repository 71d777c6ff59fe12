//! Connections never take the descriptors that calls to AWS need.

use crate::clients::tethered;
use crate::support::agent::{Setup, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::program::Program;
use std::fs;
use tokio::net::TcpStream;

/// Starts the agent in a shell that sets these limits of descriptors.
fn limited(setup: &Setup, limits: &str) -> Program {
    let mut command = tethered("sh");
    command.args([
        "-c",
        &format!("{limits} && exec \"$0\" serve"),
        crate::support::program::SIDEKEY,
    ]);
    Program::run(command, setup.vars())
}

/// With 128 descriptors for everything, and hundreds of connections that show no token and some that
/// do, a secret is refreshed and another is read for the first time.
#[tokio::test]
async fn descriptors_are_reserved_for_calls() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("a new name");
    fake.secrets().create("app/cold", "hunter3").expect("a new name");
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let program = limited(&setup, "ulimit -n 128");
    let address = program.address().await;
    let said = program.line("some are reserved for").await;
    assert!(said.contains("\"limit\":128") && said.contains("\"connections\":40"), "{said}");
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(address).await.expect("it accepts"));
    }
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut connection = Connection::open(address).await;
        assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
        kept.push(connection);
    }
    let mut reader = Connection::open(address).await;
    let refreshed = get(&read_path("app/db&refreshNow=true"), &[TOKEN_HEADER]);
    assert_eq!(reader.exchange(refreshed).await.value(), "hunter2");
    assert_eq!(reader.exchange(read_request("app/cold")).await.value(), "hunter3");
    let open = fs::read_dir(format!("/proc/{}/fd", program.id())).map(Iterator::count);
    // Only root sees them.
    assert!(open.ok().is_none_or(|open| open < 128));
}

#[tokio::test]
async fn soft_limit_is_raised_to_the_hard_limit() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let program = limited(&Setup::of(&fake, &clock), "ulimit -Sn 100 && ulimit -Hn 700");
    program.address().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", program.id())).expect("it runs");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files: Vec<&str> = files.expect("a line").split_whitespace().collect();
    assert_eq!(files, ["700", "700", "files"]);
    assert!(program.line("some are reserved for").await.contains("\"raised_from\":100"));
}
