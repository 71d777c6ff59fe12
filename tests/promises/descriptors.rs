//! Tests that the agent reserves file descriptors for calls to AWS, so that connections of clients
//! cannot use all descriptors.

use crate::clients::killed_with_test;
use crate::support::agent::{Setup, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::program::Program;
use std::fs;
use tokio::net::TcpStream;

/// Starts the agent in a shell that first executes the `ulimit` commands in `limits`.
fn limited(setup: &Setup, limits: &str) -> Program {
    let mut command = killed_with_test("sh");
    command.args([
        "-c",
        &format!("{limits} && exec \"$0\" serve"),
        crate::support::program::SIDEKEY,
    ]);
    Program::run(command, setup.vars())
}

/// The agent may open 128 file descriptors, and hundreds of clients connect. The agent must still
/// call AWS for cached and for new secrets.
#[tokio::test]
async fn descriptors_are_reserved_for_calls() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    fake.secrets()
        .create("app/cold", "hunter3")
        .expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let program = limited(&setup, "ulimit -n 128");
    let address = program.address().await;
    let said = program.line("a limited number of files and sockets").await;
    assert!(said.contains("\"limit\":128") && said.contains("\"connections\":40"), "{said}");
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(
            TcpStream::connect(address).await.expect("the listener must accept the connection"),
        );
    }
    let mut authenticated = Vec::new();
    for _ in 0..100 {
        let mut connection = Connection::open(address).await;
        assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
        authenticated.push(connection);
    }
    let mut reader = Connection::open(address).await;
    let refreshed = get(&read_path("app/db&refreshNow=true"), &[TOKEN_HEADER]);
    assert_eq!(reader.exchange(refreshed).await.value(), "hunter2");
    assert_eq!(reader.exchange(read_request("app/cold")).await.value(), "hunter3");
    let open = fs::read_dir(format!("/proc/{}/fd", program.id())).map(Iterator::count);
    // Only root can list the file descriptors of the agent.
    assert!(open.ok().is_none_or(|open| open < 128));
}

#[tokio::test]
async fn soft_limit_is_raised_to_the_hard_limit() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let program = limited(&Setup::for_fake(&fake, &clock), "ulimit -Sn 100 && ulimit -Hn 700");
    program.address().await;
    let limits =
        fs::read_to_string(format!("/proc/{}/limits", program.id())).expect("the agent runs");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files: Vec<&str> = files
        .expect("the limits must contain the number of open files")
        .split_whitespace()
        .collect();
    assert_eq!(files, ["700", "700", "files"]);
    assert!(
        program.line("a limited number of files and sockets").await.contains("\"raised_from\":100")
    );
}
