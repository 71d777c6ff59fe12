//! Keeps secrets out of core dumps and out of other processes' reach.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// Makes the process not dumpable: no other process of the same user may trace it or read its memory,
/// and it leaves no core. A program that it becomes is dumpable again.
///
/// Only Linux knows of this. Elsewhere it does nothing.
///
/// # Errors
///
/// Where the system refuses: then the process is as open as any other.
pub fn hide() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Hides the process, and sets its core limit to zero, which whatever it starts inherits.
///
/// # Errors
///
/// Where the system refuses: then the process is as open as any other.
pub fn harden() -> io::Result<()> {
    hide()?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
