//! A seeded simulation: tests the cache in virtual time in a world in which everything goes wrong.
//!
//! The world knows the true versions of all secrets, and keeps its own log of what it answered. After
//! each event, each call and each read, the model checks the cache: [`reads`] checks how old a value
//! may get and which errors are right, [`calls`] checks that each call is needed, and [`entries`]
//! checks what stays cached. Each seed has its own policies, secrets, faults and readers. Two runs of
//! one seed are identical.

mod calls;
mod events;
mod entries;
mod log;
mod reads;
mod setup;
mod truth;
mod world;

use super::prefetch::{self, Mode};
use super::{Cache, Config, open, refresh};
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

/// The number of seeds that are run. A failure prints its seed. To replay a seed, let the range of one
/// test begin at this seed.
const SEEDS: u64 = 4000;

/// The number of seeds that are run twice to compare the runs.
const SEEDS_REPLAYED: u64 = 200;

/// The number of events of each seed.
const EVENTS: usize = 60;

const SECOND: Duration = Duration::from_secs(1);

/// A cache, the world around it, and the tasks of its readers.
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
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// Simulates one seed, and returns the trace of its events. Each run has its own runtime, so that
/// virtual time begins at zero.
fn run(seed: u64) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("the system can start a runtime").block_on(simulate(seed))
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
        listed: setup.listed.iter().map(|id| world::key(id)).collect(),
        scope: Scope::new([]).expect("an empty list of patterns is valid"),
        conventions: Arc::new(Conventions::default()),
        is_strict: false,
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
    let refreshing = tasks.spawn(async move {
        drop(prefetch::begin(&writer, mode).await);
        refresh::run(writer).await;
    });
    let readers = TaskTracker::new();
    let mut simulation = Simulation { world, clock, cache, rng, readers, reads: 0 };
    for number in 0..EVENTS {
        let event = simulation.happen().await;
        simulation.world.check(seed, &format!("event {number}, {event}"));
    }
    simulation.recover().await;
    simulation.world.require(!refreshing.is_finished(), || "the refresh loop has ended".to_owned());
    simulation.world.check(seed, "the end");
    simulation.world.unwatch();
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    std::mem::take(&mut simulation.world.state().trace)
}

impl Simulation {
    /// Ends all faults, and checks that all reads succeed after one longest back-off.
    async fn recover(&mut self) {
        let setup = self.world.setup.clone();
        self.world.heal();
        for id in self.world.names() {
            self.read(&id, false);
        }
        // The last call may have hung, or a freeze may have interrupted it.
        self.clock.sleep(BACK_OFF_MAX + 3 * DEADLINE + 2 * setup.reader_wait).await;
        let missing = self.cache.missing();
        let is_small = setup.entries_max < setup.listed.len();
        self.world.require(missing.is_empty() || is_small, || {
            format!("missing after all faults ended: {missing:?}")
        });
        let waiting = self.world.waiting();
        self.world.require(waiting == 0, || format!("{waiting} readers were never answered"));
        for id in self.world.names() {
            let served = self.ask(&id, false).await;
            self.world
                .require(served.is_ok(), || format!("{id} after all faults ended: {served:?}"));
        }
        // Values from before the end of all faults are now too old. A label that was moved back is
        // accepted at the second answer.
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
                format!("the current version of {id} is {current}, but a read got {served:?}")
            });
        }
    }
}
