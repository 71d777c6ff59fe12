//! Stores idle connections to other servers, so that later calls reuse these connections.

use super::origin::Origin;
use crate::clock::{Clock, Moment};
use crate::http1::Connection;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the agent keeps an idle connection open for the next call. Two seconds are
/// enough for a burst of refreshes of cached secrets.
///
/// With a longer time, calls would fail: Lambda and NAT gateways drop idle connections without
/// notice, and connections break while Lambda freezes the process.
const IDLE_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdlePolicy {
    /// The agent keeps an idle connection open for [`IDLE_MAX`], so that a later call to the
    /// same scheme, host and port reuses the connection.
    Reuse,
    /// The agent closes each connection after one call. Otherwise connections would break
    /// when Lambda SnapStart restores the process from a snapshot.
    Close,
}

pub(super) struct Pool {
    policy: IdlePolicy,
    clock: Arc<dyn Clock>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The idle connections, sorted by the time at which they became idle. Each item contains this
    /// time, the scheme, host and port of the connection, and the connection itself.
    connections: Vec<(Moment, Origin, Connection)>,
    /// Whether a task is running that closes idle connections after [`IDLE_MAX`].
    is_swept: bool,
    /// The task that closes idle connections after [`IDLE_MAX`]. Dropping this set aborts the task.
    sweeper: JoinSet<()>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(policy: IdlePolicy, clock: Arc<dyn Clock>) -> Self {
        Self { policy, clock, idle: Mutex::default() }
    }

    /// Removes the most recently used idle connection to `origin` (scheme, host and port) from the
    /// pool and returns it. Skips connections that the server has closed, and connections on which bytes
    /// arrived without a request. Returns `None` if no connection is left.
    pub(super) async fn take(&self, origin: &Origin) -> Option<Connection> {
        loop {
            let mut connection = self.take_newest(origin)?;
            if connection.is_still_open().await {
                return Some(connection);
            }
        }
    }

    fn take_newest(&self, origin: &Origin) -> Option<Connection> {
        let now = self.clock.now();
        let connections = &mut self.idle().connections;
        let index = connections
            .iter()
            .rposition(|(since, to, _)| to == origin && remaining(now.since(*since)).is_some())?;
        Some(connections.remove(index).2)
    }

    /// Puts a connection that can send another request into the pool. Closes the connection if the
    /// agent must not reuse connections.
    pub(super) fn put(self: &Arc<Self>, origin: Origin, connection: Connection) {
        if self.policy == IdlePolicy::Close {
            return;
        }
        let now = self.clock.now();
        let mut idle = self.idle();
        idle.connections.push((now, origin, connection));
        if !idle.is_swept {
            idle.is_swept = true;
            idle.sweeper = JoinSet::new();
            idle.sweeper.spawn(sweep(Arc::downgrade(self), self.clock.clone()));
        }
    }

    /// Closes all connections that have been idle for longer than [`IDLE_MAX`]. Returns the time
    /// until the next connection must be closed, or `None` if the pool is empty.
    fn close_old(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut idle = self.idle();
        idle.connections.retain(|(since, ..)| remaining(now.since(*since)).is_some());
        let next = idle.connections.first().and_then(|(since, ..)| remaining(now.since(*since)));
        idle.is_swept = next.is_some();
        next
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().expect("no thread may panic while it holds the lock")
    }
}

/// Repeatedly closes connections that have been idle for longer than [`IDLE_MAX`]. Returns when the
/// pool is empty or dropped.
async fn sweep(pool: Weak<Pool>, clock: Arc<dyn Clock>) {
    let mut next = Some(IDLE_MAX);
    while let Some(span) = next {
        clock.sleep(span).await;
        next = pool.upgrade().and_then(|pool| pool.close_old());
    }
}

/// Returns how much longer a connection can be reused if it has been idle for `age`. Returns `None`
/// if the connection must be closed.
///
/// `age` is `None` if the idle time is unknown, because the steady (monotonic) clock went back.
fn remaining(age: Option<Duration>) -> Option<Duration> {
    IDLE_MAX.checked_sub(age?).filter(|remaining| !remaining.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(age_ms: Option<u64>, expected_ms: Option<u64>) {
        let found = remaining(age_ms.map(Duration::from_millis));
        assert_eq!(
            found,
            expected_ms.map(Duration::from_millis),
            "the result for an idle time of {age_ms:?} ms is wrong"
        );
    }

    #[test]
    fn idle_connection_is_reusable_for_two_seconds() {
        check(Some(0), Some(2000));
        check(Some(1999), Some(1));
        check(Some(2000), None);
        check(Some(3_600_000), None);
        check(None, None);
    }
}
