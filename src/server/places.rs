//! The places of a door's connections, and which connection is closed to make room for another.
//!
//! A new connection waits: no request of its has shown a good token yet. The first request that shows
//! one makes it a kept connection. Waiting connections never keep a newcomer out, and never take the
//! place of a kept one.

use super::wire::Exchange;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::task::TaskTracker;

/// The open connections of one door, or of the doors that share their places.
#[derive(Debug)]
pub(super) struct Places {
    waiting_max: usize,
    kept_max: usize,
    /// Counts accepted connections and answers. It orders connections by how long they are idle.
    events: AtomicU64,
    /// Locked when a connection is accepted, becomes a kept one, and ends. No request of a kept
    /// connection locks it.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    waiting: Rows,
    kept: Rows,
    last_id: u64,
}

type Rows = BTreeMap<u64, Row>;

#[derive(Debug)]
struct Row {
    exchange: Arc<Exchange>,
    /// Ends the connection. `None` until its task is spawned.
    task: Option<AbortHandle>,
}

impl Places {
    /// Makes places for `waiting_max` connections without a token and `kept_max` with one.
    pub(super) fn new(waiting_max: usize, kept_max: usize) -> Arc<Self> {
        let open = Mutex::default();
        Arc::new(Self { waiting_max, kept_max, events: AtomicU64::new(0), open })
    }

    /// Serves a new connection as a task of `tasks`. If too many wait, the one that has waited
    /// longest is closed.
    pub(super) fn admit<F>(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        serve: impl FnOnce(Place) -> F,
    ) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let place = self.enter();
        let id = place.id;
        // The lock is free here: a runtime that shuts down drops the task, and so the place, at once.
        let task = tasks.spawn(serve(place));
        let mut open = self.open();
        let Open { waiting, kept, .. } = &mut *open;
        if let Some(row) = waiting.get_mut(&id).or_else(|| kept.get_mut(&id)) {
            row.task = Some(task.abort_handle());
        }
        task
    }

    /// Closes the connection that has waited longest, and returns whether there was one.
    pub(super) fn close_waiting(&self) -> bool {
        self.open().close_waiting()
    }

    fn enter(self: &Arc<Self>) -> Place {
        let exchange = Arc::new(Exchange::default());
        exchange.idle_since(self.next_event());
        let mut open = self.open();
        if open.waiting.len() >= self.waiting_max {
            open.close_waiting();
        }
        open.last_id += 1;
        let id = open.last_id;
        open.waiting.insert(id, Row { exchange: exchange.clone(), task: None });
        Place { places: self.clone(), id, exchange, is_kept: AtomicBool::new(false) }
    }

    /// Makes a waiting connection a kept one. If all places are taken, the kept connection that has
    /// been idle longest is closed. Returns whether there was a place.
    fn keep(&self, id: u64) -> bool {
        let mut open = self.open();
        if open.kept.len() >= self.kept_max && !close(&mut open.kept, longest_idle) {
            return false;
        }
        let row = open.waiting.remove(&id);
        row.is_some_and(|row| open.kept.insert(id, row).is_none())
    }

    /// Returns the number of the next event. Two threads may get the same one, which only makes a
    /// tie; an atomic increment would cost each answer more.
    fn next_event(&self) -> u64 {
        let next = self.events.load(Ordering::Relaxed) + 1;
        self.events.store(next, Ordering::Relaxed);
        next
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder panics")
    }
}

impl Open {
    fn close_waiting(&mut self) -> bool {
        close(&mut self.waiting, longest_waiting)
    }
}

/// Closes the connection that `choose` names, and returns whether it names one.
fn close(rows: &mut Rows, choose: fn(&[Standing]) -> Option<u64>) -> bool {
    let standings: Vec<Standing> = rows.iter().map(|(id, row)| row.standing(*id)).collect();
    let Some(row) = choose(&standings).and_then(|id| rows.remove(&id)) else { return false };
    if let Some(task) = row.task {
        task.abort();
    }
    true
}

impl Row {
    fn standing(&self, id: u64) -> Standing {
        let (is_busy, since) = (self.exchange.is_in_flight(), self.exchange.last_event());
        Standing { id, is_busy, since }
    }
}

/// What decides whether a connection is the one to close.
#[derive(Clone, Copy, Debug)]
struct Standing {
    id: u64,
    /// A request is being answered.
    is_busy: bool,
    /// The event since which the connection is idle: its last answer, or that it was accepted.
    since: u64,
}

/// Chooses the connection that has been idle longest. A busy connection is never chosen.
fn longest_idle(open: &[Standing]) -> Option<u64> {
    let idle = open.iter().filter(|standing| !standing.is_busy);
    idle.min_by_key(|standing| standing.since).map(|standing| standing.id)
}

/// Chooses the oldest connection, busy or not: a request without a good token keeps its connection busy
/// for as long as it likes, and a newcomer may have a good one.
fn longest_waiting(open: &[Standing]) -> Option<u64> {
    open.iter().map(|standing| standing.id).min()
}

/// The place of one connection. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    exchange: Arc<Exchange>,
    is_kept: AtomicBool,
}

impl Place {
    /// Returns where the connection stands in its exchange.
    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Returns whether the connection is a kept one.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Relaxed)
    }

    /// Makes the connection a kept one, for a request with a good token. Returns `false` if every
    /// kept connection is busy and there is no place for another.
    pub(super) fn keep(&self) -> bool {
        self.is_kept() || {
            let is_kept = self.places.keep(self.id);
            self.is_kept.store(is_kept, Ordering::Relaxed);
            is_kept
        }
    }

    /// Notes that a request has been answered: the connection is idle from now on.
    pub(super) fn answered(&self) {
        self.exchange.end(self.places.next_event());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open();
        let rows = if self.is_kept() { &mut open.kept } else { &mut open.waiting };
        rows.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    /// Checks which connection is closed: the idle one that is chosen for a kept newcomer, and the
    /// one that is chosen for a waiting newcomer. Each connection is busy or not, and idle since an
    /// event; its id is its position.
    #[track_caller]
    fn check(open: &[(bool, u64)], idle: Option<u64>, waiting: Option<u64>) {
        let standing = |(id, (is_busy, since)): (usize, &(bool, u64))| Standing {
            id: id as u64,
            is_busy: *is_busy,
            since: *since,
        };
        let open: Vec<Standing> = open.iter().enumerate().map(standing).collect();
        assert_eq!((longest_idle(&open), longest_waiting(&open)), (idle, waiting), "{open:?}");
    }

    #[test]
    fn the_kept_connection_idle_longest_is_closed_or_the_oldest_that_waits() {
        const BUSY: bool = true;
        check(&[], None, None);
        check(&[(false, 7)], Some(0), Some(0));
        check(&[(false, 7), (false, 3), (false, 5)], Some(1), Some(0));
        check(&[(false, 3), (false, 3)], Some(0), Some(0));
        check(&[(BUSY, 1), (false, 3), (BUSY, 2)], Some(1), Some(0));
        check(&[(BUSY, 2), (BUSY, 1)], None, Some(0));
    }

    /// Places with connections that end only if they are closed.
    struct Door {
        places: Arc<Places>,
        tasks: TaskTracker,
    }

    /// A connection, whose task has handed out its place.
    struct Connection {
        place: Arc<Place>,
        task: JoinHandle<()>,
    }

    impl Door {
        fn new(waiting_max: usize, kept_max: usize) -> Self {
            Self { places: Places::new(waiting_max, kept_max), tasks: TaskTracker::new() }
        }

        fn connect(&self) -> Connection {
            let mut handed_out = None;
            let task = self.places.admit(&self.tasks, |place| {
                handed_out = Some(Arc::new(place));
                pending()
            });
            Connection { place: handed_out.expect("serving begins at once"), task }
        }
    }

    impl Connection {
        async fn is_closed(&self) -> bool {
            tokio::task::yield_now().await;
            self.task.is_finished()
        }
    }

    #[tokio::test]
    async fn a_newcomer_closes_the_connection_that_has_waited_longest() {
        let door = Door::new(2, 1);
        let [first, second, third] = [(); 3].map(|()| door.connect());
        assert!(first.is_closed().await);
        assert!(!second.is_closed().await && !third.is_closed().await);
        // A kept connection leaves its place to those that wait.
        assert!(second.place.keep());
        let fourth = door.connect();
        for open in [&second, &third, &fourth] {
            assert!(!open.is_closed().await);
        }
        assert!(door.places.close_waiting());
        assert!(third.is_closed().await);
        assert!(door.places.close_waiting());
        assert!(fourth.is_closed().await);
        assert!(!door.places.close_waiting(), "no connection waits");
        assert!(!second.is_closed().await);
    }

    #[tokio::test]
    async fn a_kept_connection_is_closed_for_another_only_if_it_is_idle() {
        let door = Door::new(4, 2);
        let [first, second, third] = [(); 3].map(|()| door.connect());
        for busy in [&first, &second] {
            busy.place.exchange().begin();
            assert!(busy.place.keep() && busy.place.keep(), "a place is taken once");
        }
        assert!(!third.place.keep() && !third.place.is_kept());
        second.place.answered();
        assert!(third.place.keep());
        assert!(second.is_closed().await);
        assert!(!first.is_closed().await && !third.is_closed().await);
    }

    #[tokio::test]
    async fn a_connection_that_ends_frees_its_place() {
        let door = Door::new(2, 1);
        let [kept, waiting] = [(); 2].map(|()| door.connect());
        kept.place.exchange().begin();
        assert!(kept.place.keep());
        assert!(!waiting.place.keep());
        drop(kept.place);
        assert!(waiting.place.keep());
        drop(waiting.place);
        let open = door.places.open();
        assert!(open.waiting.is_empty() && open.kept.is_empty());
    }

    #[tokio::test]
    async fn no_connection_is_kept_where_there_are_no_kept_places() {
        let door = Door::new(2, 0);
        assert!(!door.connect().place.keep());
    }
}
