//! Keeps secrets out of core dumps and out of other processes' reach.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io;

/// Makes the process not dumpable, so that no other process of the same user may trace it or read
/// its memory, and sets its core limit to zero.
///
/// # Errors
///
/// Where the system refuses: then the process is as open as any other.
pub fn harden() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
