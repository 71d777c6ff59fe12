//! Simulates a fleet of Lambda environments in virtual time. The environments start, refresh
//! secrets, freeze and end.

use crate::entry::Entry;
use crate::fetching::{Fetching, Indexes};
use crate::queue::{Micros, Queue};
use crate::upstream::{Call, Quotas, Upstream};
use sidekey::cache::flight::FLIGHTS_MAX;
use sidekey::cache::freshness::{Freshness, Policy};
use sidekey::cache::plan::Next;
use sidekey::clock::freeze::was_interrupted;
use sidekey::source::BATCH_MAX;
use std::time::Duration;

/// The simulated timeout of a call to AWS, the setting `SIDEKEY_UPSTREAM_TIMEOUT`.
const CALL_MAX: Duration = Duration::from_secs(2);

/// The maximum time for which a simulated start waits for the prefetch, the setting
/// `SIDEKEY_PREFETCH_DEADLINE`.
pub(crate) const START_MAX: Duration = Duration::from_secs(3);

/// The duration of each simulated invocation of a Lambda function.
const INVOCATION: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) fetching: Fetching,
    /// The number of secrets, parameters or paths that each environment prefetches.
    pub(crate) secrets: usize,
    pub(crate) quotas: Quotas,
    /// The caching policy of every secret.
    pub(crate) policy: Policy,
    /// Whether each cached secret has its own random jitter. Otherwise, all secrets have the same
    /// jitter.
    pub(crate) has_own_jitter: bool,
    /// How often the Lambda environments read their secrets.
    pub(crate) usage: Usage,
    /// The times at which the Lambda environments start.
    pub(crate) starts: Vec<Micros>,
    /// The virtual time at which the simulation ends.
    pub(crate) until: Micros,
    /// Whether other callers have used up AWS's quotas when the simulation begins.
    pub(crate) is_upstream_busy: bool,
    /// The seed for all random numbers of the simulation.
    pub(crate) seed: u64,
}

/// How often the Lambda environments read their secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// The Lambda environments do not read secrets. Each is observed until it has cached all its
    /// secrets.
    StartOnly,
    /// The Lambda environments read every secret all the time, and never freeze.
    Busy,
    /// Functions are invoked at random times, and read every secret. Between two invocations, a
    /// Lambda environment is frozen. A new environment replaces each environment that reaches its
    /// lifetime.
    Invoked {
        /// The average time between two invocations in one Lambda environment.
        every: Duration,
        /// The time after which a Lambda environment ends.
        life: Duration,
    },
}

/// The numbers of reads with certain results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) total: u64,
    pub(crate) waited: u64,
    /// The number of reads that returned a value after the end of its TTL.
    pub(crate) stale: u64,
}

#[derive(Debug)]
pub(crate) struct Outcome {
    /// The time that each Lambda environment took to cache all its secrets, in ascending order.
    pub(crate) ready: Vec<Duration>,
    /// The number of Lambda environments that have started.
    pub(crate) started: usize,
    /// The simulated AWS service, which has counted its calls.
    pub(crate) upstream: Upstream,
    pub(crate) reads: Reads,
}

pub(crate) fn run(setup: &Setup) -> Outcome {
    assert!(
        setup.secrets <= FLIGHTS_MAX,
        "the simulation must not limit the number of concurrent calls"
    );
    let mut fleet = Fleet::new(setup);
    for (n, at) in setup.starts.iter().enumerate() {
        fleet.queue.put(*at, Event::Start(index(n)));
    }
    while let Some((now, event)) = fleet.queue.take() {
        if now > setup.until {
            break;
        }
        fleet.handle(now, event);
    }
    let mut ready = fleet.ready;
    ready.sort_unstable();
    let (started, upstream, reads) = (fleet.started, fleet.upstream, fleet.reads);
    Outcome { ready, started, upstream, reads }
}

/// The index of a Lambda environment in the simulation.
type Env = u32;

/// An event of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A Lambda environment starts.
    Start(Env),
    /// Timers of a Lambda environment fire.
    Wake(Env),
    /// The Lambda function of an environment is invoked.
    Invoke(Env),
    /// A call ends that fetched one secret, or one or several parameters.
    Get { env: Env, secrets: Indexes, sent: Micros, is_answered: bool },
    /// A call of `BatchGetSecretValue` ends.
    Batch { env: Env, from: u8, sent: Micros, is_answered: bool },
    /// A call of `GetParametersByPath` ends. `sent` is the time at which the call for the first page
    /// was sent.
    Page { env: Env, left: u8, sent: Micros, is_answered: bool },
}

/// The state of one Lambda environment.
#[derive(Clone, Copy, Debug, Default)]
struct Environment {
    started: Micros,
    /// The time of the next freeze, or `None` if the Lambda environment never freezes.
    awake_until: Option<Micros>,
    invoked_next: Micros,
    /// The time at which the timers of the Lambda environment fire next. The field prevents
    /// duplicate events.
    wakes_at: Option<Micros>,
    is_ready: bool,
    is_batching: bool,
}

struct Fleet<'a> {
    setup: &'a Setup,
    queue: Queue<Event>,
    environments: Vec<Environment>,
    entry: Vec<Entry>,
    /// The parameters that the current event needs. Calls of `GetParameters` fetch them after the
    /// event.
    gathered: Indexes,
    upstream: Upstream,
    random: fastrand::Rng,
    ready: Vec<Duration>,
    started: usize,
    reads: Reads,
}

impl<'a> Fleet<'a> {
    fn new(setup: &'a Setup) -> Self {
        let count = setup.starts.len();
        let entry = std::iter::repeat_with(Entry::default).take(count * setup.secrets).collect();
        let create = if setup.is_upstream_busy { Upstream::busy } else { Upstream::idle };
        Self {
            setup,
            queue: Queue::new(),
            environments: vec![Environment::default(); count],
            entry,
            gathered: Indexes::default(),
            upstream: create(&setup.quotas),
            random: fastrand::Rng::with_seed(setup.seed),
            ready: Vec::with_capacity(count),
            started: 0,
            reads: Reads::default(),
        }
    }

    fn handle(&mut self, now: Micros, event: Event) {
        let (Event::Start(env)
        | Event::Wake(env)
        | Event::Invoke(env)
        | Event::Get { env, .. }
        | Event::Batch { env, .. }
        | Event::Page { env, .. }) = event;
        let thawed = self.environments[env as usize].invoked_next;
        match event {
            Event::Start(_) => self.start(env, now),
            Event::Invoke(_) => self.invoke(env, now),
            // A call that ends during a freeze is noticed after the thaw.
            _ if self.is_frozen(env, now) => self.queue.put(thawed, event),
            Event::Wake(_) => {
                self.environments[env as usize].wakes_at = None;
                self.start_due_calls(env, now);
            }
            Event::Get { secrets, sent, is_answered, .. } => {
                self.finish_get(env, secrets, sent, now, is_answered);
                self.start_due_calls(env, now);
            }
            Event::Batch { from, sent, is_answered, .. } => {
                self.finish_batch(env, from, sent, now, is_answered);
                self.start_due_calls(env, now);
            }
            Event::Page { left, sent, is_answered, .. } => {
                self.finish_page(env, left, sent, now, is_answered);
                self.start_due_calls(env, now);
            }
        }
        let gathered = std::mem::take(&mut self.gathered);
        for secrets in gathered.batches() {
            self.call(Call::Parameters, env, secrets, now);
        }
    }

    fn start(&mut self, env: Env, now: Micros) {
        self.started += 1;
        let is_first = self.environments[env as usize].started == Micros::default();
        if let (Usage::Invoked { life, .. }, true) = (self.setup.usage, is_first) {
            // The first environments begin at a random age, so that they are not all replaced at
            // once.
            let lived = life.mul_f64(self.random.f64());
            self.queue.put(now.after(life - lived), Event::Start(env));
        } else if let Usage::Invoked { life, .. } = self.setup.usage {
            self.queue.put(now.after(life), Event::Start(env));
        }
        self.environments[env as usize] = Environment {
            started: now.max(Micros(1)),
            is_batching: self.setup.fetching.tries_batches(self.setup.secrets),
            ..Environment::default()
        };
        for entry in self.entries_of(env) {
            *entry = Entry::in_flight();
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

    /// Reads every secret in a Lambda environment, and starts the necessary calls to AWS.
    fn invoke(&mut self, env: Env, now: Micros) {
        let Usage::Invoked { every, .. } = self.setup.usage else { return };
        let environment = &mut self.environments[env as usize];
        if environment.invoked_next != now {
            // This invocation belongs to an environment that was replaced meanwhile.
            return;
        }
        environment.awake_until = Some(now.after(INVOCATION));
        let gap = every.mul_f64(-(1.0 - self.random.f64()).ln()).max(INVOCATION * 2);
        environment.invoked_next = now.after(gap);
        self.queue.put(now.after(gap), Event::Invoke(env));
        // Timers fire at the thaw, before the function has sent its first request.
        self.start_due_calls(env, now);
        for secret in 0..self.setup.secrets {
            self.read(env, secret, now);
        }
        self.start_due_calls(env, now);
    }

    fn read(&mut self, env: Env, secret: usize, now: Micros) {
        let policy = self.setup.policy;
        self.reads.total += 1;
        let entry = self.entry(env, secret);
        let freshness = entry.freshness(&policy, now);
        let is_behind = !entry.is_in_flight && !entry.is_paused(now);
        match freshness {
            Some(Freshness::Fresh) => entry.touch(),
            Some(Freshness::Due | Freshness::Stale(_)) => {
                entry.touch();
                self.reads.stale += u64::from(freshness != Some(Freshness::Due));
                if is_behind {
                    self.get(env, secret, now);
                }
            }
            Some(Freshness::Expired) | None => {
                entry.is_awaited = true;
                let is_idle = !entry.is_in_flight;
                self.reads.waited += 1;
                if is_idle {
                    self.get(env, secret, now);
                }
            }
        }
    }

    /// Starts the calls to AWS that are due now, and sets the timer for the next calls.
    fn start_due_calls(&mut self, env: Env, now: Micros) {
        let policy = self.setup.policy;
        let mut wake_in: Option<Duration> = None;
        for secret in 0..self.setup.secrets {
            let entry = self.entry(env, secret);
            if entry.is_in_flight {
                continue;
            }
            match entry.next(&policy, now) {
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
        let is_complete = self.entries_of(env).iter().all(Entry::is_cached);
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
        self.entry(env, secret).is_in_flight = true;
        match self.setup.fetching {
            Fetching::Secrets(_) => self.call(Call::Get, env, Indexes::one(secret), now),
            Fetching::Parameter => self.call(Call::Parameters, env, Indexes::one(secret), now),
            Fetching::Parameters => self.gathered.add(secret),
            Fetching::Path { pages } => self.page(env, pages, now, now),
        }
    }

    fn call(&mut self, call: Call, env: Env, secrets: Indexes, now: Micros) {
        let (ends, is_answered) = self.upstream.call(call, now, &mut self.random);
        self.queue.put(ends, Event::Get { env, secrets, sent: now, is_answered });
    }

    /// Starts the call for one page of a path. `pages` is the number of pages that are missing.
    fn page(&mut self, env: Env, pages: u8, sent: Micros, now: Micros) {
        let (ends, is_answered) = self.upstream.call(Call::Page, now, &mut self.random);
        self.queue.put(ends, Event::Page { env, left: pages - 1, sent, is_answered });
    }

    fn batch(&mut self, env: Env, from: usize, now: Micros) {
        let (ends, is_answered) = self.upstream.call(Call::Batch, now, &mut self.random);
        let from = u8::try_from(from).expect("the number of secrets must fit into 8 bits");
        self.queue.put(ends, Event::Batch { env, from, sent: now, is_answered });
    }

    fn finish_get(
        &mut self,
        env: Env,
        secrets: Indexes,
        sent: Micros,
        now: Micros,
        is_answered: bool,
    ) {
        if sent < self.environments[env as usize].started {
            return;
        }
        if was_interrupted(Some(now.since(sent)), CALL_MAX) {
            secrets.each().for_each(|secret| self.get(env, secret, now));
            return;
        }
        let draw = self.random.f64();
        for secret in secrets.each() {
            self.settle(env, secret, (sent, draw), now, is_answered);
        }
    }

    /// Records the result of a call for one secret or parameter. `draw` is the random number of the
    /// call, so everything that the call fetched is refreshed at the same time.
    fn settle(
        &mut self,
        env: Env,
        secret: usize,
        (sent, draw): (Micros, f64),
        now: Micros,
        is_answered: bool,
    ) {
        let policy = self.setup.policy;
        let is_busy = self.setup.usage == Usage::Busy;
        let has_own_jitter = self.setup.has_own_jitter;
        let entry = self.entry(env, secret);
        entry.is_in_flight = false;
        if !is_answered {
            return entry.throttle(now, draw);
        }
        let before = entry.freshness(&policy, now);
        entry.answer(sent, if has_own_jitter { draw } else { 0.0 });
        if is_busy || std::mem::take(&mut entry.is_awaited) {
            entry.touch();
        }
        if is_busy {
            self.reads.total += 1;
            self.reads.waited += u64::from(before == Some(Freshness::Expired));
            self.reads.stale += u64::from(matches!(before, Some(Freshness::Stale(_))));
        }
    }

    /// Handles the end of a `BatchGetSecretValue` call. If the call failed, starts a
    /// `GetSecretValue` call for each secret.
    fn finish_batch(&mut self, env: Env, from: u8, sent: Micros, now: Micros, is_answered: bool) {
        if sent < self.environments[env as usize].started {
            return;
        }
        let from = usize::from(from);
        let until = (from + BATCH_MAX).min(self.setup.secrets);
        let secrets = Indexes::range(from..until);
        if is_answered {
            self.finish_get(env, secrets, sent, now, true);
        } else {
            secrets.each().for_each(|secret| self.get(env, secret, now));
        }
        let goes_on = self.setup.fetching.goes_on_with_batches(is_answered);
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

    /// Handles the end of a `GetParametersByPath` call. The cache gets a path only as a whole.
    fn finish_page(&mut self, env: Env, left: u8, sent: Micros, now: Micros, is_answered: bool) {
        if is_answered && left > 0 {
            self.page(env, left, sent, now);
        } else {
            self.finish_get(env, Indexes::one(0), sent, now, is_answered);
        }
    }

    fn is_frozen(&self, env: Env, now: Micros) -> bool {
        let environment = &self.environments[env as usize];
        environment.awake_until.is_some_and(|until| now >= until && now < environment.invoked_next)
    }

    fn entry(&mut self, env: Env, secret: usize) -> &mut Entry {
        &mut self.entry[env as usize * self.setup.secrets + secret]
    }

    fn entries_of(&mut self, env: Env) -> &mut [Entry] {
        let from = env as usize * self.setup.secrets;
        &mut self.entry[from..from + self.setup.secrets]
    }
}

fn index(n: usize) -> Env {
    Env::try_from(n).expect("the number of environments must fit into 32 bits")
}
