//! The `sidekey` program as a child process.

use super::eventually;
use crate::clients::killed_with_test;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;

/// The path of the `sidekey` program under test.
pub(crate) const SIDEKEY: &str = env!("CARGO_BIN_EXE_sidekey");

/// The variable `PATH` of child processes, which inherit no environment variable of the test
/// process.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running child process. Dropping this value kills the process.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts `sidekey` with these arguments. The process has only the environment variables `vars`
    /// and `PATH`.
    pub(crate) fn start(args: &[&str], vars: &BTreeMap<String, String>) -> Self {
        let mut command = killed_with_test(SIDEKEY);
        command.args(args);
        Self::run(command, vars)
    }

    /// Starts a command. The process has only the environment variables `vars` and `PATH`.
    pub(crate) fn run(mut command: Command, vars: &BTreeMap<String, String>) -> Self {
        command.env_clear().env("PATH", PATH).envs(vars).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut child =
            command.kill_on_drop(true).spawn().expect("the test must be able to start the program");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let reading = vec![
            tokio::spawn(collect(out.expect("the stream must be a pipe"), lines.clone())),
            tokio::spawn(collect(err.expect("the stream must be a pipe"), lines.clone())),
        ];
        Self { child, lines, reading }
    }

    /// Returns everything that the process has written to standard output and to standard error.
    pub(crate) fn output(&self) -> String {
        self.lines.lock().expect("no thread may panic while it holds the lock").join("\n")
    }

    /// Waits until the process writes a line that contains `part`, and returns the line.
    pub(crate) async fn line(&self, part: &str) -> String {
        eventually(part, async || {
            let lines = self.lines.lock().expect("no thread may panic while it holds the lock");
            lines.iter().find(|line| line.contains(part)).cloned()
        })
        .await
    }

    /// Waits until `sidekey serve` logs its addresses, and returns the first address.
    pub(crate) async fn address(&self) -> SocketAddr {
        let line: Value =
            serde_json::from_str(&self.line("sidekey serves").await).expect("the text is JSON");
        let addresses =
            line["addresses"].as_str().expect("the addresses in the log must be a string");
        let first = addresses.split(' ').next().unwrap_or_default();
        first.parse().expect("the address must be valid")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the process must still run")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("the process id must be positive");
        kill_process(id, signal).expect("the process must still run");
    }

    /// Waits until the process exits. Returns its exit code and everything that it wrote.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let status = super::with_timeout("the program ends", self.child.wait()).await;
        for reading in std::mem::take(&mut self.reading) {
            reading.await.expect("the task must not panic");
        }
        (status.expect("the test must be able to wait for the child process").code(), self.output())
    }
}

async fn collect(stream: impl AsyncRead + Unpin, lines: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream).lines();
    while let Ok(Some(line)) = stream.next_line().await {
        lines.lock().expect("no thread may panic while it holds the lock").push(line);
    }
}
