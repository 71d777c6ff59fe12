//! The AWS CLI, run once for each secret. The value goes through a pipe: a command line can be read by
//! everybody on the machine.

use super::shell::{Deed, words};
use crate::clock::{Clock, within};
use crate::printable::Printable;
use crate::secret::value::SecretValue;
use serde_json::Value;
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// How long one command may take: the CLI itself gives up on AWS after a minute.
const COMMAND_WAIT_MAX: Duration = Duration::from_secs(120);

/// The most bytes of what a command writes that are looked at.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// The most characters of its complaint that are told.
const COMPLAINT_CHARS_MAX: usize = 500;

/// What stands for the value on the command line.
const FROM_PIPE: &str = "file:///dev/stdin";

/// The shortest text of a value that a complaint is looked through for.
const TELLING_CHARS: usize = 4;

/// How to run it.
#[derive(Debug)]
pub(super) struct AwsCli<'a> {
    pub(super) program: OsString,
    pub(super) region: Option<String>,
    pub(super) clock: &'a dyn Clock,
}

/// What became of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Updated,
    /// It was there, and was left as it was.
    Exists,
    /// It is not there, so that it can have no value.
    Missing,
    Failed(String),
}

impl Outcome {
    /// Returns the outcome's name for programs and people.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Exists => "exists",
            Self::Missing => "missing",
            Self::Failed(_) => "failed",
        }
    }

    /// Returns whether the secret is as it was to become. One that was there already is nobody's
    /// failure.
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::Exists)
    }
}

impl AwsCli<'_> {
    /// Runs one command to its end.
    pub(super) async fn run(&self, deed: Deed, name: &str, value: &SecretValue) -> Outcome {
        let words = words(deed, "", name, FROM_PIPE, self.region.as_deref());
        let mut command = Command::new(&self.program);
        command.args(&words[1..]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        match within(self.clock, COMMAND_WAIT_MAX, ended(command, value)).await {
            Some(Ok((status, complaint))) => outcome(deed, status, &complaint, value),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                let program = self.program.display();
                Outcome::Failed(format!("{program} is not there; --aws says where the AWS CLI is"))
            }
            Some(Err(error)) => Outcome::Failed(error.to_string()),
            None => Outcome::Failed(format!("no end within {COMMAND_WAIT_MAX:?}")),
        }
    }
}

/// Hands the value over, and returns how the command ended and what it complained of.
async fn ended(mut command: Command, value: &SecretValue) -> io::Result<(ExitStatus, String)> {
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let stderr = child.stderr.take();
    let handing = async {
        if let Some(mut stdin) = stdin {
            // A command that ends without reading says why itself.
            let _ = stdin.write_all(value.expose()).await;
        }
    };
    let ((), complaint, status) = tokio::join!(handing, read(stderr), child.wait());
    Ok((status?, complaint))
}

/// Reads what is looked at, and the rest for nobody, so that the command does not wait.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream).take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn outcome(deed: Deed, status: ExitStatus, complaint: &str, value: &SecretValue) -> Outcome {
    let has = |code: &str| complaint.contains(&format!("({code})"));
    match deed {
        Deed::Create if status.success() => Outcome::Created,
        Deed::Update if status.success() => Outcome::Updated,
        Deed::Create if has("ResourceExistsException") => Outcome::Exists,
        Deed::Update if has("ResourceNotFoundException") => Outcome::Missing,
        _ => Outcome::Failed(told(status, complaint, value)),
    }
}

/// Returns the last line of a complaint, unless there is something of the value in it.
fn told(status: ExitStatus, complaint: &str, value: &SecretValue) -> String {
    let line = complaint.trim().lines().last().unwrap_or_default();
    if line.is_empty() {
        return status.to_string();
    }
    if shows(line, value) {
        return format!("{status}; what it said is kept back, since the value is in it");
    }
    Printable(line).to_string().chars().take(COMPLAINT_CHARS_MAX).collect()
}

/// Returns whether a text shows the value, or one of the texts in it.
fn shows(text: &str, value: &SecretValue) -> bool {
    fn any(value: &Value, test: &dyn Fn(&str) -> bool) -> bool {
        match value {
            Value::String(text) => test(text),
            Value::Array(all) => all.iter().any(|one| any(one, test)),
            Value::Object(all) => all.values().any(|one| any(one, test)),
            _ => false,
        }
    }
    let is_in = |part: &str| part.chars().count() >= TELLING_CHARS && text.contains(part);
    str::from_utf8(value.expose()).is_ok_and(is_in)
        || serde_json::from_slice(value.expose()).is_ok_and(|value| any(&value, &is_in))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::os::unix::process::ExitStatusExt;

    fn value() -> SecretValue {
        SecretValue::from(r#"{"key":"hunter2","n":[{"deep":"hunter3"}]}"#.to_owned())
    }

    #[track_caller]
    fn check(deed: Deed, code: i32, complaint: &str, expected: Outcome) {
        let status = ExitStatus::from_raw(code << 8);
        assert_eq!(outcome(deed, status, complaint, &value()), expected, "{complaint}");
    }

    #[test]
    fn what_the_cli_says_is_told_without_the_value() {
        check(Deed::Create, 0, "", Outcome::Created);
        check(Deed::Update, 0, "", Outcome::Updated);
        let exists = "\nAn error occurred (ResourceExistsException) when calling the CreateSecret \
                      operation: it is there\n";
        check(Deed::Create, 254, exists, Outcome::Exists);
        let missing = "An error occurred (ResourceNotFoundException) when calling: none";
        check(Deed::Update, 254, missing, Outcome::Missing);
        check(Deed::Create, 254, missing, Outcome::Failed(missing.to_owned()));
        check(Deed::Create, 253, "a\nUnable to\u{1b} x\n", Outcome::Failed("Unable to? x".into()));
        check(Deed::Create, 1, " ", Outcome::Failed("exit status: 1".into()));
        let kept = "exit status: 1; what it said is kept back, since the value is in it";
        for part in ["hunter2", "hunter3"] {
            check(Deed::Update, 1, &format!("bad: {part}"), Outcome::Failed(kept.into()));
        }
    }

    async fn ran(script: &str) -> Outcome {
        let clock = SystemClock::new();
        let program = "/bin/sh".into();
        let cli = AwsCli { program, region: None, clock: &clock };
        let mut command = Command::new(&cli.program);
        command.args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let (status, complaint) = ended(command, &value()).await.expect("a shell");
        outcome(Deed::Create, status, &complaint, &value())
    }

    #[tokio::test]
    async fn the_value_goes_through_the_pipe() {
        let bytes = value().len();
        let is_whole = format!("test \"$(cat /dev/stdin | wc -c)\" -eq {bytes}");
        assert_eq!(ran(&is_whole).await, Outcome::Created);
        assert_eq!(ran("exit 3").await, Outcome::Failed("exit status: 3".to_owned()));
        // More than a pipe holds does not hold the command up.
        let much = "head -c 300000 /dev/zero | tr '\\0' x >&2; exit 0";
        assert_eq!(ran(much).await, Outcome::Created);
    }

    #[tokio::test]
    async fn a_cli_that_is_not_there_is_told() {
        let clock = SystemClock::new();
        let cli = AwsCli { program: "/nonexistent/aws".into(), region: None, clock: &clock };
        let told = cli.run(Deed::Create, "a", &value()).await;
        let expected = "/nonexistent/aws is not there; --aws says where the AWS CLI is";
        assert_eq!(told, Outcome::Failed(expected.to_owned()));
    }
}
