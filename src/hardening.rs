//! Protects the memory of this process, which contains secrets, from core dumps and from other
//! processes.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// Protects the memory of this process: other processes of the same user cannot read the memory,
/// and a crash writes no core file. Does nothing on systems other than Linux.
///
/// The protection ends if this process replaces itself by another program.
///
/// # Errors
///
/// Returns an error if the system refuses the change. The memory is then not protected.
pub(crate) fn hide() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Protects the memory of this process: other processes of the same user cannot read the memory,
/// and a crash writes no core file. Programs that this process starts write no core files either.
///
/// # Errors
///
/// Returns an error if the system refuses one of the changes. The memory may then be unprotected.
pub fn harden() -> io::Result<()> {
    hide()?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
