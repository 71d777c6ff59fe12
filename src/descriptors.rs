//! The limit on open files and sockets of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit on open file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The current limit. `usize::MAX` means no limit.
    pub limit: usize,
    /// The limit before the agent raised it, or `None` if the agent did not raise the limit.
    pub raised_from: Option<usize>,
}

/// Raises the soft limit on descriptors to the hard limit, and returns the result.
///
/// Programs that this process starts inherit the raised limit. If the system refuses, the limit
/// stays as it is.
pub fn raise() -> Descriptors {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = current != maximum
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    match is_raised {
        true => Descriptors { limit: count(maximum), raised_from: Some(count(current)) },
        false => Descriptors { limit: count(current), raised_from: None },
    }
}

/// Converts a limit to a count. A missing limit becomes the largest count.
fn count(limit: Option<u64>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}
