//! The random events of the simulation, such as reads, rotations, faults and freezes. A random seed
//! determines the events.

use super::identity::{key, secret};
use super::log::Reader;
use super::truth::Fault;
use super::world::DEADLINE;
use super::{SECOND, Simulation};
use crate::cache::{ReadError, Served};
use crate::clock::Clock;
use crate::source::FetchErrorKind;
use std::future::Future;
use std::time::Duration;

/// The simulated failures of AWS that a retry can fix.
const TRANSIENT: [FetchErrorKind; 6] = [
    FetchErrorKind::Throttled,
    FetchErrorKind::Service,
    FetchErrorKind::Timeout,
    FetchErrorKind::Connection,
    FetchErrorKind::Unreadable,
    FetchErrorKind::Credentials,
];

/// The simulated permanent errors of AWS, such as denied access, which no retry can fix.
const REFUSALS: [FetchErrorKind; 3] =
    [FetchErrorKind::Denied, FetchErrorKind::NotFound, FetchErrorKind::Decryption];

impl Simulation {
    /// Applies a random event, such as a read, a fault or a freeze. Returns the description of the
    /// event.
    pub(super) async fn happen(&mut self) -> &'static str {
        let n = self.rng.usize(0..self.world.setup.names.len());
        let event = match self.rng.u8(0..100) {
            0..30 => self.read_some(n),
            30..34 => self.read_now_some(n),
            34..62 => return self.pass().await,
            62..67 => return self.freeze().await,
            67..72 => {
                self.world.rotate(n);
                "a secret was rotated"
            }
            72..75 => self.roll_back(n),
            75..78 => {
                let mut state = self.world.state();
                state.truths[n].lag = self.rng.u32(0..4) * 3 * SECOND;
                state.truths[n].replica_lag = self.rng.u32(0..4) * 30 * SECOND;
                state.truths[n].replica_fault = match self.rng.u8(0..5) {
                    0 => Fault::Fail(REFUSALS[self.rng.usize(0..REFUSALS.len())]),
                    1 => Fault::Flaky(TRANSIENT[self.rng.usize(0..TRANSIENT.len())]),
                    _ => Fault::None,
                };
                "a replica of the simulated AWS began or stopped lagging behind"
            }
            78..89 => self.trouble(n),
            89..93 => self.set_wall_clock(),
            93..95 => {
                self.world.state().epoch += 1;
                self.cache.restored();
                "a snapshot was restored"
            }
            95..97 => {
                self.world.state().truths[n].is_deleted = true;
                "a secret was deleted"
            }
            97..98 => {
                self.world.recreate(n);
                "a secret was deleted and created again"
            }
            _ => {
                self.world.heal();
                "all faults ended"
            }
        };
        // Half of all events happen at the same moment as the next event.
        if self.rng.bool() {
            self.clock.sleep(Duration::from_millis(self.rng.u64(0..50))).await;
        }
        event
    }

    /// Starts a task that reads the secret `id` (a name or ARN). If `is_now` is `true`, the task
    /// needs a new value from AWS, like a request with `refreshNow=true`.
    pub(super) fn read(&mut self, id: &str, is_now: bool) {
        let asking = self.ask(id, is_now);
        self.readers.spawn(asking);
    }

    /// Returns a future that reads the secret `id` (a name or ARN) and checks the result.
    pub(super) fn ask(
        &mut self,
        id: &str,
        is_now: bool,
    ) -> impl Future<Output = Result<Served, ReadError>> + Send + use<> {
        self.reads += 1;
        let number = self.reads;
        let (world, cache, id) = (self.world.clone(), self.cache.clone(), id.to_owned());
        async move {
            let disturbed = world.state().disturbed;
            let (secret, started) = (secret(&id), world.now());
            let need_not_wait = !is_now && world.need_not_wait(&id);
            let reader =
                Reader { id: id.clone(), secret, is_now, started, need_not_wait, disturbed };
            world.state().readers.insert(number, reader.clone());
            let read = match is_now {
                true => cache.read_now(key(&id)).await,
                false => cache.read(key(&id)).await,
            };
            world.forget_reader(number);
            world.judge(&reader, &read);
            read
        }
    }

    fn some_id(&mut self, n: usize) -> String {
        let state = self.world.state();
        match self.rng.u8(0..3) {
            0 => state.truths[n].arn(),
            _ => state.truths[n].name.clone(),
        }
    }

    fn read_some(&mut self, n: usize) -> &'static str {
        for _ in 0..self.rng.usize(1..4) {
            let id = self.some_id(n);
            self.read(&id, false);
        }
        "a reader came"
    }

    fn read_now_some(&mut self, n: usize) -> &'static str {
        let id = self.some_id(n);
        self.read(&id, true);
        "a reader asked for a new value with refreshNow"
    }

    async fn pass(&mut self) -> &'static str {
        let n = self.rng.usize(0..self.world.setup.names.len());
        let policy = self.world.setup.policies[n];
        let whole = policy.ttl + policy.stale_while_revalidate;
        let span = match self.rng.u8(0..10) {
            0..4 => Duration::from_millis(self.rng.u64(0..400)),
            4..6 => 4 * SECOND.mul_f64(self.rng.f64()),
            6..8 => whole.mul_f64(self.rng.f64() * 1.2),
            8 => (whole + policy.stale_if_error).min(600 * SECOND).mul_f64(self.rng.f64() * 1.1),
            _ => 70 * SECOND.mul_f64(self.rng.f64()),
        };
        self.clock.sleep(span).await;
        "time passed"
    }

    async fn freeze(&mut self) -> &'static str {
        let span = match self.rng.u8(0..3) {
            0 => 2 * DEADLINE.mul_f64(self.rng.f64()),
            1 => 60 * SECOND.mul_f64(self.rng.f64()),
            _ => 5000 * SECOND.mul_f64(self.rng.f64()),
        };
        self.world.state().disturbed.0 += span;
        tokio::time::advance(span).await;
        "the process was frozen"
    }

    fn roll_back(&mut self, n: usize) -> &'static str {
        let now = self.world.now().steady;
        let mut state = self.world.state();
        let truth = &mut state.truths[n];
        let older = truth.versions[self.rng.usize(0..truth.versions.len())];
        truth.history.push((now, older));
        "the label AWSCURRENT was moved back to an older version"
    }

    /// Lets calls to the simulated AWS fail from now on, or succeed again: the calls for the secret
    /// with the index `n`, the calls for all secrets, or the searches. Returns a description.
    pub(super) fn trouble(&mut self, n: usize) -> &'static str {
        if self.world.setup.has_pattern && self.rng.u8(0..4) == 0 {
            let kinds = [Some(FetchErrorKind::Throttled), Some(FetchErrorKind::Denied), None];
            self.world.state().search_fault = kinds[self.rng.usize(0..kinds.len())];
            return "a fault of searches began or ended";
        }
        let transient = TRANSIENT[self.rng.usize(0..TRANSIENT.len())];
        let fault = match self.rng.u8(0..10) {
            0..3 => Fault::Fail(transient),
            3..5 => Fault::Flaky(transient),
            5 => Fault::Hang,
            6..8 => Fault::Fail(REFUSALS[self.rng.usize(0..REFUSALS.len())]),
            _ => Fault::None,
        };
        let is_everywhere = self.rng.u8(0..3) == 0;
        for (number, truth) in self.world.state().truths.iter_mut().enumerate() {
            if is_everywhere || number == n {
                truth.fault = fault;
            }
        }
        "a fault began or ended"
    }

    fn set_wall_clock(&mut self) -> &'static str {
        let millis = match self.rng.u8(0..3) {
            0 => self.rng.i64(0..1000),
            1 => self.rng.i64(1000..10_000),
            _ => self.rng.i64(10_000..5_000_000),
        };
        let span = Duration::from_millis(millis.unsigned_abs());
        let is_forward = self.rng.bool();
        match is_forward {
            true => self.clock.step_forward(span),
            false => self.clock.step_back(span),
        }
        {
            let mut state = self.world.state();
            state.disturbed.1 += 1;
            state.offset_ms.0 += if is_forward { millis } else { -millis };
            let drift = state.offset_ms.0.abs_diff(state.offset_ms.1);
            if self.world.setup.is_snapshot && drift >= 1000 {
                state.epoch += 1;
                state.offset_ms.1 = state.offset_ms.0;
            }
        }
        // The cache detects a restore when it is next used. Use the cache now, so that the test
        // knows the time of the detection.
        drop(self.cache.status());
        "the wall clock was set"
    }
}
