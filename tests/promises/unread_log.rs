//! Tests of a log that no process reads. The full pipe blocks only the thread that writes the log,
//! and no request.

use crate::clients::killed_with_test;
use crate::support::agent::{Setup, TOKEN_HEADER, read_request};
use crate::support::client::{Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::metrics::Metrics;
use crate::support::program::{PATH, SIDEKEY};
use crate::support::{TempFolder, eventually, fake, with_timeout};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use tokio::process::Command;

/// Standard error of the agent is a pipe that the test never reads. The agent must still answer
/// requests, and exit with code 0 at SIGTERM.
#[tokio::test]
async fn undrained_log_stops_nothing() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let folder = TempFolder::new();
    let socket = folder.path().join("s");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let setup = setup.with("SIDEKEY_LOG", "trace").with("SIDEKEY_SOCKET", socket.display());
    let mut command = Command::from(killed_with_test(SIDEKEY));
    command.arg("serve").env_clear().env("PATH", PATH).envs(setup.vars());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().expect("the test must be able to start the program");
    // The pipe stays open but is never read.
    let unread = program.stderr.take();
    eventually("the agent listens", async || socket.exists().then_some(())).await;
    let mut connection = Connection::open_socket(&socket).await;
    // Each restore causes one log line.
    let restores = request("POST", "/restore", &[TOKEN_HEADER], "").repeat(100);
    eventually("the agent drops log lines", async || {
        connection.send(&restores).await;
        for _ in 0..100 {
            assert_eq!(connection.receive().await.status, 204);
        }
        let page = connection.exchange(get("/metrics", &[TOKEN_HEADER])).await;
        let dropped = Metrics::parse(page.text()).get("sidekey_log_lines_dropped_total");
        (dropped > 0.0).then_some(())
    })
    .await;
    let read = connection.exchange(read_request("app/db")).await;
    assert_eq!((read.value().as_str(), read.status), ("hunter2", 200));
    assert_eq!(connection.exchange(get("/ping", &[TOKEN_HEADER])).await.status, 200);
    let id = program.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    kill_process(id.expect("the process id must be positive"), Signal::TERM)
        .expect("the program runs");
    let ended = with_timeout("the program ends", program.wait())
        .await
        .expect("the test must be able to wait for the child process");
    assert_eq!(ended.code(), Some(0));
    drop(unread);
}
