//! Protects the memory of this process from core dumps and from other processes.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// Makes the process not dumpable: other processes of the same user cannot trace this process or
/// read its memory, and a crash writes no core file.
///
/// A program that replaces this process through `exec` is dumpable again. Only Linux supports this
/// protection. On other systems the function does nothing.
///
/// # Errors
///
/// Returns an error if the system refuses the change. The process then stays dumpable.
pub(crate) fn hide() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Makes the process not dumpable, so that other processes of the same user cannot read its memory.
/// Also sets the process's limit for core files to zero.
///
/// Programs that this process starts inherit the limit.
///
/// # Errors
///
/// Returns an error if the system refuses one of the changes. The process may then stay dumpable.
pub fn harden() -> io::Result<()> {
    hide()?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
