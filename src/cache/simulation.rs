//! A seeded simulation: the cache against a world in which everything goes wrong, in virtual time.
//!
//! The world knows the truth, and keeps a log of its own of what it answered. After each event, at
//! each call and at each answer to a reader, the model says what must hold: [`reads`] of how old a
//! value may get and who is refused, [`calls`] of what is asked for, [`held`] of what is kept. Each
//! seed has its own policies, secrets, faults and readers, and replays to the letter.

mod calls;
mod events;
mod held;
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

/// How many seeds are run. What fails names its seed: to replay one, have the range of one test begin
/// there.
const SEEDS: u64 = 4000;

/// How many seeds are run twice.
const SEEDS_REPLAYED: u64 = 200;

/// How many events each seed's world sees.
const EVENTS: usize = 60;

const SECOND: Duration = Duration::from_secs(1);

/// A cache in its world, and the tasks that belong to them.
struct Simulation {
    world: Arc<World>,
    clock: Arc<VirtualClock>,
    cache: Cache,
    rng: fastrand::Rng,
    readers: TaskTracker,
    reads: u64,
}

#[test]
fn every_even_seed_holds() {
    (0..SEEDS).step_by(2).for_each(|seed| drop(run(seed)));
}

#[test]
fn every_odd_seed_holds() {
    (1..SEEDS).step_by(2).for_each(|seed| drop(run(seed)));
}

#[test]
fn each_seed_replays_to_the_letter() {
    for seed in 0..SEEDS_REPLAYED {
        let (first, second) = (run(seed), run(seed));
        for (line, (one, other)) in first.iter().zip(&second).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// Runs the world of one seed in a runtime of its own, so that its time begins at zero, and returns
/// what happened.
fn run(seed: u64) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(simulate(seed))
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
        scope: Scope::new([]).expect("no pattern is bad"),
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
    simulation.world.hold(!refreshing.is_finished(), || "the refresh loop has ended".to_owned());
    simulation.world.check(seed, "the end");
    simulation.world.unwatch();
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    std::mem::take(&mut simulation.world.state().trace)
}

impl Simulation {
    /// Ends all trouble, and checks that everything is well within one longest back-off.
    async fn recover(&mut self) {
        let setup = self.world.setup.clone();
        self.world.heal();
        for id in self.world.names() {
            self.read(&id, false);
        }
        // The last call may have hung, or been cut and made again.
        self.clock.sleep(BACK_OFF_MAX + 3 * DEADLINE + 2 * setup.reader_wait).await;
        let missing = self.cache.missing();
        let is_small = setup.entries_max < setup.listed.len();
        self.world.hold(missing.is_empty() || is_small, || format!("not held: {missing:?}"));
        let waiting = self.world.waiting();
        self.world.hold(waiting == 0, || format!("{waiting} readers were never answered"));
        for id in self.world.names() {
            let served = self.ask(&id, false).await;
            self.world.hold(served.is_ok(), || format!("{id} after all trouble: {served:?}"));
        }
        // What was fetched before the end of all trouble is too old now. A label that was moved
        // back shows at the second answer.
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
            self.world.hold(is_current, || format!("{id} is {current}, but {served:?}"));
        }
    }
}
