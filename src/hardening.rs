//! Keeps secrets out of core dumps and out of other processes' reach.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io;

/// Makes the process not dumpable: no other process of the same user may trace it or read its memory,
/// and it leaves no core. A program that it becomes is dumpable again.
///
/// # Errors
///
/// Where the system refuses: then the process is as open as any other.
pub fn hide() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
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
