//! A running client program, which executes steps and prints their results.

use crate::clients::{MissingTool, path};
use crate::support::agent::REGION;
use crate::support::{TempFolder, with_timeout};
use serde_json::Value;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running client program. Dropping the value kills the program.
#[derive(Debug)]
pub(crate) struct ClientProgram {
    steps: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    complaints: PathBuf,
    _folder: TempFolder,
    _child: Child,
}

impl ClientProgram {
    /// Starts a client program that calls Sidekey at `address` with the token `session`. The
    /// program has only the environment variables of a Lambda function.
    pub(crate) fn start(
        mut command: Command,
        address: SocketAddr,
        session: &str,
    ) -> Result<Self, MissingTool> {
        let folder = TempFolder::new();
        let complaints = folder.path().join("stderr");
        let stderr = File::create(&complaints).expect("the test must be able to write the folder");
        command.env_clear().kill_on_drop(true);
        command
            .env("PATH", path())
            .env("LANG", "C.UTF-8")
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", format!("http://{address}"))
            .env("AWS_ENDPOINT_URL_SSM", format!("http://{address}"))
            .env("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", address.port().to_string())
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIATESTS")
            .env("AWS_SECRET_ACCESS_KEY", "key")
            .env("AWS_SESSION_TOKEN", session);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(MissingTool::new)?;
        let steps = child.stdin.take().expect("the stream must be a pipe");
        let answers =
            BufReader::new(child.stdout.take().expect("the stream must be a pipe")).lines();
        Ok(Self { steps, answers, complaints, _folder: folder, _child: child })
    }

    /// Sends one step to the client program, and returns the program's result.
    pub(crate) async fn step(&mut self, step: &str) -> Value {
        // A write error is ignored, because the missing answer reveals that the program has ended.
        let _ = self.steps.write_all(format!("{step}\n").as_bytes()).await;
        let line = with_timeout(step, self.answers.next_line())
            .await
            .expect("the output of the client program must be UTF-8");
        let reported = line.as_deref().and_then(|line| serde_json::from_str(line).ok());
        reported.unwrap_or_else(|| {
            let complaints = fs::read_to_string(&self.complaints).unwrap_or_default();
            panic!("{step}: {line:?}\n{complaints}")
        })
    }
}
