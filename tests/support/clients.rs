//! Third-party software, in pinned versions, that the tests run Sidekey against.
//!
//! The ordinary package clients install the software once into `target/clients`: moto (an
//! independent Secrets Manager), boto3 with AWS's caching library and Powertools, the AWS CLI, and
//! AWS's emulator of the Lambda execution environment, which `aws-sam-cli` ships.
//! [`install_into_folder`] installs software for other languages beside it. If a machine lacks a
//! tool, the test is skipped and prints the reason in one line. With `CI=true` such a test fails
//! instead.
//!
//! ```ignore
//! #[path = "../support/clients.rs"]
//! mod clients; // with siblings `emulator`, `exchange`, `moto` and `port`
//!
//! #[tokio::test]
//! async fn prefetches_from_moto() {
//!     let clients = match Clients::install() {
//!         Ok(clients) => clients,
//!         Err(missing) => return missing.skip_or_fail(),
//!     };
//!     // …
//! }
//! ```
//!
//! Real processes run in real time: do not pause tokio's clock in a test that uses these modules.

#![allow(dead_code, reason = "each test binary that shares this file uses a part of it")]

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// The packages that pip installs. moto is installed without its `server` extra, which triples the
/// installation time. moto's server needs only Flask from that extra.
const PYTHON_PACKAGES: [&str; 7] = [
    "moto==5.2.5",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "boto3==1.44.5",
    "aws-secretsmanager-caching==1.2.0",
    "aws-lambda-powertools==3.37.0",
    "awscli==1.46.2",
];

/// The package that ships AWS's emulator. Only the emulator is extracted from the package.
const EMULATOR_PACKAGE: &str = "aws-sam-cli==1.170.0";

/// Extracts one member of a wheel. Arguments: the folder with the one wheel, the target path, and
/// the member's name.
const EXTRACT: &str = "
import os, pathlib, sys, zipfile
folder, target, member = sys.argv[1:]
(wheel,) = pathlib.Path(folder).glob('*.whl')
pathlib.Path(target).write_bytes(zipfile.ZipFile(wheel).read(member))
os.chmod(target, 0o755)
";

/// The interval between two polls.
const POLL: Duration = Duration::from_millis(2);

/// The reason why a test cannot run on this machine.
#[derive(Debug)]
pub(crate) struct MissingTool(String);

impl MissingTool {
    pub(crate) fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }

    /// Prefixes the reason with the name of the thing that is missing.
    pub(crate) fn context(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }

    /// Prints in one line that the running test is skipped. Panics instead if `CI=true`.
    #[track_caller]
    pub(crate) fn skip_or_fail(&self) {
        let name = thread::current().name().unwrap_or("test").to_owned();
        let line = format!("skipped: {name}: {}", self.0);
        assert!(!on_ci(), "{line}");
        // Not `eprintln!`, because the test harness hides its output if the test passes.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the variable configures the tests, not the agent")]
fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// The installation of the third-party software.
#[derive(Debug)]
pub(crate) struct Clients {
    folder: PathBuf,
}

impl Clients {
    /// Installs the software on first use, and returns the installation.
    ///
    /// The first installation takes a few seconds. Other test processes wait for it.
    pub(crate) fn install() -> Result<Self, MissingTool> {
        let clients = Self { folder: folder() };
        let _lock = locked("lock");
        if !clients.is_complete() {
            clients.reinstall()?;
        }
        Ok(clients)
    }

    /// Returns the path of a Python that has boto3 and AWS's caching library.
    pub(crate) fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// Returns the path of moto's server.
    pub(crate) fn moto_server(&self) -> PathBuf {
        self.folder.join("venv/bin/moto_server")
    }

    /// Returns the path of AWS's emulator of the execution environment.
    pub(crate) fn emulator(&self) -> PathBuf {
        self.folder.join("aws-lambda-rie")
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("stamp")
    }

    fn is_complete(&self) -> bool {
        fs::read_to_string(self.stamp()).is_ok_and(|stamp| stamp == pins())
            && self.python().exists() // A symbolic link to the system's Python, which may have been removed.
            && self.moto_server().exists()
            && self.emulator().exists()
    }

    fn reinstall(&self) -> Result<(), MissingTool> {
        let _ = fs::remove_file(self.stamp());
        self.install_python_packages()?;
        self.install_emulator()?;
        fs::write(self.stamp(), pins()).map_err(MissingTool::new)
    }

    fn install_python_packages(&self) -> Result<(), MissingTool> {
        let venv = self.folder.join("venv");
        // Debian's Python writes into the current folder while it creates a virtual environment.
        let mut make_venv = Command::new("python3");
        run(make_venv.args(["-m", "venv", "--clear"]).arg(venv).current_dir(&self.folder))?;
        run(self.pip("install").args(PYTHON_PACKAGES))
    }

    fn install_emulator(&self) -> Result<(), MissingTool> {
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            architecture => architecture,
        };
        let member = format!("samcli/local/rapid/aws-lambda-rie-{architecture}");
        let download = self.folder.join("download");
        let _ = fs::remove_dir_all(&download);
        run(self.pip("download").args(["--no-deps", EMULATOR_PACKAGE, "--dest"]).arg(&download))?;
        run(Command::new(self.python())
            .args(["-c", EXTRACT])
            .args([&download, &self.emulator()])
            .arg(member))?;
        fs::remove_dir_all(download).map_err(MissingTool::new)
    }

    fn pip(&self, command: &str) -> Command {
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check", command]);
        pip
    }
}

/// Returns the pinned versions. An installation with other pins is replaced.
fn pins() -> String {
    format!("{} {EMULATOR_PACKAGE}\n", PYTHON_PACKAGES.join(" "))
}

/// Creates a folder with these files and runs these commands in it. Returns the folder's path.
///
/// An existing folder is reused if it was created from the same files and commands. Otherwise the
/// folder is created again. Other test processes wait meanwhile.
pub(crate) fn install_into_folder(
    name: &str,
    files: &[(&str, &str)],
    commands: &[&[&str]],
) -> Result<PathBuf, MissingTool> {
    let _lock = locked(&format!("{name}.lock"));
    let folder = folder().join(name);
    let recipe = format!("{files:?}\n{commands:?}\n");
    let stamp = folder.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == recipe) {
        return Ok(folder);
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).map_err(MissingTool::new)?;
    for (file, text) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("the path has a parent folder"))
            .map_err(MissingTool::new)?;
        fs::write(path, text).map_err(MissingTool::new)?;
    }
    for command in commands {
        let [program, arguments @ ..] = command else { continue };
        run(Command::new(program).args(arguments).current_dir(&folder))?;
    }
    fs::write(stamp, recipe).map_err(MissingTool::new)?;
    Ok(folder)
}

/// Takes the file lock `name`, so that only one process at a time installs under this name.
fn locked(name: &str) -> File {
    fs::create_dir_all(folder()).expect("the target folder can be written");
    let lock = File::create(folder().join(name)).expect("the lock can be created");
    lock.lock().expect("the file system of the target folder has locks");
    lock
}

/// Returns the folder into which all software is installed.
fn folder() -> PathBuf {
    target().join("clients")
}

/// Returns cargo's target folder.
fn target() -> &'static Path {
    scratch().parent().expect("cargo's folder for tests is inside its target folder")
}

/// Returns the folder that cargo reserves for files that tests write.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs a command and waits until it exits. On failure, the error contains the last line of
/// standard error.
pub(crate) fn run(command: &mut Command) -> Result<(), MissingTool> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| MissingTool::new(format_args!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last_line = complaint.trim().lines().last().unwrap_or("no reason given");
    Err(MissingTool::new(format_args!("{program}: {}: {last_line}", output.status)))
}

/// Returns a command that the kernel kills when the thread that started it ends. So a killed test
/// run leaves no processes behind. Without `setpriv`, the command is an ordinary one.
pub(crate) fn killed_with_test(program: impl AsRef<Path>) -> Command {
    let arguments = ["--pdeathsig", "KILL", "--"];
    let mut command = Command::new("setpriv");
    if run(command.args(arguments).arg("true")).is_err() {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("setpriv");
    command.args(arguments).arg(program.as_ref());
    command
}

/// Polls `probe` until it returns `Some`, and returns that result.
///
/// # Panics
///
/// If `probe` returns `None` for longer than `within`.
#[allow(clippy::disallowed_methods, reason = "third-party processes run in real time")]
pub(crate) async fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let polling = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            pause().await;
        }
    };
    match tokio::time::timeout(within, polling).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: did not happen within {within:?}"),
    }
}

/// Waits for one poll interval.
#[allow(clippy::disallowed_methods, reason = "third-party processes run in real time")]
pub(crate) async fn pause() {
    tokio::time::sleep(POLL).await;
}
