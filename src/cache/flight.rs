//! One upstream call that many readers wait for.

use super::entry::Entry;
use super::slots::{Rank, Slot, Slots};
use crate::secret::key::Key;
use crate::source::{FetchError, FetchErrorKind};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Notify;

/// How many flights may be under way at once. The others wait their turn.
pub const FLIGHTS_MAX: usize = 32;

/// How many flights may be known at a time, those that wait their turn included: as many as secrets
/// can be listed, and as many again for readers.
pub const FLIGHTS_KNOWN_MAX: usize = 2000;

/// How many of them may be for names that were never read before: the others are left to cached and
/// listed secrets.
const FIRST_TIME_MAX: usize = FLIGHTS_KNOWN_MAX / 2;

/// How a flight ended.
pub type Outcome = Result<Arc<Entry>, FetchError>;

/// The flights that are under way, one for each secret.
#[derive(Debug)]
pub struct Flights {
    under_way: Arc<Mutex<UnderWay>>,
    slots: Slots,
}

#[derive(Debug, Default)]
struct UnderWay {
    flights: HashMap<Key, Flight>,
    first_time: usize,
}

/// A flight under way, as those who wait for it see it.
#[derive(Clone, Debug, Default)]
pub struct Flight(Arc<Course>);

/// How a flight goes. Those who wait are woken in the order in which they came.
#[derive(Debug, Default)]
struct Course {
    outcome: OnceLock<Outcome>,
    landed: Notify,
}

/// The duty to end a flight. Dropped without [`land`](Self::land), as by a panic, it ends the flight
/// with an error, so that nobody waits for ever.
#[derive(Debug)]
pub struct Landing {
    under_way: Arc<Mutex<UnderWay>>,
    key: Key,
    rank: Rank,
    flight: Flight,
}

impl Flights {
    /// Starts with none under way, of which `calls_max` may be at once.
    pub fn new(calls_max: usize) -> Self {
        Self { under_way: Arc::default(), slots: Slots::new(calls_max.min(FLIGHTS_MAX)) }
    }

    /// Joins the flight for `key`, or starts it: then the caller holds the duty to end it.
    ///
    /// # Errors
    ///
    /// If too many others are known: [`FLIGHTS_KNOWN_MAX`], or half as many of this rank.
    pub fn join_or_start(
        &self,
        key: &Key,
        rank: Rank,
    ) -> Result<(Flight, Option<Landing>), FetchError> {
        let mut under_way = self.under_way.lock().expect("no holder panics");
        if let Some(flight) = under_way.flights.get(key) {
            return Ok((flight.clone(), None));
        }
        let is_first_time = rank == Rank::FirstTime;
        let is_full = under_way.flights.len() >= FLIGHTS_KNOWN_MAX
            || (is_first_time && under_way.first_time >= FIRST_TIME_MAX);
        if is_full {
            let message = "too many calls to Secrets Manager are waiting";
            return Err(FetchError::new(
                FetchErrorKind::Overloaded,
                "OverloadedException",
                message,
            ));
        }
        let flight = Flight::default();
        under_way.flights.insert(key.clone(), flight.clone());
        under_way.first_time += usize::from(is_first_time);
        let (key, flight_of_landing) = (key.clone(), flight.clone());
        let under_way = self.under_way.clone();
        Ok((flight, Some(Landing { under_way, key, rank, flight: flight_of_landing })))
    }

    /// Waits until one more call may be made.
    pub async fn slot(&self, rank: Rank) -> Slot {
        self.slots.acquire(rank).await
    }

    /// Returns how many flights are under way.
    pub fn len(&self) -> usize {
        self.under_way.lock().expect("no holder panics").flights.len()
    }

    /// Returns whether no flight is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Flight {
    /// Waits until the flight has ended.
    ///
    /// # Errors
    ///
    /// Why it failed.
    pub async fn outcome(self) -> Outcome {
        loop {
            // Made before the look: whoever lands in between wakes it.
            let landed = self.0.landed.notified();
            if let Some(outcome) = self.0.outcome.get() {
                return outcome.clone();
            }
            landed.await;
        }
    }
}

impl Landing {
    /// Ends the flight.
    pub fn land(self, outcome: Outcome) {
        // The first outcome is the one; dropping this comes too late with another.
        let _ = self.flight.0.outcome.set(outcome);
    }

    /// Returns what is being fetched.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns what the call is for.
    pub fn rank(&self) -> Rank {
        self.rank
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Before the waiters wake: whoever finds an outcome unfit may start the next flight.
        {
            let mut under_way = self.under_way.lock().expect("no holder panics");
            under_way.flights.remove(&self.key);
            under_way.first_time -= usize::from(self.rank == Rank::FirstTime);
        }
        let given_up = || {
            let message = "the call was given up";
            Err(FetchError::new(FetchErrorKind::Internal, "InternalFailure", message))
        };
        self.flight.0.outcome.get_or_init(given_up);
        self.flight.0.landed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, within};
    use crate::secret::reference::SecretId;
    use crate::secret::selector::Selector;
    use std::time::Duration;
    use std::{hint, thread};
    use tokio::task::JoinSet;

    fn key(id: &str) -> Key {
        Key { id: SecretId::parse(id).expect("a good id"), selector: Selector::current() }
    }

    fn error() -> FetchError {
        FetchError::new(FetchErrorKind::NotFound, "ResourceNotFoundException", "none")
    }

    #[tokio::test]
    async fn the_first_starts_and_the_others_join() {
        let flights = Flights::new(FLIGHTS_MAX);
        let (first, landing) = flights.join_or_start(&key("a"), Rank::Known).unwrap();
        let (second, none) = flights.join_or_start(&key("a"), Rank::Known).unwrap();
        let (_, other) = flights.join_or_start(&key("b"), Rank::Known).unwrap();
        assert!(none.is_none() && other.is_some());
        drop(other);
        landing.expect("the first starts").land(Err(error()));
        assert_eq!(first.outcome().await.map(|_| ()), Err(error()));
        assert_eq!(second.outcome().await.map(|_| ()), Err(error()));
        assert!(flights.is_empty());
        assert!(
            flights.join_or_start(&key("a"), Rank::Known).unwrap().1.is_some(),
            "the next one starts again"
        );
    }

    #[test]
    fn invented_names_are_bounded() {
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
            "a flight that is known can be joined"
        );
        drop(boarded);
        assert!(flights.join_or_start(&key("one more"), Rank::Known).is_ok());
    }

    #[test]
    fn invented_names_leave_room_for_known_secrets() {
        let flights = Flights::new(FLIGHTS_MAX);
        let invented = |n: usize| flights.join_or_start(&key(&format!("x{n}")), Rank::FirstTime);
        let mut landings: Vec<_> =
            (0..FIRST_TIME_MAX).map(|n| invented(n).expect("a place").1).collect();
        let refused = invented(FIRST_TIME_MAX).map(|_| ()).map_err(|error| error.kind);
        assert_eq!(refused, Err(FetchErrorKind::Overloaded));
        assert!(flights.join_or_start(&key("known"), Rank::Known).is_ok());
        landings.pop();
        assert!(invented(FIRST_TIME_MAX).is_ok());
    }

    #[tokio::test]
    async fn a_flight_given_up_ends_with_an_error() {
        let flights = Flights::new(FLIGHTS_MAX);
        let (flight, landing) = flights.join_or_start(&key("a"), Rank::Known).unwrap();
        drop(landing);
        let kind = flight.outcome().await.map(|_| ()).map_err(|error| error.kind);
        assert_eq!(kind, Err(FetchErrorKind::Internal));
        assert!(flights.is_empty());
    }

    /// One thread ends flights one after the other, and readers on other threads wait for them in the
    /// same order. So they meet at the same flight again and again. A lost wake-up would leave a reader
    /// waiting for ever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn readers_on_many_threads_all_see_the_landing() {
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
                    // The distance to the readers varies.
                    (0..draws.u32(..200)).for_each(|_| hint::spin_loop());
                    if draws.bool() { landing.land(Err(error())) } else { drop(landing) }
                }
            });
            let clock = SystemClock::new();
            let seen = within(&clock, Duration::from_secs(60), readers.join_all()).await;
            assert!(seen.is_some(), "seed {seed}: a reader was not woken");
            lander.join().expect("it does not panic");
            assert!(flights.is_empty(), "seed {seed}");
        }
    }
}
