//! A control group with a share of one processor, made for this bench.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How often the share is given out anew. Short, so that a start is slowed evenly.
const PERIOD_MICROS: u32 = 20_000;

/// A group; it is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// Makes a group that gets one `part`th of a processor.
    ///
    /// # Errors
    ///
    /// Where this user may not, or the kernel has no such controller.
    pub(crate) fn part_of_a_processor(part: u32) -> io::Result<Self> {
        let quota = PERIOD_MICROS / part;
        let name = format!("sidekey-bench-{}", std::process::id());
        let unified = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(unified.join("cgroup.controllers"));
        if controllers.is_ok_and(|all| all.split_whitespace().any(|one| one == "cpu")) {
            fs::write(unified.join("cgroup.subtree_control"), "+cpu")?;
            let group = Self::in_folder(unified.join(name))?;
            fs::write(group.folder.join("cpu.max"), format!("{quota} {PERIOD_MICROS}"))?;
            return Ok(group);
        }
        let group = Self::in_folder(Path::new("/sys/fs/cgroup/cpu").join(name))?;
        fs::write(group.folder.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
        fs::write(group.folder.join("cpu.cfs_quota_us"), quota.to_string())?;
        Ok(group)
    }

    fn in_folder(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    /// Returns the file in which a process writes its id to join.
    pub(crate) fn members(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
