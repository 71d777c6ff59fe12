//! A control group with bounds on processor and memory, made for a test or a bench.
//!
//! ```ignore
//! let bounds = Bounds { part_of_a_processor: 14, memory_bytes: Some(64 << 20) };
//! let group = match Cgroup::new(bounds) {
//!     Ok(group) => group,
//!     Err(error) => return Missing::new(error).of("a control group").skip_or_fail(),
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

/// How often the kernel grants the processor's share. Short, so that a start is slowed evenly.
const PERIOD_MICROS: u32 = 20_000;

/// Where the kernel has its control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The beginning of every group's name.
const PREFIX: &str = "sidekey-";

/// A shell that joins the groups before `--` and becomes the program after it, so that no instruction
/// of the program runs outside of the groups.
const JOIN: &str = "while [ \"$1\" != -- ]; do echo $$ > \"$1\" || exit 125; shift; done; shift; \
                    exec \"$@\"";

/// Looks at a group that processes are leaving, [`PAUSE`] apart: 10 s together.
const LOOKS_MAX: u32 = 1_000;

const PAUSE: Duration = Duration::from_millis(10);

/// What the processes of a group may use together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The group gets one so-manieth of one processor.
    pub(crate) part_of_a_processor: u32,
    /// The group gets that much memory, and no swap.
    pub(crate) memory_bytes: Option<u64>,
}

/// A group. Dropping it kills the processes in it and removes it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// One folder with version 2 of control groups, one for each controller with version 1.
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes a group.
    ///
    /// # Errors
    ///
    /// If this user may not, or the kernel lacks a controller.
    pub(crate) fn new(bounds: Bounds) -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        let mut group = Self { folders: Vec::new() };
        let root = Path::new(ROOT);
        let is_unified = fs::read_to_string(root.join("cgroup.controllers"))
            .is_ok_and(|all| all.split_whitespace().any(|controller| controller == "cpu"));
        if is_unified {
            group.bound_in_version_2(root, &name, bounds)?;
        } else {
            group.bound_in_version_1(root, &name, bounds)?;
        }
        Ok(group)
    }

    fn bound_in_version_2(&mut self, root: &Path, name: &str, bounds: Bounds) -> io::Result<()> {
        let controllers = if bounds.memory_bytes.is_some() { "+cpu +memory" } else { "+cpu" };
        write(&root.join("cgroup.subtree_control"), controllers)?;
        let folder = self.add(root, name)?;
        let quota = PERIOD_MICROS / bounds.part_of_a_processor;
        write(&folder.join("cpu.max"), format!("{quota} {PERIOD_MICROS}"))?;
        if let Some(bytes) = bounds.memory_bytes {
            write(&folder.join("memory.max"), bytes.to_string())?;
            without_swap(&folder.join("memory.swap.max"), 0)?;
        }
        Ok(())
    }

    fn bound_in_version_1(&mut self, root: &Path, name: &str, bounds: Bounds) -> io::Result<()> {
        let folder = self.add(&root.join("cpu"), name)?;
        let quota = PERIOD_MICROS / bounds.part_of_a_processor;
        write(&folder.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
        write(&folder.join("cpu.cfs_quota_us"), quota.to_string())?;
        if let Some(bytes) = bounds.memory_bytes {
            let folder = self.add(&root.join("memory"), name)?;
            write(&folder.join("memory.limit_in_bytes"), bytes.to_string())?;
            without_swap(&folder.join("memory.memsw.limit_in_bytes"), bytes)?;
        }
        Ok(())
    }

    fn add(&mut self, parent: &Path, name: &str) -> io::Result<PathBuf> {
        remove_leftovers(parent);
        let folder = parent.join(name);
        fs::create_dir(&folder).map_err(|error| named(&folder, &error))?;
        self.folders.push(folder.clone());
        Ok(folder)
    }

    /// Returns the files in which a process writes its id to join.
    pub(crate) fn members(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.join("cgroup.procs")).collect()
    }

    /// Returns a command that runs `program` in the group. `shell` becomes the program.
    pub(crate) fn command(&self, shell: Command, program: impl AsRef<Path>) -> Command {
        joining(shell, &self.members(), program.as_ref())
    }

    /// Returns how often the kernel killed a process of the group for want of memory.
    pub(crate) fn memory_kills(&self) -> u64 {
        // The first is of version 2, the second of version 1.
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

    /// Returns the most bytes that the group ever used, files in the page cache included.
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

/// Makes a shell join groups and become a program, which gets the arguments that are added.
pub(crate) fn joining(mut shell: Command, members: &[PathBuf], program: &Path) -> Command {
    shell.args(["-c", JOIN, "sh"]).args(members).arg("--").arg(program);
    shell
}

/// Kills the processes of a group, and removes the group when they have ended.
#[allow(clippy::disallowed_methods, reason = "the kernel does not say when a group is empty")]
fn remove(folder: &Path) {
    for _ in 0..LOOKS_MAX {
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

/// Removes groups whose makers were killed before they could.
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

/// Sets the bound on memory and swap. A kernel without swap has no such file.
fn without_swap(file: &Path, bytes: u64) -> io::Result<()> {
    if file.exists() { write(file, bytes.to_string()) } else { Ok(()) }
}

fn write(file: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    fs::write(file, text).map_err(|error| named(file, &error))
}

/// Adds the file to the error, since `io::Error` does not name it.
fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}
