//! The limit of open files and sockets of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The limit that holds now.
    pub limit: usize,
    /// The limit before it was raised, if it was.
    pub raised_from: Option<usize>,
}

/// Raises the soft limit to the hard one. Programs that are started from here inherit it.
///
/// If the system refuses, the limit stays as it is.
pub fn raise() -> Descriptors {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = current != maximum
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    match is_raised {
        true => Descriptors { limit: count(maximum), raised_from: Some(count(current)) },
        false => Descriptors { limit: count(current), raised_from: None },
    }
}

/// Without a limit there are as many as can be counted.
fn count(limit: Option<u64>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}
