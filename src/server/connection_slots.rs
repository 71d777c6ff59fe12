//! Limits the number of open connections. If too many connections are open, the server closes one
//! of them.
//!
//! Connections that have sent a valid token (trusted connections) have a limit of their own, so
//! clients without a token never use up the connections of other clients.

use super::wire::Exchange;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::task::TaskTracker;

#[derive(Debug)]
pub(super) struct ConnectionSlots {
    untrusted_max: usize,
    trusted_max: usize,
    /// The number of events (acceptances and answers) on all connections. Each connection stores
    /// this number at its own last event, so the connection with the smallest stored number has
    /// been idle longest.
    events: AtomicU64,
    is_stopping: AtomicBool,
    /// The open connections. The mutex is locked only when a connection is accepted, sends its
    /// first valid token, waits for a request for the first time, or is closed. So most requests
    /// need no lock.
    open: Mutex<OpenConnections>,
}

/// The open connections by their ids. A connection that was accepted later has a larger id.
#[derive(Debug, Default)]
struct OpenConnections {
    untrusted: BTreeMap<u64, Connection>,
    trusted: BTreeMap<u64, Connection>,
    last_id: u64,
}

#[derive(Debug)]
struct Connection {
    exchange: Arc<Exchange>,
    task: Option<AbortHandle>,
    /// Wakes the task of the connection when the agent stops. `None` until the connection first
    /// waits for a request.
    waker: Option<Waker>,
}

impl ConnectionSlots {
    pub(super) fn new(untrusted_max: usize, trusted_max: usize) -> Arc<Self> {
        let (events, is_stopping) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { untrusted_max, trusted_max, events, is_stopping, open: Mutex::default() })
    }

    /// Serves a new connection in a task of `tasks`. If too many connections without a valid token
    /// are then open, closes the oldest of them.
    pub(super) fn admit<F>(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        serve: impl FnOnce(ConnectionSlot) -> F,
    ) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let slot = self.take_slot();
        let id = slot.id;
        // The lock must not be held here. If the runtime is shutting down, it drops the task at
        // once. This also drops the slot of the connection, which takes the lock.
        let task = tasks.spawn(serve(slot));
        let mut open = self.lock();
        if let Some(connection) = open.get_mut(id) {
            connection.task = Some(task.abort_handle());
        }
        task
    }

    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let open = self.lock();
        let wakers = open.untrusted.values().chain(open.trusted.values());
        wakers.filter_map(|connection| connection.waker.as_ref()).for_each(Waker::wake_by_ref);
    }

    /// Closes the oldest connection that has not sent a valid token. Returns `false` if there is no
    /// such connection.
    pub(super) fn close_untrusted(&self) -> bool {
        self.lock().close_untrusted()
    }

    fn take_slot(self: &Arc<Self>) -> ConnectionSlot {
        let exchange = Arc::new(Exchange::default());
        exchange.set_last_event(self.next_event());
        let mut open = self.lock();
        if open.untrusted.len() >= self.untrusted_max {
            open.close_untrusted();
        }
        open.last_id += 1;
        let id = open.last_id;
        let (task, waker) = (None, None);
        open.untrusted.insert(id, Connection { exchange: exchange.clone(), task, waker });
        ConnectionSlot { slots: self.clone(), id, exchange, is_trusted: AtomicBool::new(false) }
    }

    /// Makes a connection trusted after its first valid token. If too many trusted connections are
    /// then open, closes the one that has been idle longest.
    ///
    /// Returns `false` if all other trusted connections are busy, or if this connection was closed
    /// in the meantime.
    fn make_trusted(&self, id: u64) -> bool {
        let mut open = self.lock();
        if open.trusted.len() >= self.trusted_max && !close(&mut open.trusted, longest_idle) {
            return false;
        }
        // The connection is missing if it was closed in the meantime to free its slot.
        let connection = open.untrusted.remove(&id);
        connection.is_some_and(|connection| open.trusted.insert(id, connection).is_none())
    }

    /// Returns the sequence number of a new event (an acceptance or an answer) on any connection.
    ///
    /// The number is not incremented atomically, because this would make each answer slower. So two
    /// threads may get the same number, and their connections then count as idle for the same time.
    fn next_event(&self) -> u64 {
        let next = self.events.load(Ordering::Relaxed) + 1;
        self.events.store(next, Ordering::Relaxed);
        next
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().expect("no thread may panic while it holds the lock")
    }
}

impl OpenConnections {
    fn get_mut(&mut self, id: u64) -> Option<&mut Connection> {
        let Self { untrusted, trusted, .. } = self;
        untrusted.get_mut(&id).or_else(|| trusted.get_mut(&id))
    }

    fn close_untrusted(&mut self) -> bool {
        close(&mut self.untrusted, oldest)
    }
}

fn close(
    connections: &mut BTreeMap<u64, Connection>,
    choose: fn(&[Candidate]) -> Option<u64>,
) -> bool {
    let candidates: Vec<Candidate> =
        connections.iter().map(|(id, connection)| connection.candidate(*id)).collect();
    let Some(closed) = choose(&candidates).and_then(|id| connections.remove(&id)) else {
        return false;
    };
    if let Some(task) = closed.task {
        task.abort();
    }
    true
}

impl Connection {
    fn candidate(&self, id: u64) -> Candidate {
        Candidate {
            id,
            is_busy: self.exchange.is_answering(),
            is_half_closed: self.exchange.is_half_closed(),
            idle_since: self.exchange.last_event(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u64,
    is_busy: bool,
    /// Whether the client has closed its sending direction, so that the client may be gone.
    is_half_closed: bool,
    /// The sequence number of the last answer on the connection or, before its first answer, of the
    /// accept of the connection. The connection with the smallest number has been idle longest.
    idle_since: u64,
}

/// Returns the id of the connection that has been idle longest. If every connection has a running
/// request, considers only connections whose client has closed its sending direction: such a client
/// has probably given up.
fn longest_idle(open: &[Candidate]) -> Option<u64> {
    let longest = |is_closable: fn(&&Candidate) -> bool| {
        open.iter().filter(is_closable).min_by_key(|candidate| candidate.idle_since)
    };
    let chosen = longest(|candidate| !candidate.is_busy)
        .or_else(|| longest(|candidate| candidate.is_half_closed));
    chosen.map(|candidate| candidate.id)
}

/// Chooses which connection without a valid token the server closes to accept a new connection: the
/// oldest, even if it has a running request. Otherwise a client without a valid token could keep all
/// connections busy and block new clients.
fn oldest(open: &[Candidate]) -> Option<u64> {
    open.iter().map(|candidate| candidate.id).min()
}

/// An open connection. It counts toward the limit of open connections until this value is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    id: u64,
    exchange: Arc<Exchange>,
    is_trusted: AtomicBool,
}

impl ConnectionSlot {
    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Returns whether the connection has sent a valid token. Only such a connection stays open
    /// after an answer.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_trusted.load(Ordering::Relaxed)
    }

    /// Makes the connection trusted after a request with a valid token. Returns `false` if too many
    /// trusted connections are open, and all of them are busy.
    pub(super) fn make_trusted(&self) -> bool {
        self.is_trusted() || {
            let is_trusted = self.slots.make_trusted(self.id);
            self.is_trusted.store(is_trusted, Ordering::Relaxed);
            is_trusted
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.slots.is_stopping.load(Ordering::Relaxed)
    }

    /// Makes the agent wake the task of this connection when the agent stops. If the agent already
    /// stops, wakes the task at once.
    pub(super) fn wake_on_stop(&self, waker: &Waker) {
        if let Some(connection) = self.slots.lock().get_mut(self.id) {
            connection.waker = Some(waker.clone());
        }
        // A stop before the lock was taken is seen here, and a later stop finds the waker.
        if self.is_stopping() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn note_answered(&self) {
        self.exchange.note_answer(self.slots.next_event());
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.slots.lock();
        if self.is_trusted() {
            open.trusted.remove(&self.id);
        } else {
            open.untrusted.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::task::Wake;

    /// The state of a test connection. `HalfClosed` means busy, and the client has closed its
    /// sending direction.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum State {
        Idle,
        Busy,
        HalfClosed,
    }

    /// Checks that `longest_idle` returns the id `idle`, and that `oldest` returns the id `old`.
    /// Each pair in `open` is the state of a connection and the sequence number of its last event.
    /// The index in `open` is the connection's id.
    #[track_caller]
    fn check(open: &[(State, u64)], idle: Option<u64>, old: Option<u64>) {
        let candidate = |(id, (state, since)): (usize, &(State, u64))| Candidate {
            id: id as u64,
            is_busy: *state != State::Idle,
            is_half_closed: *state == State::HalfClosed,
            idle_since: *since,
        };
        let open: Vec<Candidate> = open.iter().enumerate().map(candidate).collect();
        assert_eq!((longest_idle(&open), oldest(&open)), (idle, old), "{open:?}");
    }

    #[test]
    fn longest_idle_trusted_or_oldest_untrusted_connection_is_closed() {
        use State::{Busy, HalfClosed, Idle};
        check(&[], None, None);
        check(&[(Idle, 7)], Some(0), Some(0));
        check(&[(Idle, 7), (Idle, 3), (Idle, 5)], Some(1), Some(0));
        check(&[(Idle, 3), (Idle, 3)], Some(0), Some(0));
        check(&[(Busy, 1), (Idle, 3), (Busy, 2)], Some(1), Some(0));
        check(&[(Busy, 2), (Busy, 1)], None, Some(0));
        check(&[(Busy, 1), (HalfClosed, 3), (HalfClosed, 2)], Some(2), Some(0));
        check(&[(HalfClosed, 1), (Idle, 3), (Busy, 2)], Some(1), Some(0));
    }

    /// A listener for tests, whose connections stay open until the server closes them because too
    /// many are open.
    struct Listener {
        slots: Arc<ConnectionSlots>,
        tasks: TaskTracker,
    }

    struct Accepted {
        slot: Arc<ConnectionSlot>,
        task: JoinHandle<()>,
    }

    impl Listener {
        fn new(untrusted_max: usize, trusted_max: usize) -> Self {
            Self {
                slots: ConnectionSlots::new(untrusted_max, trusted_max),
                tasks: TaskTracker::new(),
            }
        }

        fn accept(&self) -> Accepted {
            let mut taken = None;
            let task = self.slots.admit(&self.tasks, |slot| {
                taken = Some(Arc::new(slot));
                pending()
            });
            Accepted { slot: taken.expect("the connection must be served at once"), task }
        }
    }

    impl Accepted {
        async fn is_closed(&self) -> bool {
            tokio::task::yield_now().await;
            self.task.is_finished()
        }
    }

    #[tokio::test]
    async fn new_connection_closes_oldest_untrusted_one() {
        let listener = Listener::new(2, 1);
        let [first, second, third] = [(); 3].map(|()| listener.accept());
        assert!(first.is_closed().await);
        assert!(!second.is_closed().await && !third.is_closed().await);
        // A connection that becomes trusted frees its slot for an untrusted connection.
        assert!(second.slot.make_trusted());
        let fourth = listener.accept();
        for open in [&second, &third, &fourth] {
            assert!(!open.is_closed().await);
        }
        assert!(listener.slots.close_untrusted());
        assert!(third.is_closed().await);
        assert!(listener.slots.close_untrusted());
        assert!(fourth.is_closed().await);
        assert!(
            !listener.slots.close_untrusted(),
            "no connection without a valid token must be left"
        );
        assert!(!second.is_closed().await);
    }

    #[tokio::test]
    async fn trusted_connection_is_closed_for_another_only_if_idle() {
        let listener = Listener::new(4, 2);
        let [first, second, third] = [(); 3].map(|()| listener.accept());
        for busy in [&first, &second] {
            busy.slot.exchange().note_request();
            assert!(busy.slot.make_trusted());
            assert!(
                busy.slot.make_trusted(),
                "a second request with a valid token must also be accepted"
            );
        }
        assert!(!third.slot.make_trusted() && !third.slot.is_trusted());
        second.slot.note_answered();
        assert!(third.slot.make_trusted());
        assert!(second.is_closed().await);
        assert!(!first.is_closed().await && !third.is_closed().await);
    }

    #[tokio::test]
    async fn stop_wakes_every_connection_that_waits() {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let listener = Listener::new(2, 1);
        let accepted = [(); 3].map(|()| listener.accept());
        let woken = [(); 3].map(|()| Arc::new(Woken(AtomicBool::new(false))));
        let is_woken = |at: usize| woken[at].0.load(Ordering::Relaxed);
        assert!(accepted[1].slot.make_trusted());
        for at in [1, 2] {
            accepted[at].slot.wake_on_stop(&Waker::from(woken[at].clone()));
            assert!(!is_woken(at) && !accepted[at].slot.is_stopping());
        }
        listener.slots.stop();
        assert!(
            is_woken(1) && is_woken(2),
            "the stop of the agent must wake trusted and untrusted connections"
        );
        // A connection that begins to wait after the stop must not miss the stop.
        assert!(!is_woken(0) && accepted[0].slot.is_stopping());
        accepted[0].slot.wake_on_stop(&Waker::from(woken[0].clone()));
        assert!(is_woken(0));
    }

    #[tokio::test]
    async fn connection_that_ends_frees_its_slot() {
        let listener = Listener::new(2, 1);
        let [trusted, untrusted] = [(); 2].map(|()| listener.accept());
        trusted.slot.exchange().note_request();
        assert!(trusted.slot.make_trusted());
        assert!(!untrusted.slot.make_trusted());
        drop(trusted.slot);
        assert!(untrusted.slot.make_trusted());
        drop(untrusted.slot);
        let open = listener.slots.lock();
        assert!(open.untrusted.is_empty() && open.trusted.is_empty());
    }

    #[tokio::test]
    async fn no_connection_becomes_trusted_without_trusted_slots() {
        let listener = Listener::new(2, 0);
        assert!(!listener.accept().slot.make_trusted());
    }
}
