//! Other people's software that the tests run Sidekey against, in pinned versions.
//!
//! It is installed once into `target/clients` by the ordinary package clients: moto, an independent
//! Secrets Manager; boto3, the AWS SDK most functions use, with AWS's caching library and Powertools; the
//! AWS CLI; and AWS's own emulator of the execution environment, which `aws-sam-cli` ships. What is for
//! other languages than Python is put beside it by [`furnish`]. A machine that lacks a tool skips the
//! test, saying why in one line; where `CI=true` nothing is skipped.
//!
//! ```ignore
//! #[path = "../support/clients.rs"]
//! mod clients; // `emulator`, `exchange`, `moto` and `port` are its siblings, under these names
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
//! Real processes keep real time: do not pause tokio's clock in a test that uses these modules.

#![allow(dead_code, reason = "each test binary that shares this file uses a part of it")]

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// What pip installs. moto without its `server` extra, which triples the time for services that
/// no test asks: Flask is all that its server needs.
const PYTHON_PACKAGES: [&str; 7] = [
    "moto==5.2.5",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "boto3==1.44.5",
    "aws-secretsmanager-caching==1.2.0",
    "aws-lambda-powertools==3.37.0",
    "awscli==1.46.2",
];

/// The package that ships AWS's emulator. Nothing else of it is kept.
const EMULATOR_PACKAGE: &str = "aws-sam-cli==1.170.0";

/// Takes the file named by the third argument out of the one wheel in the folder named by the
/// first, and puts it where the second says.
const EXTRACT: &str = "
import os, pathlib, sys, zipfile
folder, target, member = sys.argv[1:]
(wheel,) = pathlib.Path(folder).glob('*.whl')
pathlib.Path(target).write_bytes(zipfile.ZipFile(wheel).read(member))
os.chmod(target, 0o755)
";

/// How long to wait before looking once more.
const POLL: Duration = Duration::from_millis(2);

/// Why a test cannot run on this machine.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl Missing {
    pub(crate) fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }

    /// Says what it is that the reason stands against.
    pub(crate) fn of(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }

    /// Says in one line that the running test is skipped, or fails it where `CI=true`.
    #[track_caller]
    pub(crate) fn skip_or_fail(&self) {
        let name = thread::current().name().unwrap_or("test").to_owned();
        let line = format!("skipped: {name}: {}", self.0);
        assert!(!on_ci(), "{line}");
        // Not `eprintln!`, which the test harness swallows where the test passes.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

#[expect(clippy::disallowed_methods, reason = "tells the tests, not the agent, where they run")]
fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// The installed software.
#[derive(Debug)]
pub(crate) struct Clients {
    folder: PathBuf,
}

impl Clients {
    /// Returns the installed software, installing it first if that is still to do.
    ///
    /// Takes seconds the first time. Test processes that come at once wait for the first of them.
    pub(crate) fn install() -> Result<Self, Missing> {
        let clients = Self { folder: folder() };
        let _held = locked("lock");
        if !clients.is_complete() {
            clients.install_anew()?;
        }
        Ok(clients)
    }

    /// A Python that has boto3, and AWS's caching library on top of it.
    pub(crate) fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// moto's server.
    pub(crate) fn moto_server(&self) -> PathBuf {
        self.folder.join("venv/bin/moto_server")
    }

    /// AWS's emulator of the execution environment.
    pub(crate) fn emulator(&self) -> PathBuf {
        self.folder.join("aws-lambda-rie")
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("stamp")
    }

    fn is_complete(&self) -> bool {
        fs::read_to_string(self.stamp()).is_ok_and(|stamp| stamp == pins())
            && self.python().exists() // A link, which dangles once the system's Python is gone.
            && self.moto_server().exists()
            && self.emulator().exists()
    }

    fn install_anew(&self) -> Result<(), Missing> {
        let _ = fs::remove_file(self.stamp());
        self.install_python_packages()?;
        self.install_emulator()?;
        fs::write(self.stamp(), pins()).map_err(Missing::new)
    }

    fn install_python_packages(&self) -> Result<(), Missing> {
        let venv = self.folder.join("venv");
        // Debian's Python writes into the current folder meanwhile.
        let mut make_venv = Command::new("python3");
        run(make_venv.args(["-m", "venv", "--clear"]).arg(venv).current_dir(&self.folder))?;
        run(self.pip("install").args(PYTHON_PACKAGES))
    }

    fn install_emulator(&self) -> Result<(), Missing> {
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
        fs::remove_dir_all(download).map_err(Missing::new)
    }

    fn pip(&self, command: &str) -> Command {
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check", command]);
        pip
    }
}

/// What an installation must have been made from to be used.
fn pins() -> String {
    format!("{} {EMULATOR_PACKAGE}\n", PYTHON_PACKAGES.join(" "))
}

/// Returns a folder that has these files, and in which these commands were run once for them.
///
/// A folder that was made of other files, or by other commands, is made anew. Test processes that come
/// at once wait for the first of them.
pub(crate) fn furnish(
    name: &str,
    files: &[(&str, &str)],
    commands: &[&[&str]],
) -> Result<PathBuf, Missing> {
    let _held = locked(&format!("{name}.lock"));
    let folder = folder().join(name);
    let made_of = format!("{files:?}\n{commands:?}\n");
    let stamp = folder.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_of) {
        return Ok(folder);
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).map_err(Missing::new)?;
    for (file, text) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("it is in the folder")).map_err(Missing::new)?;
        fs::write(path, text).map_err(Missing::new)?;
    }
    for command in commands {
        let [program, arguments @ ..] = command else { continue };
        run(Command::new(program).args(arguments).current_dir(&folder))?;
    }
    fs::write(stamp, made_of).map_err(Missing::new)?;
    Ok(folder)
}

/// Waits until nobody else installs under this name, and keeps it so.
fn locked(name: &str) -> File {
    fs::create_dir_all(folder()).expect("the target folder can be written");
    let lock = File::create(folder().join(name)).expect("the lock can be created");
    lock.lock().expect("the file system of the target folder has locks");
    lock
}

/// The folder in which everything is installed.
fn folder() -> PathBuf {
    target().join("clients")
}

/// The folder that cargo builds into.
fn target() -> &'static Path {
    scratch().parent().expect("cargo's folder for tests lies in its target folder")
}

/// The folder that cargo sets aside for what tests write.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs a command to its end; a failure is told in the last line of its own words.
pub(crate) fn run(command: &mut Command) -> Result<(), Missing> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Missing::new(format_args!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last_line = complaint.trim().lines().last().unwrap_or("no reason given");
    Err(Missing::new(format_args!("{program}: {}: {last_line}", output.status)))
}

/// A command that is killed with the thread that starts it, so that a test run that is itself
/// killed leaves nothing behind. Where there is no `setpriv` it is an ordinary one.
pub(crate) fn tethered(program: impl AsRef<Path>) -> Command {
    let tether = ["--pdeathsig", "KILL", "--"];
    let mut command = Command::new("setpriv");
    if run(command.args(tether).arg("true")).is_err() {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("setpriv");
    command.args(tether).arg(program.as_ref());
    command
}

/// Looks until `probe` finds something.
///
/// # Panics
///
/// Where it finds nothing within the time.
#[allow(clippy::disallowed_methods, reason = "other people's processes keep real time")]
pub(crate) async fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let looked = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            pause().await;
        }
    };
    match tokio::time::timeout(within, looked).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {within:?}"),
    }
}

/// Waits for a moment before something is tried once more.
#[allow(clippy::disallowed_methods, reason = "other people's processes keep real time")]
pub(crate) async fn pause() {
    tokio::time::sleep(POLL).await;
}
