//! Connections that nobody uses, kept for the next call.

use super::dialer::Origin;
use crate::clock::{Clock, Moment};
use crate::http1::Connection;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a connection to AWS may lie idle and still be used again: as long as a burst of
/// refreshes lasts. Lambda and NAT gateways drop idle connections without a word, and a freeze
/// leaves them broken.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// What becomes of a connection that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Idle {
    /// It is kept for [`IDLE_MAX`].
    Kept,
    /// It is closed: none is carried through a snapshot.
    Closed,
}

/// The connections that nobody uses.
pub(super) struct Pool {
    idle: Idle,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// In the order in which they were put here.
    connections: Vec<(Moment, Origin, Connection)>,
    /// Whether somebody closes them.
    is_swept: bool,
    /// Who does, and ends with the pool.
    sweeper: JoinSet<()>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle).finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(idle: Idle, clock: Arc<dyn Clock>) -> Self {
        Self { idle, clock, kept: Mutex::default() }
    }

    /// Returns a connection to `origin` that can be used, if there is one: the one used last.
    pub(super) async fn take(&self, origin: &Origin) -> Option<Connection> {
        loop {
            let mut connection = self.take_any(origin)?;
            if connection.is_open().await {
                return Some(connection);
            }
        }
    }

    fn take_any(&self, origin: &Origin) -> Option<Connection> {
        let now = self.clock.now();
        let connections = &mut self.kept().connections;
        let at = connections
            .iter()
            .rposition(|(since, to, _)| to == origin && left(now.since(*since)).is_some())?;
        Some(connections.remove(at).2)
    }

    /// Keeps a connection, if it can be used again.
    pub(super) async fn keep(self: &Arc<Self>, origin: Origin, mut connection: Connection) {
        if self.idle == Idle::Closed || !connection.is_open().await {
            return;
        }
        let now = self.clock.now();
        let mut kept = self.kept();
        kept.connections.push((now, origin, connection));
        if !kept.is_swept {
            kept.is_swept = true;
            kept.sweeper = JoinSet::new();
            kept.sweeper.spawn(sweep(Arc::downgrade(self), self.clock.clone()));
        }
    }

    /// Closes those that have been idle for too long. Returns when the next one will have been; if
    /// none is left, it is not to be swept any more.
    fn close_old(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut kept = self.kept();
        kept.connections.retain(|(since, ..)| left(now.since(*since)).is_some());
        let next = kept.connections.first().and_then(|(since, ..)| left(now.since(*since)));
        kept.is_swept = next.is_some();
        next
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder panics")
    }
}

/// Closes connections as they grow old, until there are none, or no pool.
async fn sweep(pool: Weak<Pool>, clock: Arc<dyn Clock>) {
    let mut next = Some(IDLE_MAX);
    while let Some(span) = next {
        clock.sleep(span).await;
        next = pool.upgrade().and_then(|pool| pool.close_old());
    }
}

/// Returns how long a connection is still good that has been idle for `age`; `None` where it is not,
/// or the clocks cannot say.
fn left(age: Option<Duration>) -> Option<Duration> {
    IDLE_MAX.checked_sub(age?).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(age_ms: Option<u64>, expected_ms: Option<u64>) {
        let left = left(age_ms.map(Duration::from_millis));
        assert_eq!(left, expected_ms.map(Duration::from_millis), "idle for {age_ms:?}");
    }

    #[test]
    fn a_connection_is_good_while_a_burst_of_refreshes_lasts() {
        check(Some(0), Some(2000));
        check(Some(1999), Some(1));
        check(Some(2000), None);
        check(Some(3_600_000), None);
        check(None, None);
    }
}
