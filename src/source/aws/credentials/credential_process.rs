//! Runs the `credential_process` of an AWS profile: a program that prints AWS credentials as JSON.
//!
//! The AWS SDK can run such a program too, but it never ends a program that hangs.

use crate::clock::{Clock, within};
use crate::source::aws::aws_error::{ErrorOutput, ProcessFailure};
use aws_config::profile::ProfileSet;
use aws_credential_types::Credentials;
use aws_smithy_types::date_time::{DateTime, Format};
use futures_util::FutureExt;
use process_wrap::tokio::{CommandWrap, ProcessSession};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// The maximum number of bytes that Sidekey reads from the output of a `credential_process`. AWS
/// credentials have about two kilobytes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// The maximum number of bytes from the standard error of a `credential_process` that an error
/// message quotes. The last bytes usually contain the reason of a failure.
const MESSAGES_BYTES_MAX: usize = 256;

/// The keys of an AWS profile that name another source of credentials. If a profile has one of
/// these keys, the AWS SDK ignores the profile's `credential_process`.
const PRECEDING: [&str; 8] = [
    "credential_source",
    "web_identity_token_file",
    "login_session",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "sso_role_name",
    "sso_region",
];

/// How long Sidekey keeps printed credentials if no call to AWS was waiting when the
/// `credential_process` ended. The next call in this time uses these credentials. Later, the
/// credentials may be outdated.
const RESULT_KEPT: Duration = Duration::from_secs(60);

pub(super) struct CredentialProcess {
    pub(super) command: String,
    /// The AWS profile whose role the AWS SDK assumes with the credentials from the
    /// `credential_process`. `None` if these credentials are used directly.
    pub(super) role_profile: Option<String>,
}

/// Returns the `credential_process` that provides the credentials of the selected AWS profile, or
/// `None` if the credentials have another source.
///
/// Follows the same rules as the AWS SDK: a profile with `role_arn` gets its credentials from its
/// `source_profile`, and other sources of a profile precede its `credential_process`.
pub(super) fn find(profiles: &ProfileSet) -> Option<CredentialProcess> {
    let mut name = profiles.selected_profile();
    let mut visited: Vec<&str> = Vec::new();
    let mut role_profile = None;
    loop {
        let profile = profiles.get_profile(name)?;
        if visited.contains(&name) {
            return None;
        }
        let has = |key: &&str| profile.get(key).is_some();
        let has_keys = ["aws_access_key_id", "aws_secret_access_key"].iter().any(has);
        if has_keys && !visited.is_empty() {
            return None;
        }
        visited.push(name);
        if has(&"role_arn") && !has(&"web_identity_token_file") {
            role_profile = Some(name.to_owned());
            let source = profile.get("source_profile")?;
            if source != name {
                name = source;
                continue;
            }
        }
        if PRECEDING.iter().any(has) {
            return None;
        }
        let command = profile.get("credential_process")?.to_owned();
        return Some(CredentialProcess { command, role_profile });
    }
}

/// Runs the `credential_process` of AWS profiles, one program at a time.
///
/// If the call that waits for a program is cancelled, the program goes on until its deadline, and
/// the next call with the same command gets the program's result. Dropping the `Runner` kills the
/// program.
pub(in super::super) struct Runner {
    timeout: Duration,
    clock: Arc<dyn Clock>,
    running: Mutex<Option<Running>>,
}

type Outcome = Result<Credentials, ProcessFailure>;

/// A running or ended `credential_process`. Dropping this value kills the program.
struct Running {
    command: String,
    /// Tells the task that runs the program where to send the program's outcome.
    callers: UnboundedSender<oneshot::Sender<Outcome>>,
    /// Contains the task that runs the program. Dropping the set aborts the task.
    _task: JoinSet<()>,
}

impl Running {
    /// Waits for the end of the `credential_process`, and returns its credentials or its failure.
    /// Returns `None` if an earlier call got this result, or if the result is too old.
    async fn outcome(&self) -> Option<Outcome> {
        let (caller, outcome) = oneshot::channel();
        self.callers.send(caller).ok()?;
        outcome.await.ok()
    }
}

impl Runner {
    pub(in super::super) fn new(timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { timeout, clock, running: Mutex::default() }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Runs a command with the shell, and returns the AWS credentials that the command prints. If
    /// the command is already running, waits for its result instead of starting it again.
    pub(super) async fn run(&self, command: &str) -> Outcome {
        let mut running = self.running.lock().await;
        if let Some(earlier) = running.as_ref().filter(|earlier| earlier.command == command)
            && let Some(outcome) = earlier.outcome().await
        {
            return outcome;
        }
        let outcome = running.insert(self.start(command)).outcome().await;
        // The outcome is missing only if the code of the task panicked.
        outcome.unwrap_or(Err(ProcessFailure::NotStarted))
    }

    fn start(&self, command: &str) -> Running {
        let (callers, waiting) = unbounded_channel();
        let (timeout, clock, text) = (self.timeout, self.clock.clone(), command.to_owned());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut messages = Vec::new();
            let outcome = within(&*clock, timeout, credentials(&text, &mut messages)).await;
            let outcome = outcome.unwrap_or_else(|| {
                Err(ProcessFailure::TimedOut { timeout, messages: error_output(&messages) })
            });
            offer(&*clock, outcome, waiting).await;
        });
        Running { command: command.to_owned(), callers, _task: task }
    }
}

/// Passes the outcome of a `credential_process` to the first caller that still waits. If no caller
/// waits, keeps credentials for [`RESULT_KEPT`], and drops an error at once.
async fn offer(
    clock: &dyn Clock,
    outcome: Outcome,
    mut waiting: UnboundedReceiver<oneshot::Sender<Outcome>>,
) {
    let kept = if outcome.is_ok() { RESULT_KEPT } else { Duration::ZERO };
    let hand_over = async {
        let mut outcome = outcome;
        while let Some(caller) = waiting.recv().await {
            match caller.send(outcome) {
                Ok(()) => return,
                Err(unclaimed) => outcome = unclaimed,
            }
        }
    };
    // The result does not matter: the outcome is then either handed over or dropped.
    let _ = within(clock, kept, hand_over).await;
}

/// Runs a command with the shell, and returns the AWS credentials that the command prints. If the
/// returned future is dropped, the command and the processes that the command started are killed.
///
/// Stores the last bytes of the standard error in `messages`.
async fn credentials(command: &str, messages: &mut Vec<u8>) -> Outcome {
    let mut shell = CommandWrap::with_new("sh", |shell| {
        shell.args(["-c", command]).stdin(Stdio::null());
        shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    // In a session of its own, the program has no terminal, so a program that asks the user for a
    // code fails at once. In the agent's session, the system would suspend such a program until its
    // deadline.
    shell.wrap(ProcessSession);
    // `into_inner` gives the plain child, because the wrapper would wait for all processes of the
    // session.
    let mut child = shell.spawn().map_err(|_| ProcessFailure::NotStarted)?.into_inner();
    let mut group = Group::of(child.id());
    let (stdout, stderr) = (child.stdout().take(), child.stderr().take());
    let (output, status) = {
        let mut reading = pin!(read_last(stderr, messages));
        let mut run = pin!(async { (read(stdout).await, child.wait().await) });
        tokio::select! {
            biased;
            done = &mut run => {
                // A process that the program started may keep its standard error open, so only
                // bytes that have already arrived are read.
                let _ = reading.now_or_never();
                done
            }
            () = &mut reading => run.await,
        }
    };
    // The group is killed only while the child has not been awaited. Later, the system may give the
    // id of the group to other processes.
    group.0 = None;
    let status = status.map_err(|_| ProcessFailure::NotStarted)?;
    match status.success() {
        true => parse(&output).ok_or(ProcessFailure::Malformed),
        false => Err(ProcessFailure::Failed { status, messages: error_output(messages) }),
    }
}

/// Reads a stream to its end, and keeps the last [`MESSAGES_BYTES_MAX`] bytes in `last`.
async fn read_last(stream: Option<impl AsyncRead + Unpin>, last: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; MESSAGES_BYTES_MAX];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        last.extend_from_slice(&chunk[..count]);
        last.drain(..last.len().saturating_sub(MESSAGES_BYTES_MAX));
    }
}

fn error_output(messages: &[u8]) -> ErrorOutput {
    ErrorOutput(String::from_utf8_lossy(messages).into_owned())
}

/// Reads the output of a program into one buffer of a fixed size, so that no copy stays in freed
/// memory.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; OUTPUT_BYTES_MAX]);
    let mut length = 0;
    if let Some(mut stream) = stream {
        // Output that cannot be read, or that is cut off, is not valid JSON.
        while let Ok(count @ 1..) = stream.read(&mut bytes[length..]).await {
            length += count;
        }
    }
    bytes.truncate(length);
    bytes
}

/// The processes that a `credential_process` started: the shell and its child processes, which form
/// one process group. Dropping this value kills all of them.
struct Group(Option<Pid>);

impl Group {
    fn of(id: Option<u32>) -> Self {
        Self(id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            // The call fails if all processes of the group have ended.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Parses the JSON that a `credential_process` prints. Returns `None` if the JSON contains no valid
/// credentials. Like the AWS SDK, this function ignores the case of the JSON keys.
///
/// Source: AWS's page *Sourcing credentials with an external process* in the reference of SDKs and
/// tools.
fn parse(output: &[u8]) -> Option<Credentials> {
    // The values are borrowed, so that no copy of a key stays in freed memory.
    let object: BTreeMap<String, &RawValue> = serde_json::from_slice(output).ok()?;
    let value = |name: &str| {
        let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.get()).filter(|value| *value != "null")
    };
    let text = |name: &str| serde_json::from_str::<String>(value(name)?).ok();
    if value("Version")? != "1" {
        return None;
    }
    let mut credentials = Credentials::builder()
        .access_key_id(text("AccessKeyId")?)
        .secret_access_key(text("SecretAccessKey")?)
        .provider_name("credential_process");
    credentials.set_session_token(text("SessionToken"));
    if value("Expiration").is_some() {
        let expiry = DateTime::from_str(&text("Expiration")?, Format::DateTimeWithOffset).ok()?;
        credentials.set_expiry(Some(SystemTime::try_from(expiry).ok()?));
    }
    Some(credentials.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, VirtualClock};
    use aws_config::profile;
    use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
    use aws_types::os_shim_internal::{Env, Fs};
    use std::time::UNIX_EPOCH;

    async fn found(config: &str) -> Option<(String, Option<String>)> {
        let files =
            EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, config).build();
        let env = Env::from_slice(&[("AWS_PROFILE", "app")]);
        let profiles = profile::load(&Fs::from_slice(&[]), &env, &files, None).await;
        let found = find(&profiles.expect("the AWS profiles in the test must be valid"));
        found.map(|process| (process.command, process.role_profile))
    }

    #[tokio::test]
    async fn process_is_found_by_the_rules_of_the_sdk() {
        let direct = ("print".to_owned(), None);
        let of_role = ("print".to_owned(), Some("app".to_owned()));
        let base = "[profile base]\ncredential_process = print\n";
        let role = "[profile app]\nrole_arn = r\nsource_profile = base\n";
        for (config, expected) in [
            ("[profile app]\ncredential_process = print", Some(direct.clone())),
            ("[profile app]\ncredential_process = print\naws_access_key_id = a", Some(direct)),
            (&format!("{role}{base}"), Some(of_role.clone())),
            (&format!("{role}{base}aws_access_key_id = a"), None),
            (
                "[profile app]\nrole_arn = r\nsource_profile = app\ncredential_process = print",
                Some(of_role),
            ),
            (&format!("{role}[profile base]\nrole_arn = r\nsource_profile = app"), None),
            (role, None),
            (
                "[profile app]\nrole_arn = r\ncredential_source = Environment\ncredential_process = print",
                None,
            ),
            ("[profile app]\nsso_session = s\ncredential_process = print", None),
            ("[profile other]\ncredential_process = print", None),
            ("", None),
        ] {
            assert_eq!(found(config).await, expected, "{config}");
        }
    }

    #[track_caller]
    fn check(output: &str, expected: Option<(&str, Option<u64>)>) {
        let found = parse(output.as_bytes());
        let expiry = |found: &Credentials| {
            let expiry = found.expiry()?.duration_since(UNIX_EPOCH);
            Some(expiry.expect("the expiry must be after 1970").as_secs())
        };
        let found = found.as_ref().map(|found| (found.secret_access_key(), expiry(found)));
        assert_eq!(found, expected, "{output}");
    }

    #[test]
    fn output_is_parsed_like_the_sdk_parses_it() {
        let keys = r#""AccessKeyId":"a","SecretAccessKey":"k""#;
        check(&format!(r#"{{"Version":1,{keys}}}"#), Some(("k", None)));
        check(
            &format!(r#"{{"version":1,{},"sessiontoken":null}}"#, keys.to_lowercase()),
            Some(("k", None)),
        );
        check(r#"{"Version":1,"AccessKeyId":"a","SecretAccessKey":"k\/+"}"#, Some(("k/+", None)));
        let dated = |date: &str| format!(r#"{{"Version":1,{keys},"Expiration":{date}}}"#);
        check(&dated(r#""1970-01-01T01:00:10+01:00""#), Some(("k", Some(10))));
        for bad in [
            dated("\"soon\""),
            dated("5"),
            format!("{{{keys}}}"),
            r#"{"Version":1}"#.into(),
            "x".into(),
        ] {
            check(&bad, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_without_a_caller_are_dropped_after_a_minute() {
        let clock = VirtualClock::starting_at(UNIX_EPOCH);
        let printed = || Ok(Credentials::new("a", "k", None, None, "test"));
        let (callers, waiting) = unbounded_channel();
        offer(&clock, printed(), waiting).await;
        assert!(callers.is_closed(), "the task must drop credentials that no call waits for");
        assert_eq!(clock.now().steady, RESULT_KEPT);

        let (callers, waiting) = unbounded_channel();
        let ((cancelled, _), (caller, outcome)) = (oneshot::channel(), oneshot::channel());
        for caller in [cancelled, caller] {
            callers.send(caller).expect("the channel must still be open");
        }
        offer(&clock, printed(), waiting).await;
        assert!(matches!(outcome.await, Ok(Ok(_))), "the waiting call must get the credentials");
    }

    #[tokio::test]
    async fn program_runs_in_a_session_without_a_terminal() {
        let runner = Runner::new(Duration::from_secs(30), Arc::new(SystemClock::new()));
        let command = "test \"$(cut -d ' ' -f 6 /proc/$$/stat)\" = $$ && \
                       echo '{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"k\"}'";
        let result = runner.run(command).await;
        assert!(result.is_ok(), "the shell must run in a new session: {result:?}");
    }

    #[tokio::test]
    async fn error_quotes_the_end_of_the_standard_error_only() {
        let runner = Runner::new(Duration::from_secs(30), Arc::new(SystemClock::new()));
        let command = "echo printed; printf '%300s\\tno device\\n' begin >&2; exit 3";
        let error = runner.run(command).await.expect_err("the program must fail").to_string();
        let quoted = error.contains("begin\\tno device\")");
        assert!(quoted && !error.contains("printed") && error.len() < 512, "{error}");
    }

    #[tokio::test]
    async fn next_caller_gets_the_result_of_a_running_program() {
        let folder = std::env::temp_dir().join(format!("sidekey-process-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the test must be able to create its folder");
        let (gate, runs) = (folder.join("gate"), folder.join("runs"));
        let command = format!(
            "echo $$ >> {runs}; while [ ! -e {gate} ]; do sleep 0.002; done; \
             echo '{{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"k\"}}'",
            runs = runs.display(),
            gate = gate.display()
        );
        let runner = Runner::new(Duration::from_secs(30), Arc::new(SystemClock::new()));
        tokio::select! {
            biased;
            _ = runner.run(&command) => panic!("the program must wait for the file `gate`"),
            () = tokio::task::yield_now() => {}
        }
        std::fs::write(&gate, "").expect("the test must be able to write the file");
        let count = || std::fs::read_to_string(&runs).unwrap_or_default().lines().count();
        for expected in [1, 2] {
            let credentials = runner.run(&command).await.expect("the program must succeed");
            assert_eq!((credentials.access_key_id(), count()), ("a", expected));
        }
        std::fs::remove_dir_all(&folder).expect("the test must be able to remove its folder");
    }
}
