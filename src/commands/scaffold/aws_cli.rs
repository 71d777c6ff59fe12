//! Runs the AWS CLI once for each secret.
//!
//! Sidekey passes the value of the secret through a pipe and not as an argument, because every user
//! of the machine can read the command lines of processes.

use super::shell::{Operation, command_words};
use crate::clock::{Clock, within};
use crate::printable::Printable;
use crate::secret::json_text::parsed;
use crate::secret::value::SecretValue;
use serde_json::Value;
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// How long Sidekey waits for one AWS CLI command. The AWS CLI itself waits only one minute for
/// AWS, so it can report a timeout of AWS first.
const COMMAND_WAIT_MAX: Duration = Duration::from_secs(120);

/// The maximum number of bytes that Sidekey reads from the error output of an AWS CLI command.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// The maximum number of characters that Sidekey shows of an error message of the AWS CLI.
const COMPLAINT_CHARS_MAX: usize = 500;

/// The argument that makes the AWS CLI read the secret's value from standard input.
const FROM_PIPE: &str = "file:///dev/stdin";

/// The minimum length, in characters, of the parts of a secret's value that Sidekey looks for in
/// error messages of the AWS CLI. Shorter parts would often match by chance.
const TELLING_CHARS: usize = 4;

#[derive(Debug)]
pub(super) struct AwsCli<'a> {
    pub(super) program: OsString,
    pub(super) region: Option<String>,
    pub(super) clock: &'a dyn Clock,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Updated,
    /// The secret to create exists already. The AWS CLI did not change the secret.
    Exists,
    Missing,
    /// The AWS CLI failed for this reason, which Sidekey shows to the user.
    Failed(String),
}

impl Outcome {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Exists => "exists",
            Self::Missing => "missing",
            Self::Failed(_) => "failed",
        }
    }

    /// Returns whether the command succeeded. A secret that exists already counts as a success, so
    /// that a user can run the same command again after a partial failure.
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::Exists)
    }
}

impl AwsCli<'_> {
    pub(super) async fn run(
        &self,
        operation: Operation,
        name: &str,
        value: &SecretValue,
    ) -> Outcome {
        let words = command_words(operation, "", name, FROM_PIPE, self.region.as_deref());
        let mut command = Command::new(&self.program);
        command.args(&words[1..]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        match within(self.clock, COMMAND_WAIT_MAX, complete(command, value)).await {
            Some(Ok((status, errors))) => outcome(operation, status, &errors, value),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                let program = self.program.display();
                Outcome::Failed(format!(
                    "the program {program} was not found; install the AWS CLI, or name its program with --aws"
                ))
            }
            Some(Err(error)) => Outcome::Failed(error.to_string()),
            None => {
                Outcome::Failed(format!("the AWS CLI did not finish within {COMMAND_WAIT_MAX:?}"))
            }
        }
    }
}

async fn complete(mut command: Command, value: &SecretValue) -> io::Result<(ExitStatus, String)> {
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let stderr = child.stderr.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A failed write to the pipe is ignored: if the command ends without reading the value,
            // its error output has the reason.
            let _ = stdin.write_all(value.expose()).await;
        }
    };
    let ((), errors, status) = tokio::join!(write, read(stderr), child.wait());
    Ok((status?, errors))
}

/// Reads the first [`OUTPUT_BYTES_MAX`] bytes of a command's output. Discards the rest, because the
/// command would block if nothing read its output.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream).take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn outcome(operation: Operation, status: ExitStatus, errors: &str, value: &SecretValue) -> Outcome {
    match operation {
        Operation::Create if status.success() => Outcome::Created,
        Operation::Update if status.success() => Outcome::Updated,
        Operation::Create if errors.contains("(ResourceExistsException)") => Outcome::Exists,
        Operation::Update if errors.contains("(ResourceNotFoundException)") => Outcome::Missing,
        _ => Outcome::Failed(failure(status, errors, value)),
    }
}

/// Returns the reason for a failed AWS CLI command: the last line of its error output. Hides this
/// line if it contains a part of the secret's value.
fn failure(status: ExitStatus, errors: &str, value: &SecretValue) -> String {
    let line = errors.trim().lines().last().unwrap_or_default();
    if line.is_empty() {
        return status.to_string();
    }
    if shows(line, value) {
        return format!(
            "{status}; Sidekey hides the error message, because the message contains the secret's value"
        );
    }
    Printable(line).to_string().chars().take(COMPLAINT_CHARS_MAX).collect()
}

/// Returns whether an error message contains the secret's value, or one of the strings in the
/// value's JSON.
fn shows(text: &str, value: &SecretValue) -> bool {
    str::from_utf8(value.expose()).is_ok_and(|part| shows_part(text, part))
        || parsed(value.expose()).is_ok_and(|json| shows_json(text, &json))
}

fn shows_json(text: &str, json: &Value) -> bool {
    match json {
        Value::String(part) => shows_part(text, part),
        Value::Array(all) => all.iter().any(|one| shows_json(text, one)),
        Value::Object(all) => all.values().any(|one| shows_json(text, one)),
        _ => false,
    }
}

fn shows_part(text: &str, part: &str) -> bool {
    part.chars().count() >= TELLING_CHARS && text.contains(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::os::unix::process::ExitStatusExt;

    fn value() -> SecretValue {
        SecretValue::from(r#"{"key":"hunter2","n":[{"deep":"hunter3"}],"cut":"\ud83d"}"#.to_owned())
    }

    #[track_caller]
    fn check(operation: Operation, code: i32, errors: &str, expected: Outcome) {
        let status = ExitStatus::from_raw(code << 8);
        assert_eq!(outcome(operation, status, errors, &value()), expected, "{errors}");
    }

    #[test]
    fn error_of_the_cli_is_reported_without_the_value() {
        check(Operation::Create, 0, "", Outcome::Created);
        check(Operation::Update, 0, "", Outcome::Updated);
        let exists = "\nAn error occurred (ResourceExistsException) when calling the CreateSecret \
                      operation: the secret exists\n";
        check(Operation::Create, 254, exists, Outcome::Exists);
        let missing = "An error occurred (ResourceNotFoundException) when calling x";
        check(Operation::Update, 254, missing, Outcome::Missing);
        check(Operation::Create, 254, missing, Outcome::Failed(missing.to_owned()));
        check(
            Operation::Create,
            253,
            "a\nUnable to\u{1b} x\n",
            Outcome::Failed("Unable to? x".into()),
        );
        check(Operation::Create, 1, " ", Outcome::Failed("exit status: 1".into()));
        let hidden = "exit status: 1; Sidekey hides the error message, because the message contains the secret's value";
        for part in ["hunter2", "hunter3"] {
            check(Operation::Update, 1, &format!("bad: {part}"), Outcome::Failed(hidden.into()));
        }
    }

    async fn ran(script: &str) -> Outcome {
        let clock = SystemClock::new();
        let program = "/bin/sh".into();
        let cli = AwsCli { program, region: None, clock: &clock };
        let mut command = Command::new(&cli.program);
        command.args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let (status, errors) =
            complete(command, &value()).await.expect("the test must be able to start a shell");
        outcome(Operation::Create, status, &errors, &value())
    }

    #[tokio::test]
    async fn value_goes_through_the_pipe() {
        let bytes = value().len();
        let is_complete = format!("test \"$(cat /dev/stdin | wc -c)\" -eq {bytes}");
        assert_eq!(ran(&is_complete).await, Outcome::Created);
        assert_eq!(ran("exit 3").await, Outcome::Failed("exit status: 3".to_owned()));
        // Output that exceeds the buffer of a pipe does not block the command.
        let much = "head -c 300000 /dev/zero | tr '\\0' x >&2; exit 0";
        assert_eq!(ran(much).await, Outcome::Created);
    }

    #[tokio::test]
    async fn missing_cli_is_reported() {
        let clock = SystemClock::new();
        let cli = AwsCli { program: "/nonexistent/aws".into(), region: None, clock: &clock };
        let outcome = cli.run(Operation::Create, "a", &value()).await;
        let expected = "the program /nonexistent/aws was not found; install the AWS CLI, or name its program with --aws";
        assert_eq!(outcome, Outcome::Failed(expected.to_owned()));
    }
}
