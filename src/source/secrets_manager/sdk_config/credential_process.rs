//! Runs the `credential_process` of an AWS profile: a program that prints AWS credentials as JSON.
//!
//! The AWS SDK can run such a program too, but it never ends a program that hangs.

use crate::clock::{Clock, Moment, within};
use crate::source::secrets_manager::sdk_error::ProcessFailure;
use aws_config::profile::ProfileSet;
use aws_credential_types::Credentials;
use aws_smithy_types::date_time::{DateTime, Format};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// The maximum number of bytes that Sidekey reads of a program's output. Credentials have about two
/// kilobytes.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// The keys of a profile that name another source of credentials. The AWS SDK prefers each of them
/// to `credential_process`.
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

/// How long after the end of a program a caller still gets its output, if no caller waited for the
/// program until its end. Later, the credentials may be outdated.
const RESULT_KEPT: Duration = Duration::from_secs(60);

/// The `credential_process` that provides the credentials of an AWS profile.
pub(super) struct CredentialProcess {
    pub(super) command: String,
    /// The profile whose role the AWS SDK assumes with the credentials of the program. `None` if the
    /// credentials of the program are used directly.
    pub(super) role_profile: Option<String>,
}

/// Returns the `credential_process` that provides the credentials of the selected profile, or
/// `None` if they have another source.
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

/// Runs credential programs, one at a time. Callers that ask for the same program share its result.
///
/// If a caller stops waiting, the program goes on until its deadline, and the next caller gets its
/// result. Dropping the `Runner` kills the program.
pub(in super::super) struct Runner {
    timeout: Duration,
    clock: Arc<dyn Clock>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    command: String,
    /// The task of the program. Empty if no program runs, and a caller received the last result.
    task: JoinSet<Ended>,
}

/// The result of a program that has ended.
struct Ended {
    at: Moment,
    output: Result<Vec<u8>, ProcessFailure>,
}

impl Runner {
    pub(in super::super) fn new(timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { timeout, clock, running: Mutex::default() }
    }

    /// The maximum time that a program may run. After this time, Sidekey kills the program.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Runs a command with the shell, and returns the AWS credentials that the command prints. If
    /// the command is already running, waits for it instead of starting it again.
    pub(super) async fn run(&self, command: &str) -> Result<Credentials, ProcessFailure> {
        let mut running = self.running.lock().await;
        if running.command != command {
            *running = Running { command: command.to_owned(), task: JoinSet::new() };
        }
        let last = running.task.try_join_next().and_then(Result::ok);
        if let Some(Ended { at, output: Ok(output) }) = last
            && self.clock.now().since(at).is_some_and(|age| age < RESULT_KEPT)
        {
            return parse(&output).ok_or(ProcessFailure::Malformed);
        }
        if running.task.is_empty() {
            let (command, timeout, clock) = (command.to_owned(), self.timeout, self.clock.clone());
            running.task.spawn(async move {
                let done = within(&*clock, timeout, output(&command)).await;
                let output = done.unwrap_or(Err(ProcessFailure::TimedOut { timeout }));
                Ended { at: clock.now(), output }
            });
        }
        let ended = running.task.join_next().await.and_then(Result::ok);
        // The result is missing only if the code of the task panicked.
        let output = ended.ok_or(ProcessFailure::NotStarted)?.output?;
        parse(&output).ok_or(ProcessFailure::Malformed)
    }
}

/// Runs a command with the shell, and returns its output. If the returned future is dropped, the
/// command and the processes that it started are killed.
async fn output(command: &str) -> Result<Vec<u8>, ProcessFailure> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).process_group(0);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = shell.spawn().map_err(|_| ProcessFailure::NotStarted)?;
    let mut group = Group::of(child.id());
    let output = read(child.stdout.take()).await;
    // The group is killed only while the child has not been awaited. Later, the system may give the
    // id of the group to other processes.
    let status = child.wait().await.map_err(|_| ProcessFailure::NotStarted)?;
    group.0 = None;
    match status.success() {
        true => Ok(output),
        false => Err(ProcessFailure::Failed { status }),
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // Output that cannot be read, or that is cut off, is not valid JSON.
        let _ = stream.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The process group of a running program. Dropping the value kills all processes of the group.
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

/// Parses the JSON that a `credential_process` prints. Returns `None` if it contains no valid
/// credentials.
///
/// Source: "Sourcing credentials with an external process" in AWS's reference of SDKs and tools.
/// Like the AWS SDK, ignores the case of the keys.
fn parse(output: &[u8]) -> Option<Credentials> {
    let object: Map<String, Value> = serde_json::from_slice(output).ok()?;
    let value = |name: &str| {
        let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    };
    let text = |name: &str| value(name).and_then(Value::as_str);
    if value("Version")?.as_u64() != Some(1) {
        return None;
    }
    let mut credentials = Credentials::builder()
        .access_key_id(text("AccessKeyId")?)
        .secret_access_key(text("SecretAccessKey")?)
        .provider_name("credential_process");
    credentials.set_session_token(text("SessionToken").map(str::to_owned));
    if value("Expiration").is_some() {
        let expiry = DateTime::from_str(text("Expiration")?, Format::DateTimeWithOffset).ok()?;
        credentials.set_expiry(Some(SystemTime::try_from(expiry).ok()?));
    }
    Some(credentials.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use aws_config::profile;
    use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
    use aws_types::os_shim_internal::{Env, Fs};
    use std::time::UNIX_EPOCH;

    async fn found(config: &str) -> Option<(String, Option<String>)> {
        let files =
            EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, config).build();
        let env = Env::from_slice(&[("AWS_PROFILE", "app")]);
        let profiles = profile::load(&Fs::from_slice(&[]), &env, &files, None).await;
        let found = find(&profiles.expect("the profiles must be valid"));
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

    #[tokio::test]
    async fn next_caller_gets_the_result_of_a_running_program() {
        let folder = std::env::temp_dir().join(format!("sidekey-process-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder can be created");
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
            _ = runner.run(&command) => panic!("the program must wait for the gate"),
            () = tokio::task::yield_now() => {}
        }
        std::fs::write(&gate, "").expect("the file can be written");
        let count = || std::fs::read_to_string(&runs).unwrap_or_default().lines().count();
        for expected in [1, 2] {
            let credentials = runner.run(&command).await.expect("the program must succeed");
            assert_eq!((credentials.access_key_id(), count()), ("a", expected));
        }
        std::fs::remove_dir_all(&folder).expect("the folder can be removed");
    }
}
