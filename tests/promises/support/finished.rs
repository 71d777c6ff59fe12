//! The `sidekey` program, run to its end: its exit code, and each of its streams.

use super::program::{PATH, SIDEKEY};
use super::soon;
use crate::clients::tethered;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, Stdio};
use tokio::io::AsyncWriteExt;

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Finished {
    /// Runs `sidekey` with these arguments, and with these variables alone.
    pub(crate) async fn sidekey(
        args: &[impl AsRef<OsStr>],
        vars: &BTreeMap<String, String>,
        stdin: &[u8],
    ) -> Self {
        let mut command = tethered(SIDEKEY);
        command.args(args);
        Self::run(command, vars, stdin).await
    }

    /// Runs a command with these variables alone.
    pub(crate) async fn run(
        mut command: Command,
        vars: &BTreeMap<String, String>,
        stdin: &[u8],
    ) -> Self {
        command.env_clear().env("PATH", PATH).envs(vars);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().expect("the program is there");
        let mut input = child.stdin.take().expect("it is piped");
        let given = async move {
            // A program that ends without reading has its reasons.
            let _ = input.write_all(stdin).await;
            drop(input);
        };
        let ended = async { tokio::join!(given, child.wait_with_output()).1 };
        let output = soon("the program ends", ended).await.expect("a child that can be waited for");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), out: output.stdout, err }
    }

    /// Returns what was written to standard output, where it is text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.out).expect("text")
    }
}
