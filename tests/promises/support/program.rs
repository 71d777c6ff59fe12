//! The `sidekey` program as a process of its own.

use super::eventually;
use crate::clients::tethered;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;

/// The program that is tested.
pub(crate) const SIDEKEY: &str = env!("CARGO_BIN_EXE_sidekey");

/// Where programs are found. Nothing else of whoever runs the tests is handed on.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts `sidekey` with these arguments, and with these variables alone.
    pub(crate) fn start(args: &[&str], vars: &BTreeMap<String, String>) -> Self {
        let mut command = tethered(SIDEKEY);
        command.args(args);
        Self::run(command, vars)
    }

    /// Runs a command with these variables alone.
    pub(crate) fn run(mut command: Command, vars: &BTreeMap<String, String>) -> Self {
        command.env_clear().env("PATH", PATH).envs(vars).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().expect("the program is built");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let reading = vec![
            tokio::spawn(collect(out.expect("it is piped"), lines.clone())),
            tokio::spawn(collect(err.expect("it is piped"), lines.clone())),
        ];
        Self { child, lines, reading }
    }

    /// Everything that was written so far, to either stream.
    pub(crate) fn output(&self) -> String {
        self.lines.lock().expect("no holder panics").join("\n")
    }

    /// Waits for a line that has `part` in it.
    pub(crate) async fn line(&self, part: &str) -> String {
        eventually(part, async || {
            let lines = self.lines.lock().expect("no holder panics");
            lines.iter().find(|line| line.contains(part)).cloned()
        })
        .await
    }

    /// Waits until `serve` says that it serves, and returns where.
    pub(crate) async fn address(&self) -> SocketAddr {
        let line: Value = serde_json::from_str(&self.line("sidekey serves").await).expect("JSON");
        let addresses = line["addresses"].as_str().expect("the addresses are a text");
        let first = addresses.split(' ').next().unwrap_or_default();
        first.parse().expect("an address")
    }

    /// Returns the process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the process has not ended")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id =
            i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("the id of a process");
        kill_process(id, signal).expect("the process has not ended");
    }

    /// Waits for its end, and returns its exit code with everything that it wrote.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let status = super::soon("the program ends", self.child.wait()).await;
        for reading in std::mem::take(&mut self.reading) {
            reading.await.expect("no panic in there");
        }
        (status.expect("a child that can be waited for").code(), self.output())
    }
}

async fn collect(stream: impl AsyncRead + Unpin, lines: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream).lines();
    while let Ok(Some(line)) = stream.next_line().await {
        lines.lock().expect("no holder panics").push(line);
    }
}
