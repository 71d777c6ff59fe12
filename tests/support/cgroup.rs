//! A control group of Linux, which limits the CPU time and the memory of a test's or a benchmark's
//! programs.
//!
//! ```ignore
//! let bounds = Bounds { cpu_divisor: 14, memory_bytes: Some(64 << 20) };
//! let group = match Cgroup::new(bounds) {
//!     Ok(group) => group,
//!     Err(error) => return MissingTool::new(error).context("a control group").skip_or_fail(),
//! };
//! let command = group.command(Command::new("/bin/sh"), "target/debug/sidekey");
//! ```

#![allow(dead_code, reason = "each program that includes this file uses only a part of it")]

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The length in microseconds of the period in which the kernel distributes CPU time. A short
/// period distributes the pauses of a limited program evenly.
const PERIOD_MICROS: u32 = 20_000;

const ROOT: &str = "/sys/fs/cgroup";

/// The beginning of the names of all control groups that tests create.
const PREFIX: &str = "sidekey-";

/// A shell script that first adds itself to the control groups before `--`, and then executes the
/// program after `--`. All instructions of the program are therefore limited.
const JOIN: &str = "while [ \"$1\" != -- ]; do echo $$ > \"$1\" || exit 125; shift; done; shift; \
                    exec \"$@\"";

/// The maximum number of attempts to remove a control group while its processes end. Together with
/// the pauses, the attempts take 10 seconds.
const REMOVE_ATTEMPTS_MAX: u32 = 1_000;

/// The pause between two attempts to remove a control group.
const PAUSE: Duration = Duration::from_millis(10);

/// The limits that all processes of a control group share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The divisor of the CPU limit: all processes together get 1/`cpu_divisor` of one CPU.
    pub(crate) cpu_divisor: u32,
    /// The memory limit in bytes, or `None` for no limit. The processes get no swap space.
    pub(crate) memory_bytes: Option<u64>,
}

/// A control group of Linux. Dropping this value kills the group's processes and removes the group.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// The folders of the control group. Version 1 of control groups needs one folder for CPU time
    /// and one for memory, version 2 needs only one folder.
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Creates a control group with these limits.
    ///
    /// # Errors
    ///
    /// If the user lacks permission, or the kernel does not support the limits.
    pub(crate) fn new(bounds: Bounds) -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        let mut group = Self { folders: Vec::new() };
        let root = Path::new(ROOT);
        let is_unified = fs::read_to_string(root.join("cgroup.controllers"))
            .is_ok_and(|all| all.split_whitespace().any(|controller| controller == "cpu"));
        if is_unified {
            group.apply_limits_v2(root, &name, bounds)?;
        } else {
            group.apply_limits_v1(root, &name, bounds)?;
        }
        Ok(group)
    }

    fn apply_limits_v2(&mut self, root: &Path, name: &str, bounds: Bounds) -> io::Result<()> {
        let controllers = if bounds.memory_bytes.is_some() { "+cpu +memory" } else { "+cpu" };
        write(&root.join("cgroup.subtree_control"), controllers)?;
        let folder = self.add(root, name)?;
        let quota = PERIOD_MICROS / bounds.cpu_divisor;
        write(&folder.join("cpu.max"), format!("{quota} {PERIOD_MICROS}"))?;
        if let Some(bytes) = bounds.memory_bytes {
            write(&folder.join("memory.max"), bytes.to_string())?;
            write_swap_limit(&folder.join("memory.swap.max"), 0)?;
        }
        Ok(())
    }

    fn apply_limits_v1(&mut self, root: &Path, name: &str, bounds: Bounds) -> io::Result<()> {
        let folder = self.add(&root.join("cpu"), name)?;
        let quota = PERIOD_MICROS / bounds.cpu_divisor;
        write(&folder.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
        write(&folder.join("cpu.cfs_quota_us"), quota.to_string())?;
        if let Some(bytes) = bounds.memory_bytes {
            let folder = self.add(&root.join("memory"), name)?;
            write(&folder.join("memory.limit_in_bytes"), bytes.to_string())?;
            write_swap_limit(&folder.join("memory.memsw.limit_in_bytes"), bytes)?;
        }
        Ok(())
    }

    fn add(&mut self, parent: &Path, name: &str) -> io::Result<PathBuf> {
        remove_leftovers(parent);
        let folder = parent.join(name);
        fs::create_dir(&folder).map_err(|error| with_path(&folder, &error))?;
        self.folders.push(folder.clone());
        Ok(folder)
    }

    /// Returns the files of the control group. A process joins the group by writing its process id
    /// to these files.
    pub(crate) fn membership_files(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.join("cgroup.procs")).collect()
    }

    /// Returns a command that runs `program` inside the control group. `shell` is a command that
    /// starts a shell.
    pub(crate) fn command(&self, shell: Command, program: impl AsRef<Path>) -> Command {
        command_in_groups(shell, &self.membership_files(), program.as_ref())
    }

    /// Returns how often the kernel killed a process of the control group because memory ran out.
    pub(crate) fn memory_kills(&self) -> u64 {
        // `memory.events` exists in version 2, `memory.oom_control` in version 1.
        let files = self.folders.iter().flat_map(|folder| {
            ["memory.events", "memory.oom_control"].map(|file| folder.join(file))
        });
        files
            .filter_map(|file| fs::read_to_string(file).ok())
            .filter_map(|text| {
                text.lines()
                    .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
            })
            .sum()
    }

    /// Returns the peak memory use of the control group in bytes, including the page cache.
    pub(crate) fn memory_peak_bytes(&self) -> Option<u64> {
        let files = self.folders.iter().flat_map(|folder| {
            ["memory.peak", "memory.max_usage_in_bytes"].map(|file| folder.join(file))
        });
        files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).max()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            remove(folder);
        }
    }
}

/// Returns the command `shell` with arguments that make it join the control groups and then execute
/// `program`. Further arguments of the command go to `program`.
pub(crate) fn command_in_groups(
    mut shell: Command,
    members: &[PathBuf],
    program: &Path,
) -> Command {
    shell.args(["-c", JOIN, "sh"]).args(members).arg("--").arg(program);
    shell
}

/// Kills the processes of a control group, and removes the group when the processes have ended.
#[allow(
    clippy::disallowed_methods,
    reason = "the test must wait, because the kernel does not report an empty control group"
)]
fn remove(folder: &Path) {
    for _ in 0..REMOVE_ATTEMPTS_MAX {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => kill_members(folder),
            Ok(()) | Err(_) => return,
        }
        thread::sleep(PAUSE);
    }
}

fn kill_members(folder: &Path) {
    let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for member in members.lines() {
        if let Some(member) = member.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(member, Signal::KILL);
        }
    }
}

/// Removes control groups of earlier test processes that were killed before they could remove their
/// groups.
fn remove_leftovers(parent: &Path) {
    let Ok(groups) = fs::read_dir(parent) else { return };
    for group in groups.flatten() {
        let name = group.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
            remove(&group.path());
        }
    }
}

/// Forbids swap space by writing `bytes` to `file`. The file is missing if the kernel does not
/// count swap space.
fn write_swap_limit(file: &Path, bytes: u64) -> io::Result<()> {
    if file.exists() { write(file, bytes.to_string()) } else { Ok(()) }
}

fn write(file: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    fs::write(file, text).map_err(|error| with_path(file, &error))
}

/// Adds the path of a file to an error, because `io::Error` does not contain the path.
fn with_path(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}
