//! The limit on the number of files and sockets that this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// The current limit on open files and sockets. `usize::MAX` means no limit.
    pub(crate) limit: usize,
    /// The limit on open files and sockets before the agent raised it. `None` if the agent did not
    /// raise the limit.
    pub(crate) raised_from: Option<usize>,
}

/// Raises the soft limit on open files and sockets to the hard limit. Returns the limit that then
/// applies.
///
/// Programs that this process starts inherit the raised limit. If the system refuses to raise the
/// limit, the limit stays unchanged.
pub(crate) fn raise() -> Descriptors {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = current != maximum
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    match is_raised {
        true => Descriptors { limit: count(maximum), raised_from: Some(count(current)) },
        false => Descriptors { limit: count(current), raised_from: None },
    }
}

/// Converts a limit of the system to a number. `None` means no limit, and becomes `usize::MAX`.
fn count(limit: Option<u64>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}
