//! A running program that takes steps and tells what came of them.

use crate::clients::Missing;
use crate::support::agent::REGION;
use crate::support::{Folder, soon};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A program in some language. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Asker {
    steps: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    complaints: PathBuf,
    _folder: Folder,
    _child: Child,
}

impl Asker {
    /// Starts a program that asks at `address` and shows `session`, with the variables that a function
    /// has and no others.
    pub(crate) fn start(
        mut command: Command,
        address: SocketAddr,
        session: &str,
    ) -> Result<Self, Missing> {
        let folder = Folder::new();
        let complaints = folder.path().join("stderr");
        let stderr = File::create(&complaints).expect("the folder can be written");
        command.env_clear().kill_on_drop(true);
        command
            .env("PATH", path())
            .env("LANG", "C.UTF-8")
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", format!("http://{address}"))
            .env("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", address.port().to_string())
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIATESTS")
            .env("AWS_SECRET_ACCESS_KEY", "key")
            .env("AWS_SESSION_TOKEN", session);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(Missing::new)?;
        let steps = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Ok(Self { steps, answers, complaints, _folder: folder, _child: child })
    }

    /// Has the program take a step, and returns what it tells of it.
    pub(crate) async fn step(&mut self, step: &str) -> Value {
        // A program that has ended is noticed by its answer.
        let _ = self.steps.write_all(format!("{step}\n").as_bytes()).await;
        let line = soon(step, self.answers.next_line()).await.expect("its output is text");
        let told = line.as_deref().and_then(|line| serde_json::from_str(line).ok());
        told.unwrap_or_else(|| {
            let complaints = fs::read_to_string(&self.complaints).unwrap_or_default();
            panic!("{step}: {line:?}\n{complaints}")
        })
    }
}

/// Where this machine has its programs: node and java are not at the same place everywhere.
#[expect(
    clippy::disallowed_methods,
    reason = "only the agent reads its variables through `config`"
)]
fn path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}
