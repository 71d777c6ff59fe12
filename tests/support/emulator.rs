//! AWS's emulator of Lambda, with a real extension and a real function.
//!
//! The emulator starts the extensions in `/opt/extensions`, waits until they have registered,
//! starts the function, sends invocations, and shuts down as Lambda does. Each [`Emulator`] has its
//! own mount and process namespaces, so tests can run in parallel, and no process outlives its
//! test.
//!
//! ```ignore
//! let moto = Moto::start(&clients).await;
//! let extension = Path::new(env!("CARGO_BIN_EXE_sidekey-extension"));
//! let function = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/function"));
//! let environment = Environment::new(Mode::OnDemand, extension, function)
//!     .env("SIDEKEY_ENDPOINT", moto.endpoint())
//!     .env("FUNCTION_INIT_SECRET", "openai-api-key/whatsapp");
//! let mut emulator = match Emulator::start(&clients, &environment).await {
//!     Ok(emulator) => emulator,
//!     Err(missing) => return missing.skip_or_fail(),
//! };
//! let event = json!({"references": ["openai-api-key/whatsapp"]});
//! let (status, answer) = emulator.invoke(&event).await;
//! assert_eq!((status, &answer["init"]["status"]), (200, &json!(200)));
//! emulator.stop_extension().await; // As a freeze does; `continue_extension` thaws.
//! emulator.continue_extension().await;
//! let shutdown = emulator.shutdown().await;
//! assert_eq!(shutdown.exit_code, Some(0), "{}", emulator.log());
//! ```
//!
//! The folders `/opt`, `/var` and `/tmp` are private to the emulator. A wrapper script starts the
//! extension `/opt/sidekey/sidekey` and records its exit code. The emulator does not imitate
//! freezes, limits of time and memory, and snapshots.
//!
//! `EXTENSION_UNDER_TEST` names another binary to test than the one that cargo built.
//! `EXTENSION_RUNNER` names a static program that runs this binary, for example qemu.
//! `extension/layer/check` uses both to test the binaries of the Lambda layers.

#![allow(dead_code, reason = "each test program that includes this file uses only a part of it")]

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::clients::{Clients, MissingTool, killed_with_test, pause, run, scratch, until};
use super::exchange::{self, Answer};
use super::port::Port;

/// The value of `AWS_SESSION_TOKEN` for the function and the extension.
pub(crate) const SESSION_TOKEN: &str = "emulated-session-token";

/// The maximum time to wait for a step of the emulator. On an idle machine, a step takes
/// milliseconds.
const STEP_WAIT_MAX: Duration = Duration::from_secs(20);
/// The maximum time to wait for the shutdown of the emulator. Like Lambda, the emulator kills the
/// processes after 2 seconds.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(10);

/// The URL path to which tests send invocations of the function.
const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";
/// The emulator's error type for an invocation of a Managed Instance while all workers of the
/// function are busy.
const NO_IDLE_WORKER: &str = "Runtime.Unavailable";
/// The maximum number of attempts to invoke a function whose workers are busy. All attempts
/// together take about ten seconds.
const INVOKE_ATTEMPTS_MAX: u32 = 4_000;

/// The environment variables that contain AWS credentials.
const KEY_VARIABLES: [&str; 3] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
/// The environment variable `PATH` of the function and the extension.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The folders that are private to one emulator.
const PRIVATE: [&str; 3] = ["/opt", "/var", "/tmp"];

/// A shell script that mounts the private folders and then executes the emulator. The paths are
/// relative, because a mount may hide the absolute path.
const ENTER: &str = "mount -c --bind opt /opt && mount -c --bind var /var \
    && mount -c --bind tmp /tmp && cd /var/task && exec /opt/aws-lambda-rie \"$@\"";

/// The kind of Lambda execution environment that the emulator imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A Lambda function that processes one invocation at a time. Environment variables contain its
    /// credentials.
    OnDemand,
    /// A Lambda SnapStart function before its snapshot. A server on localhost returns credentials
    /// that expired in the year 1, with the session token [`SESSION_TOKEN`].
    SnapStart,
    /// A Lambda Managed Instance, which processes up to `concurrency` invocations at a time as the
    /// user with id 993. The emulator then needs root.
    ManagedInstances { concurrency: u32 },
}

impl Mode {
    fn initialization_type(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::SnapStart => "snap-start",
            Self::ManagedInstances { .. } => "lambda-managed-instances",
        }
    }
}

/// The settings with which an [`Emulator`] is started.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    mode: Mode,
    extension: PathBuf,
    runner: Option<PathBuf>,
    function: PathBuf,
    variables: BTreeMap<String, String>,
    overrides: BTreeMap<String, Option<String>>,
    files: BTreeMap<PathBuf, PathBuf>,
}

impl Environment {
    /// Creates settings with the environment variables that Lambda always sets. `extension` is the
    /// path of the extension's binary, unless `EXTENSION_UNDER_TEST` is set. `function` is the
    /// folder that contains the function's program `bootstrap`.
    pub(crate) fn new(mode: Mode, extension: &Path, function: &Path) -> Self {
        let environment = Self {
            mode,
            extension: path_variable("EXTENSION_UNDER_TEST")
                .unwrap_or_else(|| extension.to_owned()),
            runner: path_variable("EXTENSION_RUNNER"),
            function: function.to_owned(),
            variables: BTreeMap::new(),
            overrides: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        let environment = environment
            .env("AWS_ACCESS_KEY_ID", "ASIAEMULATED00000000")
            .env("AWS_SECRET_ACCESS_KEY", "emulated-secret-key")
            .env("AWS_SESSION_TOKEN", SESSION_TOKEN)
            .env("AWS_REGION", "eu-north-1")
            .env("AWS_DEFAULT_REGION", "eu-north-1")
            .env("AWS_LAMBDA_FUNCTION_NAME", "whatsapp-channel-processor-dev")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "30")
            .env("LAMBDA_TASK_ROOT", "/var/task")
            .env("_HANDLER", "bootstrap.handle")
            // The emulator sets this variable only for Managed Instances.
            .set_override("AWS_LAMBDA_INITIALIZATION_TYPE", Some(mode.initialization_type()));
        match mode {
            Mode::OnDemand => environment,
            // The emulator needs the credentials in its own variables, but must not pass them on.
            Mode::SnapStart => {
                KEY_VARIABLES.iter().fold(environment, |made, name| made.set_override(name, None))
            }
            Mode::ManagedInstances { concurrency } => {
                environment.env("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string())
            }
        }
    }

    /// Sets an environment variable of the function and the extension, as the configuration of a
    /// Lambda function does.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Sets or removes an environment variable of the function and the extension. Has priority over
    /// variables that the emulator itself sets.
    pub(crate) fn set_override(mut self, name: &str, value: Option<&str>) -> Self {
        self.overrides.insert(name.to_owned(), value.map(str::to_owned));
        self
    }

    /// Adds an executable file to the layers. `path` is the file's path below `/opt`.
    pub(crate) fn file(mut self, path: &str, from: &Path) -> Self {
        self.files.insert(path.trim_start_matches('/').into(), from.to_owned());
        self
    }

    /// Returns lines of a shell script that set and remove the overridden variables.
    fn override_lines(&self) -> String {
        let line = |(name, value): (&String, &Option<String>)| match value {
            Some(value) => format!("export {name}='{}'\n", value.replace('\'', r"'\''")),
            None => format!("unset {name}\n"),
        };
        self.overrides.iter().map(line).collect()
    }
}

/// Returns the absolute path that an environment variable of the test process contains. Relative
/// paths would fail, because cargo runs a test in the folder of its package.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment variable configures the tests and not the agent"
)]
fn path_variable(variable: &str) -> Option<PathBuf> {
    std::env::var(variable).ok().map(PathBuf::from)
}

/// The result of shutting the emulator down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shutdown {
    /// How long the function and the extension took to end. The clock of the kernel has a
    /// resolution of 4 ms.
    pub(crate) took: Duration,
    /// The exit code of the extension, or `None` if the emulator killed the extension.
    pub(crate) exit_code: Option<i32>,
}

/// A running emulator of Lambda. Dropping this value ends all its processes.
#[derive(Debug)]
pub(crate) struct Emulator {
    sandbox: Sandbox,
    /// The process that owns the namespaces. Its only child is the emulator.
    holder: Child,
    invoke_port: Port,
    sidekey_port: Port,
    _runtime_api_port: Port,
}

impl Emulator {
    /// Starts an emulator and waits until it accepts invocations.
    ///
    /// For a Managed Instance, the emulator starts the extension and the function at once. In other
    /// modes, it starts them at the first invocation.
    pub(crate) async fn start(clients: &Clients, setup: &Environment) -> Result<Self, MissingTool> {
        check_namespaces()?;
        let interpreter = interpreter_folder(clients, setup.mode)?;
        let sandbox = Sandbox::create(clients, setup);
        let (invoke_port, runtime_api_port) = (Port::reserve(), Port::reserve());
        let sidekey_port = Port::reserve();
        let output = File::create(sandbox.log())
            .expect("the test must be able to write the emulator's folders");

        let holder = killed_with_test("unshare")
            .args(namespace_flags())
            .args(["sh", "-c", ENTER, "sh"])
            .args(emulator_arguments(setup.mode, &invoke_port, &runtime_api_port))
            .current_dir(&sandbox.folder)
            .env_clear()
            .env("PATH", format!("{}:{SYSTEM_PATH}", interpreter.display()))
            .env("SIDEKEY_PORT", sidekey_port.to_string())
            .envs(&setup.variables)
            .stdin(Stdio::null())
            .stdout(
                output.try_clone().expect("the test must be able to clone the handle of the file"),
            )
            .stderr(output)
            .spawn()
            .map_err(MissingTool::new)?;
        let _runtime_api_port = runtime_api_port;
        let mut emulator = Self { sandbox, holder, invoke_port, sidekey_port, _runtime_api_port };
        until("the emulator accepts connections or ends", STEP_WAIT_MAX, || emulator.has_started())
            .await;
        Ok(emulator)
    }

    /// Returns the port on which the extension listens.
    pub(crate) fn sidekey_port(&self) -> u16 {
        self.sidekey_port.number()
    }

    /// Sends an HTTP request directly to the extension, without the function.
    pub(crate) async fn ask_sidekey(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        exchange::request(self.sidekey_port(), "GET", path, headers, b"").await.unwrap_or_else(
            |error| panic!("the request GET {path} failed: {error}; the log:\n{}", self.log()),
        )
    }

    /// Invokes the function, and returns the HTTP status and the JSON of the response. A response
    /// that is not JSON is returned as a JSON string.
    ///
    /// # Panics
    ///
    /// If the emulator does not respond.
    pub(crate) async fn invoke(&self, event: &Value) -> (u16, Value) {
        self.try_invoke(event).await.unwrap_or_else(|error| {
            panic!("the invocation of the function failed: {error}; the log:\n{}", self.log())
        })
    }

    /// Invokes the function. Returns an error if the emulator has ended.
    pub(crate) async fn try_invoke(&self, event: &Value) -> io::Result<(u16, Value)> {
        let mut answer = self.send_invocation(event).await?;
        for _ in 1..INVOKE_ATTEMPTS_MAX {
            if answer.1["errorType"] != NO_IDLE_WORKER {
                break;
            }
            pause().await;
            answer = self.send_invocation(event).await?;
        }
        Ok(answer)
    }

    async fn send_invocation(&self, event: &Value) -> io::Result<(u16, Value)> {
        let (port, body) = (self.invoke_port.number(), event.to_string());
        let headers = [("Content-Type", "application/json")];
        let answer =
            exchange::request(port, "POST", INVOCATIONS, &headers, body.as_bytes()).await?;
        Ok((answer.status, answer.json()))
    }

    pub(crate) fn log(&self) -> String {
        self.sandbox.read_log()
    }

    pub(crate) async fn log_line(&self, part: &str) -> String {
        until(&format!("{part:?} in the log"), STEP_WAIT_MAX, || {
            self.log().lines().find(|line| line.contains(part)).map(str::to_owned)
        })
        .await
    }

    /// Returns the exit code for each time that the extension ended by itself. If a signal ended
    /// the extension, the code is 128 plus the number of the signal.
    pub(crate) fn exit_codes(&self) -> Vec<i32> {
        self.sandbox.exit_codes()
    }

    /// Stops the extension with the signal SIGSTOP, which imitates a freeze by Lambda.
    pub(crate) async fn stop_extension(&self) {
        self.signal_extension("STOP").await;
        until("the extension stops", STEP_WAIT_MAX, || {
            self.extension().filter(Process::is_stopped)
        })
        .await;
    }

    /// Continues the extension with the signal SIGCONT, which imitates a thaw by Lambda.
    pub(crate) async fn continue_extension(&self) {
        self.signal_extension("CONT").await;
    }

    /// Sends a signal, such as `KILL`, to the extension.
    ///
    /// The emulator notices the end of the extension only some milliseconds later. A test must
    /// therefore wait for the code in [`exit_codes`](Self::exit_codes) before the next invocation.
    pub(crate) async fn signal_extension(&self, signal: &str) {
        let process = until("the extension runs", STEP_WAIT_MAX, || self.extension()).await;
        send_signal(signal, process.pid);
    }

    /// Returns the process id of the extension outside of the emulator's namespaces, or `None` if
    /// the extension does not run.
    pub(crate) fn extension_pid(&self) -> Option<u32> {
        self.extension().map(|process| process.pid)
    }

    /// Shuts the emulator down as Lambda does, and waits until all its processes have ended.
    pub(crate) async fn shutdown(&mut self) -> Shutdown {
        let ended_before = self.exit_codes().len();
        let emulator = self.emulator().expect("the emulator runs").pid;
        let requested_at = self.sandbox.mark_now();
        send_signal("TERM", emulator);
        until("the environment ends", SHUTDOWN_WAIT_MAX, || self.holder.try_wait().ok().flatten())
            .await;

        let exit_code = self.exit_codes().get(ended_before).copied();
        let ended = match exit_code {
            Some(_) => modified(&self.sandbox.exits()),
            None => self.sandbox.mark_now(),
        };
        Shutdown { took: ended.saturating_sub(requested_at), exit_code }
    }

    fn has_started(&mut self) -> Option<()> {
        let ended = matches!(self.holder.try_wait(), Ok(Some(_)));
        let address = (Ipv4Addr::LOCALHOST, self.invoke_port.number());
        (ended || TcpStream::connect(address).is_ok()).then_some(())
    }

    fn emulator(&self) -> Option<Process> {
        Process::children_of(self.holder.id()).into_iter().next()
    }

    /// Returns the process of the extension, which is the child of the wrapper script.
    fn extension(&self) -> Option<Process> {
        let launched = Process::children_of(self.emulator()?.pid);
        let script = launched.into_iter().find(|process| process.name == "sidekey")?;
        Process::children_of(script.pid).into_iter().next()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The emulator is process 1 of its namespace. If it is killed, the kernel kills all other
        // processes of the namespace, and reports the emulator's end only after theirs.
        match self.emulator() {
            Some(emulator) => send_signal("KILL", emulator.pid),
            None => drop(self.holder.kill()),
        }
        let _ = self.holder.wait();
        if thread::panicking() {
            let _ = writeln!(io::stderr(), "log of the execution environment:\n{}", self.log());
        }
    }
}

fn emulator_arguments(mode: Mode, invoke: &Port, runtime_api: &Port) -> Vec<String> {
    let mut arguments = vec![
        "--runtime-interface-emulator-address".to_owned(),
        format!("127.0.0.1:{invoke}"),
        "--runtime-api-address".to_owned(),
        format!("127.0.0.1:{runtime_api}"),
    ];
    if mode == Mode::SnapStart {
        arguments.push("--enable-init-caching".to_owned());
    }
    arguments.push("/var/runtime/bootstrap".to_owned());
    arguments
}

/// The private folders of one emulator, with their paths outside of the emulator's namespaces.
#[derive(Debug)]
struct Sandbox {
    folder: PathBuf,
}

impl Sandbox {
    fn create(clients: &Clients, setup: &Environment) -> Self {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let folder = scratch().join(format!("environment-{}-{number}", process::id()));
        let _ = fs::remove_dir_all(&folder); // Of an earlier process with the same id.
        let sandbox = Self { folder };
        sandbox
            .fill_opt(clients, setup)
            .expect("the test must be able to write the emulator's folder /opt");
        sandbox.fill_var(setup).expect("the test must be able to copy the function");
        sandbox
            .make_folder("tmp", 0o1777)
            .expect("the test must be able to write the emulator's folders");
        sandbox
    }

    fn fill_opt(&self, clients: &Clients, setup: &Environment) -> io::Result<()> {
        for folder in ["opt", "opt/extensions", "opt/sidekey"] {
            self.make_folder(folder, 0o755)?;
        }
        // The extension may run as another user, and its wrapper records exit codes here.
        self.make_folder("opt/record", 0o777)?;
        self.copy(&clients.emulator(), "opt/aws-lambda-rie")?;
        self.copy(&setup.extension, "opt/sidekey/sidekey")?;
        let mut command = "/opt/sidekey/sidekey".to_owned();
        if let Some(runner) = &setup.runner {
            self.copy(runner, "opt/sidekey/runner")?;
            command.insert_str(0, "/opt/sidekey/runner ");
        }
        for (path, from) in &setup.files {
            self.copy(from, path)?;
        }
        let script = format!(
            "#!/bin/sh\n[ $# = 0 ] || exec {command} \"$@\"\n\
             {}{command}\ncode=$?\n\
             echo $code >>/opt/record/exits\nexit $code\n",
            setup.override_lines()
        );
        self.write("opt/extensions/sidekey", &script)
    }

    fn fill_var(&self, setup: &Environment) -> io::Result<()> {
        for folder in ["var", "var/runtime", "var/tmp"] {
            self.make_folder(folder, 0o755)?;
        }
        self.copy_folder(&setup.function, Path::new("var/task"))?;
        let script =
            format!("#!/bin/sh\n{}exec /var/task/bootstrap \"$@\"\n", setup.override_lines());
        self.write("var/runtime/bootstrap", &script)
    }

    fn make_folder(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        let path = self.folder.join(path);
        fs::create_dir_all(&path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    /// Copies all files of a folder and of its subfolders.
    fn copy_folder(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.make_folder(to, 0o755)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let to = to.join(entry.file_name());
            match entry.path().is_dir() {
                true => self.copy_folder(&entry.path(), &to)?,
                false => self.copy(&entry.path(), to)?,
            }
        }
        Ok(())
    }

    fn copy(&self, from: &Path, to: impl AsRef<Path>) -> io::Result<()> {
        let to = self.folder.join(to);
        fs::copy(from, &to)?;
        fs::set_permissions(to, Permissions::from_mode(0o755))
    }

    fn write(&self, path: &str, script: &str) -> io::Result<()> {
        let path = self.folder.join(path);
        fs::write(&path, script)?;
        fs::set_permissions(path, Permissions::from_mode(0o755))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn read_log(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn exits(&self) -> PathBuf {
        self.folder.join("opt/record/exits")
    }

    fn exit_codes(&self) -> Vec<i32> {
        let noted = fs::read_to_string(self.exits()).unwrap_or_default();
        noted.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Returns the current time of the clock that the file system uses for timestamps.
    fn mark_now(&self) -> Duration {
        let mark = self.folder.join("mark");
        fs::write(&mark, "").expect("the test must be able to write the emulator's folders");
        modified(&mark)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the time at which a file was last modified, as the time since the beginning of 1970.
fn modified(path: &Path) -> Duration {
    let modified = fs::metadata(path).and_then(|file| file.modified()).expect("the file exists");
    modified.duration_since(std::time::UNIX_EPOCH).expect("the time must be after the year 1970")
}

/// A process, with data from `/proc`.
#[derive(Debug)]
struct Process {
    pid: u32,
    name: String,
    state: char,
    parent: u32,
}

impl Process {
    fn children_of(parent: u32) -> Vec<Self> {
        let entries = fs::read_dir("/proc").expect("the folder /proc must exist on Linux");
        entries
            .filter_map(|entry| Self::from_stat(&entry.ok()?.path().join("stat")))
            .filter(|process| process.parent == parent)
            .collect()
    }

    /// Parses the file `/proc/PID/stat`, which has the form `PID (NAME) STATE PARENT …`. The name
    /// may contain spaces and brackets.
    fn from_stat(path: &Path) -> Option<Self> {
        let stat = fs::read_to_string(path).ok()?;
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Self { pid: pid.parse().ok()?, name: name.to_owned(), state, parent })
    }

    fn is_stopped(&self) -> bool {
        self.state == 'T'
    }
}

/// Sends a signal to a process. Does nothing if the process has ended.
fn send_signal(signal: &str, pid: u32) {
    let _ = run(Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid.to_string()]));
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Returns the options of `unshare` that create a mount namespace and a process namespace. Users
/// other than root also need a user namespace.
fn namespace_flags() -> Vec<&'static str> {
    let user: &[&str] = if is_root() { &[] } else { &["--user", "--map-root-user"] };
    [user, &["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]].concat()
}

/// Checks that the current user can create namespaces and mount folders in them.
fn check_namespaces() -> Result<(), MissingTool> {
    let mounts = PRIVATE.map(|folder| format!("mount --bind {folder} {folder}")).join(" && ");
    run(Command::new("unshare").args(namespace_flags()).args(["sh", "-c", &mounts]))
        .map_err(|missing| missing.context("namespaces with mounts"))
}

/// Returns the folder of a Python interpreter that the function can run. The emulator must not hide
/// this folder, and in a Managed Instance, the user with id 993 must be able to read it.
fn interpreter_folder(clients: &Clients, mode: Mode) -> Result<PathBuf, MissingTool> {
    let by_others = matches!(mode, Mode::ManagedInstances { .. });
    if by_others && !is_root() {
        return Err(MissingTool::new(
            "the test needs root, because Managed Instances run as the user with id 993",
        ));
    }
    let installed_from = clients.python().canonicalize().unwrap_or_default();
    ["/usr/local/bin/python3", "/usr/bin/python3"]
        .map(PathBuf::from)
        .into_iter()
        .chain([installed_from.with_file_name("python3")])
        .filter(|python| python.canonicalize().is_ok_and(|real| is_reachable(&real, by_others)))
        .find_map(|python| python.parent().map(Path::to_owned))
        .ok_or_else(|| MissingTool::new("no `python3` was found that the function's user can run"))
}

fn is_reachable(program: &Path, by_others: bool) -> bool {
    let is_open =
        |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    let is_hidden = PRIVATE.iter().any(|folder| program.starts_with(folder));
    !is_hidden && (!by_others || program.ancestors().all(is_open))
}
