//! Tests the cache by a simulation in virtual time, in which calls to AWS fail and hang, clocks
//! jump, and the process freezes.
//!
//! A simulated AWS knows all versions of all secrets. [`reads`] checks the values and errors that
//! readers get, [`calls`] checks that each call to AWS is needed, and [`entries`] checks the cached
//! versions.
//!
//! A random seed determines the secrets, faults and reads. Two runs of one seed are identical.

mod calls;
mod events;
mod identity;
mod entries;
mod log;
mod reads;
mod setup;
mod truth;
mod world;

use super::prefetch::{self, Mode};
use super::{Cache, Config, open, refresh, search};
use crate::cache::flight::FLIGHTS_MAX;
use crate::cache::freshness::BACK_OFF_MAX;
use crate::clock::{Clock, VirtualClock};
use crate::convention::Conventions;
use crate::secret::scope::{Home, Scope};
use crate::telemetry::metrics::Metrics;
use setup::Setup;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use world::{DEADLINE, World};

/// The number of random seeds that the simulation tests. A failed test prints its seed. To repeat
/// the failure quickly, let the range in one of the tests begin at that seed.
const SEEDS: u64 = 4000;

const SEEDS_REPLAYED: u64 = 200;

/// The number of random events, such as reads, faults and freezes, that the simulation runs for
/// each seed.
const EVENTS: usize = 60;

const SECOND: Duration = Duration::from_secs(1);

struct Simulation {
    world: Arc<World>,
    clock: Arc<VirtualClock>,
    cache: Cache,
    rng: fastrand::Rng,
    readers: TaskTracker,
    reads: u64,
}

#[test]
fn every_even_seed_meets_all_checks() {
    (0..SEEDS).step_by(2).for_each(|seed| drop(run(seed)));
}

#[test]
fn every_odd_seed_meets_all_checks() {
    (1..SEEDS).step_by(2).for_each(|seed| drop(run(seed)));
}

#[test]
fn two_runs_of_one_seed_are_identical() {
    for seed in 0..SEEDS_REPLAYED {
        let (first, second) = (run(seed), run(seed));
        for (line, (one, other)) in first.iter().zip(&second).enumerate() {
            assert_eq!(
                one, other,
                "two simulations with the random seed {seed} must not differ in line {line} of \
                 their logs"
            );
        }
        assert_eq!(
            first.len(),
            second.len(),
            "two simulations with the random seed {seed} must have logs of equal lengths"
        );
    }
}

/// Runs the simulation of one random seed, and returns its log. Each simulation has its own async
/// runtime, so that virtual time begins at zero.
fn run(seed: u64) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("the test must be able to start an async runtime").block_on(simulate(seed))
}

async fn simulate(seed: u64) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let clock = Arc::new(VirtualClock::starting_at(wall));
    let setup = Setup::draw(&mut rng);
    let world = Arc::new(World::new(seed, setup.clone(), clock.clone()));
    let config = Config {
        policies: setup.rules(),
        reader_wait: setup.reader_wait,
        entries_max: setup.entries_max,
        bytes_max: usize::MAX,
        calls_max: FLIGHTS_MAX,
        listed: setup.listed.iter().map(|id| identity::key(id)).collect(),
        discovery: setup.discovery(),
        scope: Scope::new([]).expect("an empty list of patterns must be valid"),
        conventions: Arc::new(Conventions::default()),
        is_strict: false,
        use_only: None,
        is_snapshot: setup.is_snapshot,
        seed: Some(seed),
    };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (cache, writer) = open(
        config,
        Home { region: "eu-north-1".into(), account: Some("123456789012".into()) },
        world.clone(),
        clock.clone(),
        Arc::new(Metrics::new()),
        tasks.clone(),
        stop.clone(),
    );
    world.watch(&cache);
    let mode = [Mode::Get, Mode::Batch, Mode::Auto][rng.usize(0..3)];
    let readers = TaskTracker::new();
    let mut simulation = Simulation { world, clock, cache, rng, readers, reads: 0 };
    // Some simulations begin while calls fail.
    if simulation.rng.u8(0..3) == 0 {
        simulation.trouble(0);
    }
    let refreshing = tasks.spawn(async move {
        drop(prefetch::begin(&writer, mode).await);
        tokio::join!(search::run(writer.clone()), refresh::run(writer));
    });
    for number in 0..EVENTS {
        let event = simulation.happen().await;
        simulation.world.check(seed, &format!("event {number}: {event}"));
    }
    simulation.recover().await;
    simulation.world.require(!refreshing.is_finished(), || {
        "the refresh loop ended before the simulation stopped it".to_owned()
    });
    simulation.world.check(seed, "the simulation ended");
    simulation.world.unwatch();
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    std::mem::take(&mut simulation.world.state().trace)
}

impl Simulation {
    /// Ends all simulated faults, and checks that all reads then succeed.
    async fn recover(&mut self) {
        let setup = self.world.setup.clone();
        self.world.heal();
        for id in self.world.names() {
            self.read(&id, false);
        }
        // Wait long enough for a last call that hangs, or that a freeze interrupted.
        self.clock.sleep(BACK_OFF_MAX + 3 * DEADLINE + 2 * setup.reader_wait).await;
        let missing = self.cache.missing();
        let is_small = setup.entries_max < setup.listed.len();
        self.world.require(missing.is_empty() || is_small, || {
            format!("secrets are not cached although all simulated faults have ended: {missing:?}")
        });
        let waiting = self.world.waiting();
        self.world.require(waiting == 0, || {
            format!("{waiting} simulated readers got neither a secret nor an error")
        });
        for id in self.world.names() {
            let served = self.ask(&id, false).await;
            self.world.require(served.is_ok(), || {
                format!(
                    "a read of the secret {id} failed after all simulated faults ended: {served:?}"
                )
            });
        }
        // After this sleep, values from before the end of all faults are too old to serve. The loop
        // reads twice, because the cache accepts an older version only after two calls.
        self.clock.sleep(setup.life_max()).await;
        for _ in 0..2 {
            for id in self.world.names() {
                drop(self.ask(&id, false).await);
            }
            self.clock.sleep(BACK_OFF_MAX + DEADLINE).await;
        }
        for id in self.world.names() {
            let served = self.ask(&id, false).await;
            let current = self.world.current(&id);
            let is_current =
                served.as_ref().is_ok_and(|served| *served.entry.version.id == *current);
            self.world.require(is_current, || {
                format!(
                    "the current version of the secret {id} is {current}, but a read got {served:?}"
                )
            });
            let is_home = served.is_ok_and(|served| served.entry.replica_region.is_none());
            self.world.require(is_home, || {
                format!("the cache serves the replica of {id}, although the home region works")
            });
        }
    }
}
