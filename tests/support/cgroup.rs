//! A control group that limits processor time and memory, for a test or a benchmark.
//!
//! ```ignore
//! let bounds = Bounds { cpu_divisor: 14, memory_bytes: Some(64 << 20) };
//! let group = match Cgroup::new(bounds) {
//!     Ok(group) => group,
//!     Err(error) => return MissingTool::new(error).context("a control group").skip_or_fail(),
//! };
//! let command = group.command(Command::new("/bin/sh"), "target/debug/sidekey");
//! ```

#![allow(dead_code, reason = "each binary that shares this file uses a part of it")]

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The length of a scheduling period. A short period spreads the throttling evenly over a start.
const PERIOD_MICROS: u32 = 20_000;

/// The folder in which the kernel mounts its control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The common prefix of all group names.
const PREFIX: &str = "sidekey-";

/// A shell script that joins the groups before `--` and then executes the program after `--`. So no
/// instruction of the program runs outside the groups.
const JOIN: &str = "while [ \"$1\" != -- ]; do echo $$ > \"$1\" || exit 125; shift; done; shift; \
                    exec \"$@\"";

/// The number of attempts to remove a group while its processes end. With [`PAUSE`], 10 s in total.
const REMOVE_ATTEMPTS_MAX: u32 = 1_000;

/// The pause between two attempts to remove a group.
const PAUSE: Duration = Duration::from_millis(10);

/// The resource limits that all processes of a group share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The group gets 1/`cpu_divisor` of one processor.
    pub(crate) cpu_divisor: u32,
    /// The group's memory limit in bytes. The group gets no swap.
    pub(crate) memory_bytes: Option<u64>,
}

/// A control group. Dropping the value kills the group's processes and removes the group.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// One folder for version 2 of control groups, or one folder for each controller of version 1.
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Creates a group with these limits.
    ///
    /// # Errors
    ///
    /// If this user lacks permission, or the kernel lacks a controller.
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

    /// Returns the files to which a process writes its id in order to join the group.
    pub(crate) fn membership_files(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.join("cgroup.procs")).collect()
    }

    /// Returns a command that runs `program` inside the group. `shell` runs the joining script.
    pub(crate) fn command(&self, shell: Command, program: impl AsRef<Path>) -> Command {
        command_in_groups(shell, &self.membership_files(), program.as_ref())
    }

    /// Returns how often the kernel killed a process of the group because memory ran out.
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

    /// Returns the peak memory use of the group in bytes, including the page cache.
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

/// Makes `shell` join the groups and then execute `program`. Later arguments go to `program`.
pub(crate) fn command_in_groups(
    mut shell: Command,
    members: &[PathBuf],
    program: &Path,
) -> Command {
    shell.args(["-c", JOIN, "sh"]).args(members).arg("--").arg(program);
    shell
}

/// Kills the processes of a group, and removes the group when they have ended.
#[allow(
    clippy::disallowed_methods,
    reason = "the kernel sends no event when a group becomes empty"
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

/// Removes groups whose creating process was killed before it could remove them.
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

/// Writes the limit that excludes swap. The file is absent if the kernel has no swap accounting.
fn write_swap_limit(file: &Path, bytes: u64) -> io::Result<()> {
    if file.exists() { write(file, bytes.to_string()) } else { Ok(()) }
}

fn write(file: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    fs::write(file, text).map_err(|error| with_path(file, &error))
}

/// Adds the file's path to the error, because `io::Error` does not contain the path.
fn with_path(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}
