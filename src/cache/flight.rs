//! Shares calls to AWS between requests. A shared call is named a *flight*.

use super::entry::Entry;
use super::slots::{Rank, Slot, Slots};
use crate::secret::key::Key;
use crate::source::{FetchError, FetchErrorKind};
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;
use tokio::sync::Notify;

/// The maximum number of concurrent calls to AWS. Further calls wait.
pub const FLIGHTS_MAX: usize = 32;

/// The maximum number of running and waiting calls to AWS. Half of them are for the secrets in
/// `SIDEKEY_SECRETS` (at most 1,000), and half for other requests.
pub(crate) const FLIGHTS_KNOWN_MAX: usize = 2000;

/// The maximum number of running and waiting calls for secrets that are neither cached nor in
/// `SIDEKEY_SECRETS`. Without this limit, requests for unknown names could block all other calls.
const FIRST_TIME_MAX: usize = FLIGHTS_KNOWN_MAX / 2;

const POISONED: &str = "no thread may panic while it holds the lock";

pub(crate) type Outcome = Result<Arc<Entry>, FetchError>;

/// All running and waiting calls to AWS. For one name or ARN with one staging label or version id,
/// at most one call runs and at most one call waits.
#[derive(Debug)]
pub(crate) struct Flights {
    under_way: Arc<Mutex<UnderWay>>,
    slots: Slots,
}

#[derive(Debug, Default)]
struct UnderWay {
    flights: HashMap<Key, Lane>,
    /// The number of calls that are not sent yet, because each waits until the current call for the
    /// same secret ends.
    next_calls: usize,
    first_time: usize,
}

/// The current call to AWS for one version of a secret, and the next call, which starts when the
/// current call ends. The next call is for requests with `refreshNow=true`.
#[derive(Debug)]
struct Lane {
    current: Flight,
    next: Option<Flight>,
}

/// A handle on one call to AWS that several requests share. Each request has its own clone of the
/// handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flight(Arc<Course>);

/// One call to AWS: its result, and the requests that wait for the result.
#[derive(Debug, Default)]
struct Course {
    outcome: OnceLock<Outcome>,
    landed: Notify,
    is_sent: AtomicBool,
    /// Whether the call to AWS must be sent even if no request waits for its result, for example
    /// because the refresh loop needs the result.
    is_hurried: AtomicBool,
    hurried: Notify,
}

/// A call to AWS that is not sent yet, for a request. Each variant says whether the code that
/// handles the request must send the call.
#[derive(Debug)]
pub(crate) enum Next {
    /// Other code is about to send the call to AWS. The request only waits for the result.
    Joined(Flight),
    /// The call to AWS is new. The code that handles the request must send the call, and report the
    /// result with the [`Landing`].
    Started(Flight, Landing),
    /// The call to AWS is new. The code that handles the request must wait until the earlier call
    /// `last` ends, then send the new call and report the result with `landing`.
    After { last: Flight, flight: Flight, landing: Landing },
}

/// Reports the result of a call to AWS to all requests that share the call. If this handle is
/// dropped without a result, for example by a panic, the requests get an error.
#[derive(Debug)]
pub(crate) struct Landing {
    under_way: Arc<Mutex<UnderWay>>,
    key: Key,
    rank: Rank,
    flight: Flight,
}

impl Flights {
    pub(crate) fn new(calls_max: usize) -> Self {
        Self { under_way: Arc::default(), slots: Slots::new(calls_max.min(FLIGHTS_MAX)) }
    }

    /// Joins the running call to AWS for `key`, or registers a new call. For a new call, also
    /// returns a [`Landing`], with which the caller must report the result of the call to AWS.
    ///
    /// Returns an error if [`FLIGHTS_KNOWN_MAX`] calls have not ended yet. With
    /// [`Rank::FirstTime`], also returns an error if [`FIRST_TIME_MAX`] calls with this rank have
    /// not ended yet.
    pub(crate) fn join_or_start(
        &self,
        key: &Key,
        rank: Rank,
    ) -> Result<(Flight, Option<Landing>), FetchError> {
        let mut under_way = self.lock();
        if let Some(lane) = under_way.flights.get(key) {
            lane.current.hurry();
            return Ok((lane.current.clone(), None));
        }
        let landing = self.register(&mut under_way, key, rank)?;
        Ok((landing.flight.clone(), Some(landing)))
    }

    /// Joins a call to AWS for `key` that is not sent yet, or registers a new call. Returns an
    /// error if too many calls have not ended yet.
    pub(crate) fn join_next(&self, key: &Key, rank: Rank) -> Result<Next, FetchError> {
        let mut under_way = self.lock();
        let lane = under_way.flights.get(key);
        let last = match lane {
            None => None,
            Some(Lane { next: Some(next), .. }) => return Ok(Next::Joined(next.clone())),
            Some(Lane { current, .. }) if !current.0.is_sent.load(Ordering::Relaxed) => {
                return Ok(Next::Joined(current.clone()));
            }
            Some(Lane { current, .. }) => Some(current.clone()),
        };
        let landing = self.register(&mut under_way, key, rank)?;
        let flight = landing.flight.clone();
        Ok(match last {
            None => Next::Started(flight, landing),
            Some(last) => Next::After { last, flight, landing },
        })
    }

    fn register(
        &self,
        under_way: &mut UnderWay,
        key: &Key,
        rank: Rank,
    ) -> Result<Landing, FetchError> {
        let is_first_time = rank == Rank::FirstTime;
        let is_full = under_way.len() >= FLIGHTS_KNOWN_MAX
            || (is_first_time && under_way.first_time >= FIRST_TIME_MAX);
        if is_full {
            let message = "too many calls to AWS are already waiting";
            return Err(FetchError::new(
                FetchErrorKind::Overloaded,
                "OverloadedException",
                message,
            ));
        }
        let flight = Flight::default();
        match under_way.flights.entry(key.clone()) {
            Place::Vacant(place) => {
                place.insert(Lane { current: flight.clone(), next: None });
            }
            Place::Occupied(mut place) => {
                place.get_mut().next = Some(flight.clone());
                under_way.next_calls += 1;
            }
        }
        under_way.first_time += usize::from(is_first_time);
        Ok(Landing { under_way: self.under_way.clone(), key: key.clone(), rank, flight })
    }

    /// Waits until one more call to AWS may run. The call counts as running until the returned slot
    /// is dropped.
    pub(crate) async fn slot(&self, rank: Rank) -> Slot {
        self.slots.acquire(rank).await
    }

    /// Returns the number of calls to AWS that have not ended, including calls that are not sent
    /// yet.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().expect(POISONED)
    }
}

impl UnderWay {
    fn len(&self) -> usize {
        self.flights.len() + self.next_calls
    }

    fn remove(&mut self, key: &Key, flight: &Flight) {
        let Some(lane) = self.flights.get_mut(key) else { return };
        if lane.current.is_same(flight) {
            match lane.next.take() {
                None => drop(self.flights.remove(key)),
                Some(next) => {
                    lane.current = next;
                    self.next_calls -= 1;
                }
            }
        } else if lane.next.take_if(|next| next.is_same(flight)).is_some() {
            self.next_calls -= 1;
        }
    }
}

impl Flight {
    pub(crate) async fn outcome(self) -> Outcome {
        loop {
            // Create this future before the check of the result. Otherwise the call could end
            // between the check and the wait, and would not wake this task.
            let landed = self.0.landed.notified();
            if let Some(outcome) = self.0.outcome.get() {
                return outcome.clone();
            }
            landed.await;
        }
    }

    fn hurry(&self) {
        self.0.is_hurried.store(true, Ordering::Relaxed);
        self.0.hurried.notify_one();
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Landing {
    pub(crate) fn land(self, outcome: Outcome) {
        // `drop` runs next, and wakes the waiting requests. It cannot replace this result, because
        // only the first `set` takes effect.
        let _ = self.flight.0.outcome.set(outcome);
    }

    /// Records that the call to AWS is sent now. Requests with `refreshNow=true` can no longer
    /// share the call, because they need a newer answer.
    pub(crate) fn mark_sent(&self) {
        self.flight.0.is_sent.store(true, Ordering::Relaxed);
    }

    /// Completes when the call to AWS must be sent without further delay, because a request or the
    /// refresh loop needs the result at once.
    pub(crate) async fn hurried(&self) {
        self.flight.0.hurried.notified().await;
    }

    /// Returns this handle if the call to AWS, which is not sent yet, is still needed. Otherwise
    /// cancels the call.
    pub(crate) fn if_wanted(self) -> Option<Self> {
        let under_way = self.under_way.clone();
        let mut under_way = under_way.lock().expect(POISONED);
        // Two references to the call belong to this handle and to the set of calls.
        let has_readers = Arc::strong_count(&self.flight.0) > 2;
        if has_readers || self.flight.0.is_hurried.load(Ordering::Relaxed) {
            drop(under_way);
            return Some(self);
        }
        under_way.remove(&self.key, &self.flight);
        None
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn rank(&self) -> Rank {
        self.rank
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Remove the call before the waiting requests wake, because one of these requests may start
        // the next call at once.
        {
            let mut under_way = self.under_way.lock().expect(POISONED);
            under_way.remove(&self.key, &self.flight);
            under_way.first_time -= usize::from(self.rank == Rank::FirstTime);
        }
        self.flight.0.outcome.get_or_init(|| Err(unanswered(thread::panicking())));
        self.flight.0.landed.notify_waiters();
    }
}

/// Returns the error for a call to AWS that ended without an answer, because its task panicked or
/// the agent is stopping.
fn unanswered(has_panicked: bool) -> FetchError {
    let message = "Sidekey ended the call to AWS before AWS answered";
    let error = FetchError::new(FetchErrorKind::Internal, "InternalFailure", message);
    match has_panicked {
        true => error,
        false => {
            let advice = "the agent stops; send the request again when an agent is running";
            FetchError { advice: Some(advice.into()), ..error }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, within};
    use crate::secret::reference::SecretId;
    use crate::secret::selector::Selector;
    use std::hint;
    use std::time::Duration;
    use tokio::task::JoinSet;

    fn key(id: &str) -> Key {
        let id = SecretId::parse(id).expect("the name in the test must be valid");
        Key::own(id, Selector::current())
    }

    fn error() -> FetchError {
        FetchError::new(FetchErrorKind::NotFound, "ResourceNotFoundException", "none")
    }

    #[tokio::test]
    async fn first_caller_starts_a_flight_and_others_join() {
        let flights = Flights::new(FLIGHTS_MAX);
        let (first, landing) = flights.join_or_start(&key("a"), Rank::Known).unwrap();
        let (second, none) = flights.join_or_start(&key("a"), Rank::Known).unwrap();
        let (_, other) = flights.join_or_start(&key("b"), Rank::Known).unwrap();
        assert!(none.is_none() && other.is_some());
        drop(other);
        landing.expect("the first reader must start the call to AWS").land(Err(error()));
        assert_eq!(first.outcome().await.map(|_| ()), Err(error()));
        assert_eq!(second.outcome().await.map(|_| ()), Err(error()));
        assert!(flights.is_empty());
        assert!(
            flights.join_or_start(&key("a"), Rank::Known).unwrap().1.is_some(),
            "the next reader must start a new call after the first call has ended"
        );
    }

    #[test]
    fn flights_are_bounded() {
        let flights = Flights::new(FLIGHTS_MAX);
        let boarded: Vec<_> = (0..FLIGHTS_KNOWN_MAX)
            .map(|n| flights.join_or_start(&key(&format!("s{n}")), Rank::Known).unwrap())
            .collect();
        let refused = flights
            .join_or_start(&key("one more"), Rank::Known)
            .map(|_| ())
            .map_err(|error| error.kind);
        assert_eq!(refused, Err(FetchErrorKind::Overloaded));
        assert!(
            flights.join_or_start(&key("s7"), Rank::Known).is_ok(),
            "a reader must share a call to AWS that has not ended"
        );
        drop(boarded);
        assert!(flights.join_or_start(&key("one more"), Rank::Known).is_ok());
    }

    #[test]
    fn invented_names_leave_flights_for_known_secrets() {
        let flights = Flights::new(FLIGHTS_MAX);
        let invented = |n: usize| flights.join_or_start(&key(&format!("x{n}")), Rank::FirstTime);
        let mut landings: Vec<_> = (0..FIRST_TIME_MAX)
            .map(|n| {
                invented(n).expect("a call for a secret that was never read before must start").1
            })
            .collect();
        let refused = invented(FIRST_TIME_MAX).map(|_| ()).map_err(|error| error.kind);
        assert_eq!(refused, Err(FetchErrorKind::Overloaded));
        assert!(flights.join_or_start(&key("known"), Rank::Known).is_ok());
        landings.pop();
        assert!(invented(FIRST_TIME_MAX).is_ok());
    }

    #[tokio::test]
    async fn next_flight_is_shared_until_its_call_is_sent() {
        let flights = Flights::new(FLIGHTS_MAX);
        let next = || flights.join_next(&key("a"), Rank::Known).unwrap();
        let Next::Started(first, landing) = next() else { panic!("a new call must be registered") };
        assert!(matches!(next(), Next::Joined(joined) if joined.is_same(&first)));
        landing.mark_sent();
        let Next::After { last, flight, landing: later } = next() else {
            panic!("a reader must not share a call that is already sent")
        };
        assert!(last.is_same(&first));
        assert!(matches!(next(), Next::Joined(joined) if joined.is_same(&flight)));
        assert_eq!(flights.len(), 2);
        let (any, none) = flights.join_or_start(&key("a"), Rank::Known).unwrap();
        assert!(any.is_same(&first) && none.is_none());

        landing.land(Err(error()));
        assert!(last.outcome().await.is_err());
        let (any, none) = flights.join_or_start(&key("a"), Rank::Known).unwrap();
        assert!(any.is_same(&flight) && none.is_none());
        later.hurried().await;
        drop((any, flight));
        let later = later.if_wanted().expect("a call that the refresh loop needs must be made");
        later.mark_sent();
        assert!(matches!(next(), Next::After { .. }));
        drop(later);
        assert!(flights.is_empty());
    }

    #[test]
    fn next_flight_without_readers_ends_without_a_call() {
        let flights = Flights::new(FLIGHTS_MAX);
        let next = || flights.join_next(&key("a"), Rank::FirstTime).unwrap();
        let Next::Started(flight, landing) = next() else {
            panic!("a new call must be registered")
        };
        let landing =
            landing.if_wanted().expect("a call must be made while a reader waits for its result");
        drop(flight);
        assert!(landing.if_wanted().is_none() && flights.is_empty());
        assert!(matches!(next(), Next::Started(..)));
    }

    #[test]
    fn next_flight_that_is_dropped_leaves_the_current_flight() {
        let flights = Flights::new(FLIGHTS_MAX);
        let (first, landing) = flights.join_or_start(&key("a"), Rank::FirstTime).unwrap();
        landing.as_ref().expect("the first reader must start the call to AWS").mark_sent();
        drop(flights.join_next(&key("a"), Rank::FirstTime));
        let (joined, none) = flights.join_or_start(&key("a"), Rank::FirstTime).unwrap();
        assert!(joined.is_same(&first) && none.is_none());
        drop(landing);
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn dropped_flight_ends_with_an_error() {
        let flights = Flights::new(FLIGHTS_MAX);
        let (flight, landing) = flights.join_or_start(&key("a"), Rank::Known).unwrap();
        drop(landing);
        let kind = flight.outcome().await.map(|_| ()).map_err(|error| error.kind);
        assert_eq!(kind, Err(FetchErrorKind::Internal));
        assert!(flights.is_empty());
    }

    /// One thread ends calls to AWS one by one, while tasks on other threads wait for the results.
    /// The test fails if a task is not woken.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn readers_on_many_threads_all_get_the_outcome() {
        const ROUNDS: u64 = 100;
        const READERS: usize = 3;
        let keys: Vec<Key> = (0..FLIGHTS_KNOWN_MAX).map(|n| key(&format!("s{n}"))).collect();
        for seed in 0..ROUNDS {
            let flights = Flights::new(FLIGHTS_MAX);
            let boarded: Vec<_> =
                keys.iter().map(|key| flights.join_or_start(key, Rank::Known).unwrap()).collect();
            let mut readers = JoinSet::new();
            for _ in 0..READERS {
                let joined: Vec<_> = boarded.iter().map(|(flight, _)| flight.clone()).collect();
                readers.spawn(async move {
                    for flight in joined {
                        assert!(flight.outcome().await.is_err());
                    }
                });
            }
            let lander = thread::spawn(move || {
                let mut draws = fastrand::Rng::with_seed(seed);
                for landing in boarded.into_iter().filter_map(|(_, landing)| landing) {
                    // A random delay varies how far the waiting tasks are behind the thread that
                    // ends the calls.
                    (0..draws.u32(..200)).for_each(|_| hint::spin_loop());
                    if draws.bool() { landing.land(Err(error())) } else { drop(landing) }
                }
            });
            let clock = SystemClock::new();
            let seen = within(&clock, Duration::from_secs(60), readers.join_all()).await;
            assert!(
                seen.is_some(),
                "each reader must be woken after its call has ended (random seed {seed})"
            );
            lander.join().expect("the thread that ends the calls must not panic");
            assert!(flights.is_empty(), "seed {seed}");
        }
    }
}
