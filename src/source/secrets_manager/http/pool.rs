//! A pool of idle connections to AWS. Later calls reuse these connections.

use super::origin::Origin;
use crate::clock::{Clock, Moment};
use crate::http1::Connection;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::task::JoinSet;

/// The longest idle time after which the agent still reuses a connection to AWS. Two seconds are
/// enough for a burst of refreshes. With a longer time, calls would fail: Lambda and NAT gateways
/// drop idle connections without notice, and connections break while Lambda freezes the process.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// The policy that determines whether a connection is kept open after a call to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum IdlePolicy {
    /// Policy: an idle connection is kept open for [`IDLE_MAX`], and the next call to the same
    /// origin (scheme, host and port) reuses the connection.
    Reuse,
    /// Policy: a connection is closed after each call, because connections break when a process is
    /// restored from a snapshot.
    Close,
}

/// A pool of idle connections to AWS.
pub(super) struct Pool {
    policy: IdlePolicy,
    clock: Arc<dyn Clock>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The idle connections. Each entry contains the time since which the connection is idle, and
    /// the origin of its calls. The entry that has been idle longest is first.
    connections: Vec<(Moment, Origin, Connection)>,
    /// Whether a task is running that closes connections which have been idle for too long.
    is_swept: bool,
    /// The task that closes connections which have been idle for too long. Dropping the pool aborts
    /// the task.
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

    /// Takes the most recently used open connection to `origin` (scheme, host and port) out of the
    /// pool.
    pub(super) async fn take(&self, origin: &Origin) -> Option<Connection> {
        loop {
            let mut connection = self.take_newest(origin)?;
            if connection.is_open().await {
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

    /// Puts a connection into the pool, so that later calls can reuse it. If the connection cannot
    /// be reused, the function closes it instead.
    pub(super) async fn put(self: &Arc<Self>, origin: Origin, mut connection: Connection) {
        if self.policy == IdlePolicy::Close || !connection.is_open().await {
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

    /// Closes all connections that have been idle for too long. Returns the time until the next
    /// connection must be closed, or `None` if the pool is empty.
    fn close_old(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut idle = self.idle();
        idle.connections.retain(|(since, ..)| remaining(now.since(*since)).is_some());
        let next = idle.connections.first().and_then(|(since, ..)| remaining(now.since(*since)));
        idle.is_swept = next.is_some();
        next
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().expect("no code panics while it holds this lock")
    }
}

/// Closes connections that have been idle for too long. Returns when the pool is empty or dropped.
async fn sweep(pool: Weak<Pool>, clock: Arc<dyn Clock>) {
    let mut next = Some(IDLE_MAX);
    while let Some(span) = next {
        clock.sleep(span).await;
        next = pool.upgrade().and_then(|pool| pool.close_old());
    }
}

/// Returns for how long a connection may still be reused, if the connection has been idle for
/// `age`. Returns `None` if the connection must be closed. This includes the case that `age` is
/// `None`, because the clocks could not measure the idle time.
fn remaining(age: Option<Duration>) -> Option<Duration> {
    IDLE_MAX.checked_sub(age?).filter(|remaining| !remaining.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(age_ms: Option<u64>, expected_ms: Option<u64>) {
        let found = remaining(age_ms.map(Duration::from_millis));
        assert_eq!(found, expected_ms.map(Duration::from_millis), "idle for {age_ms:?}");
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
