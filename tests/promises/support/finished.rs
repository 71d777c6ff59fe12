//! A process that has ended, with its exit code and its output.

use super::program::{PATH, SIDEKEY};
use super::with_timeout;
use crate::clients::killed_with_test;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, Stdio};
use tokio::io::AsyncWriteExt;

/// The exit code and the output of a process that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Finished {
    /// Runs `sidekey` with these arguments and waits until it exits. The process has only the
    /// environment variables `vars` and `PATH`.
    pub(crate) async fn sidekey(
        args: &[impl AsRef<OsStr>],
        vars: &BTreeMap<String, String>,
        stdin: &[u8],
    ) -> Self {
        let mut command = killed_with_test(SIDEKEY);
        command.args(args);
        Self::run(command, vars, stdin).await
    }

    /// Runs a command and waits until it exits. The process has only the environment variables
    /// `vars` and `PATH`.
    pub(crate) async fn run(
        mut command: Command,
        vars: &BTreeMap<String, String>,
        stdin: &[u8],
    ) -> Self {
        command.env_clear().env("PATH", PATH).envs(vars);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut child =
            command.kill_on_drop(true).spawn().expect("the test must be able to start the program");
        let mut input = child.stdin.take().expect("the stream must be a pipe");
        let feed = async move {
            // A write error is fine: the process may exit without reading its input.
            let _ = input.write_all(stdin).await;
            drop(input);
        };
        let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = with_timeout("the program ends", ended)
            .await
            .expect("the test must be able to wait for the child process");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), out: output.stdout, err }
    }

    /// Returns standard output as text. Panics if standard output is not UTF-8.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.out).expect("the bytes must be UTF-8")
    }
}
