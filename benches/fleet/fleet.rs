//! A fleet of environments in virtual time: they start, refresh, freeze and end.

use crate::held::Held;
use crate::queue::{Micros, Queue};
use crate::upstream::{Call, Upstream};
use sidekey::cache::flight::FLIGHTS_MAX;
use sidekey::cache::freeze::was_interrupted;
use sidekey::cache::freshness::{Freshness, Policy};
use sidekey::cache::plan::Next;
use sidekey::cache::prefetch::Mode;
use sidekey::source::BATCH_MAX;
use std::time::Duration;

/// How long a call may take: `SIDEKEY_UPSTREAM_TIMEOUT`.
const CALL_MAX: Duration = Duration::from_secs(2);

/// How long a start waits for the prefetch: `SIDEKEY_PREFETCH_DEADLINE`.
pub(crate) const START_MAX: Duration = Duration::from_secs(3);

/// How long an invocation takes.
const INVOCATION: Duration = Duration::from_millis(200);

/// How a fleet is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// `SIDEKEY_PREFETCH`.
    pub(crate) mode: Mode,
    /// Listed secrets of each environment.
    pub(crate) secrets: usize,
    /// What holds for each.
    pub(crate) policy: Policy,
    /// Whether each entry draws its jitter. Else all draw the same.
    pub(crate) is_drawn: bool,
    /// How environments are used.
    pub(crate) usage: Usage,
    /// When they start.
    pub(crate) starts: Vec<Micros>,
    /// When the simulation ends.
    pub(crate) until: Micros,
    /// Whether the service has just been asked for all that its quotas allow.
    pub(crate) is_upstream_busy: bool,
    /// Draws everything.
    pub(crate) seed: u64,
}

/// How environments are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// They start, and are looked at until they are ready.
    StartOnly,
    /// Every secret is read all the time, and nothing freezes.
    Busy,
    /// Invocations come at random, so long after one another on average; each reads every secret.
    /// Between them the environment is frozen. After so long a life another takes its place.
    Invoked {
        /// From one to the next, on average.
        every: Duration,
        /// How long an environment lives.
        life: Duration,
    },
}

/// What readers got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// All reads.
    pub(crate) total: u64,
    /// Reads that waited for upstream.
    pub(crate) waited: u64,
    /// Reads that got a value past its TTL.
    pub(crate) stale: u64,
}

/// What became of a fleet.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How long each environment took to hold all its secrets, sorted.
    pub(crate) ready: Vec<Duration>,
    /// Environments that started.
    pub(crate) started: usize,
    /// What was asked of the service.
    pub(crate) upstream: Upstream,
    /// What readers got.
    pub(crate) reads: Reads,
}

/// Runs a fleet.
pub(crate) fn run(setup: &Setup) -> Outcome {
    assert!(setup.secrets <= FLIGHTS_MAX, "flights do not wait for one another here");
    let mut fleet = Fleet::new(setup);
    for (n, at) in setup.starts.iter().enumerate() {
        fleet.queue.put(*at, Event::Start(index(n)));
    }
    while let Some((now, event)) = fleet.queue.take() {
        if now > setup.until {
            break;
        }
        fleet.happen(now, event);
    }
    let mut ready = fleet.ready;
    ready.sort_unstable();
    let (started, upstream, reads) = (fleet.started, fleet.upstream, fleet.reads);
    Outcome { ready, started, upstream, reads }
}

/// An environment, by its place.
type Env = u32;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// An environment starts.
    Start(Env),
    /// The timers of one have slept long enough.
    Wake(Env),
    /// A function is invoked.
    Invoke(Env),
    /// A call for one secret ends.
    Get { env: Env, secret: u8, sent: Micros, is_answered: bool },
    /// A call for some ends.
    Batch { env: Env, from: u8, sent: Micros, is_answered: bool },
}

/// An environment.
#[derive(Clone, Copy, Debug, Default)]
struct Environment {
    started: Micros,
    /// When it is frozen next; while `StartOnly` and `Busy`, never.
    awake_until: Option<Micros>,
    invoked_next: Micros,
    /// The earliest time at which its timers are to wake, so that none is set twice.
    wakes_at: Option<Micros>,
    is_ready: bool,
    is_batching: bool,
}

struct Fleet<'a> {
    setup: &'a Setup,
    queue: Queue<Event>,
    environments: Vec<Environment>,
    held: Vec<Held>,
    upstream: Upstream,
    random: fastrand::Rng,
    ready: Vec<Duration>,
    started: usize,
    reads: Reads,
}

impl<'a> Fleet<'a> {
    fn new(setup: &'a Setup) -> Self {
        let count = setup.starts.len();
        let held = std::iter::repeat_with(Held::default).take(count * setup.secrets).collect();
        let upstream = if setup.is_upstream_busy { Upstream::busy() } else { Upstream::rested() };
        Self {
            setup,
            queue: Queue::new(),
            environments: vec![Environment::default(); count],
            held,
            upstream,
            random: fastrand::Rng::with_seed(setup.seed),
            ready: Vec::with_capacity(count),
            started: 0,
            reads: Reads::default(),
        }
    }

    fn happen(&mut self, now: Micros, event: Event) {
        let (Event::Start(env)
        | Event::Wake(env)
        | Event::Invoke(env)
        | Event::Get { env, .. }
        | Event::Batch { env, .. }) = event;
        let thawed = self.environments[env as usize].invoked_next;
        match event {
            Event::Start(_) => self.start(env, now),
            Event::Invoke(_) => self.invoke(env, now),
            // Whatever ends while everything stands still is seen once that is over.
            _ if self.is_frozen(env, now) => self.queue.put(thawed, event),
            Event::Wake(_) => {
                self.environments[env as usize].wakes_at = None;
                self.look(env, now);
            }
            Event::Get { secret, sent, is_answered, .. } => {
                self.land(env, secret, sent, now, is_answered);
                self.look(env, now);
            }
            Event::Batch { from, sent, is_answered, .. } => {
                self.land_batch(env, from, sent, now, is_answered);
                self.look(env, now);
            }
        }
    }

    fn start(&mut self, env: Env, now: Micros) {
        self.started += 1;
        let is_first = self.environments[env as usize].started == Micros::default();
        if let (Usage::Invoked { life, .. }, true) = (self.setup.usage, is_first) {
            // The fleet is found at any age: not all are replaced at once.
            let lived = life.mul_f64(self.random.f64());
            self.queue.put(now.after(life - lived), Event::Start(env));
        } else if let Usage::Invoked { life, .. } = self.setup.usage {
            self.queue.put(now.after(life), Event::Start(env));
        }
        self.environments[env as usize] = Environment {
            started: now.max(Micros(1)),
            is_batching: self.setup.mode.tries_batches(self.setup.secrets),
            ..Environment::default()
        };
        for held in self.held_by(env) {
            *held = Held::in_flight();
        }
        if self.environments[env as usize].is_batching {
            self.batch(env, 0, now);
        } else {
            (0..self.setup.secrets).for_each(|secret| self.get(env, secret, now));
        }
        if matches!(self.setup.usage, Usage::Invoked { .. }) {
            self.environments[env as usize].invoked_next = now.after(START_MAX);
        }
    }

    /// Reads every secret, and lets what is due be fetched.
    fn invoke(&mut self, env: Env, now: Micros) {
        let Usage::Invoked { every, .. } = self.setup.usage else { return };
        let environment = &mut self.environments[env as usize];
        if environment.invoked_next != now {
            // An invocation of an environment that has been replaced since.
            return;
        }
        environment.awake_until = Some(now.after(INVOCATION));
        let gap = every.mul_f64(-(1.0 - self.random.f64()).ln()).max(INVOCATION * 2);
        environment.invoked_next = now.after(gap);
        self.queue.put(now.after(gap), Event::Invoke(env));
        // Timers fire on thaw, before the function has sent its first request.
        self.look(env, now);
        for secret in 0..self.setup.secrets {
            self.read(env, secret, now);
        }
        self.look(env, now);
    }

    fn read(&mut self, env: Env, secret: usize, now: Micros) {
        let policy = self.setup.policy;
        self.reads.total += 1;
        let held = self.held(env, secret);
        let freshness = held.freshness(&policy, now);
        let is_behind = !held.is_in_flight && !held.is_paused(now);
        match freshness {
            Some(Freshness::Fresh) => held.touch(),
            Some(Freshness::Due | Freshness::Stale(_)) => {
                held.touch();
                self.reads.stale += u64::from(freshness != Some(Freshness::Due));
                if is_behind {
                    self.get(env, secret, now);
                }
            }
            Some(Freshness::Expired) | None => {
                held.is_awaited = true;
                let is_idle = !held.is_in_flight;
                self.reads.waited += 1;
                if is_idle {
                    self.get(env, secret, now);
                }
            }
        }
    }

    /// Starts what the plan says is due, and sets the timer for what is due next.
    fn look(&mut self, env: Env, now: Micros) {
        let policy = self.setup.policy;
        let mut wake_in: Option<Duration> = None;
        for secret in 0..self.setup.secrets {
            let held = self.held(env, secret);
            if held.is_in_flight {
                continue;
            }
            match held.next(&policy, now) {
                Next::Now => self.get(env, secret, now),
                Next::In(wait) => {
                    wake_in = Some(wake_in.map_or(wait, |other| other.min(wait)));
                }
                Next::WhenRead => {}
            }
        }
        self.note_ready(env, now);
        if self.setup.usage == Usage::StartOnly && self.environments[env as usize].is_ready {
            return;
        }
        let Some(at) = wake_in.map(|wait| now.after(wait)) else { return };
        let wakes_at = &mut self.environments[env as usize].wakes_at;
        if wakes_at.is_none_or(|set| at < set) {
            *wakes_at = Some(at);
            self.queue.put(at, Event::Wake(env));
        }
    }

    fn note_ready(&mut self, env: Env, now: Micros) {
        let is_complete = self.held_by(env).iter().all(Held::is_held);
        let environment = &mut self.environments[env as usize];
        if environment.is_ready || !is_complete {
            return;
        }
        environment.is_ready = true;
        let took = now.since(environment.started);
        self.ready.push(took);
        if matches!(self.setup.usage, Usage::Invoked { .. }) {
            environment.invoked_next = now;
            self.queue.put(now, Event::Invoke(env));
        }
    }

    fn get(&mut self, env: Env, secret: usize, now: Micros) {
        self.held(env, secret).is_in_flight = true;
        let (ends, is_answered) = self.upstream.call(Call::Get, now, &mut self.random);
        let secret = u8::try_from(secret).expect("the number of secrets fits");
        self.queue.put(ends, Event::Get { env, secret, sent: now, is_answered });
    }

    fn batch(&mut self, env: Env, from: usize, now: Micros) {
        let (ends, is_answered) = self.upstream.call(Call::Batch, now, &mut self.random);
        let from = u8::try_from(from).expect("the number of secrets fits");
        self.queue.put(ends, Event::Batch { env, from, sent: now, is_answered });
    }

    fn land(&mut self, env: Env, secret: u8, sent: Micros, now: Micros, is_answered: bool) {
        let secret = usize::from(secret);
        if sent < self.environments[env as usize].started {
            return;
        }
        if was_interrupted(Some(now.since(sent)), CALL_MAX) {
            return self.get(env, secret, now);
        }
        let policy = self.setup.policy;
        let draw = self.random.f64();
        let is_busy = self.setup.usage == Usage::Busy;
        let is_drawn = self.setup.is_drawn;
        let held = self.held(env, secret);
        held.is_in_flight = false;
        if !is_answered {
            return held.throttle(now, draw);
        }
        let before = held.freshness(&policy, now);
        held.answer(sent, if is_drawn { draw } else { 0.0 });
        if is_busy || std::mem::take(&mut held.is_awaited) {
            held.touch();
        }
        if is_busy {
            self.reads.total += 1;
            self.reads.waited += u64::from(before == Some(Freshness::Expired));
            self.reads.stale += u64::from(matches!(before, Some(Freshness::Stale(_))));
        }
    }

    /// Ends a batch, and makes up for one that failed by single calls.
    fn land_batch(&mut self, env: Env, from: u8, sent: Micros, now: Micros, is_answered: bool) {
        if sent < self.environments[env as usize].started {
            return;
        }
        let from = usize::from(from);
        let until = (from + BATCH_MAX).min(self.setup.secrets);
        for secret in from..until {
            if is_answered {
                let secret = u8::try_from(secret).expect("the number of secrets fits");
                self.land(env, secret, sent, now, true);
            } else {
                self.get(env, secret, now);
            }
        }
        let goes_on = self.setup.mode.goes_on_with_batches(is_answered);
        self.environments[env as usize].is_batching &= goes_on;
        if until == self.setup.secrets {
            return;
        }
        if self.environments[env as usize].is_batching {
            self.batch(env, until, now);
        } else {
            (until..self.setup.secrets).for_each(|secret| self.get(env, secret, now));
        }
    }

    fn is_frozen(&self, env: Env, now: Micros) -> bool {
        let environment = &self.environments[env as usize];
        environment.awake_until.is_some_and(|until| now >= until && now < environment.invoked_next)
    }

    fn held(&mut self, env: Env, secret: usize) -> &mut Held {
        &mut self.held[env as usize * self.setup.secrets + secret]
    }

    fn held_by(&mut self, env: Env) -> &mut [Held] {
        let from = env as usize * self.setup.secrets;
        &mut self.held[from..from + self.setup.secrets]
    }
}

fn index(n: usize) -> Env {
    Env::try_from(n).expect("a fleet has its bounds")
}
