//! Raises the limit on the number of files and sockets that this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// The maximum number of open files and sockets of this process. `usize::MAX` means no limit.
    pub(crate) limit: usize,
    /// The limit on open files and sockets when the agent started. `None` if the agent did not
    /// raise this limit.
    pub(crate) raised_from: Option<usize>,
}

/// Raises the limit on open files and sockets as far as the system allows, so that the agent can
/// serve many connections. Returns the new limit.
///
/// Programs that this process starts have the same limit.
pub(crate) fn raise() -> Descriptors {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = current != maximum
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    match is_raised {
        true => Descriptors { limit: count(maximum), raised_from: Some(count(current)) },
        false => Descriptors { limit: count(current), raised_from: None },
    }
}

fn count(limit: Option<u64>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}
