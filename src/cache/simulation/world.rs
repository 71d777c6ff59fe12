//! The simulated AWS: a source of secrets that injects faults and records all calls of the cache.

use super::SECOND;
use super::identity::{plain, secret, text};
use super::log::{Answered, Call, State};
use super::setup::Setup;
use super::truth::{Fault, Truth};
use crate::cache::Cache;
use crate::clock::{Clock, Moment, VirtualClock};
use crate::secret::key::Key;
use crate::secret::secret_pattern::{Search, SecretPattern};
use crate::secret::service::Service;
use crate::secret::value::SecretValue;
use crate::secret::version::{AWSCURRENT, Content, Details, Parameter, ParameterKind, Version};
use crate::source::{
    BatchResult, FetchError, FetchErrorKind, FetchFuture, Found, FoundPage, ReplicaCall, Source,
};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// The maximum number of lines of the simulation's log that a failed test prints.
const LINES_SHOWN: usize = 40;

pub(super) const DEADLINE: Duration = Duration::from_secs(4);

/// The simulated AWS of one random seed: its secrets, its clock and its log.
#[derive(Debug)]
pub(super) struct World {
    pub(super) setup: Setup,
    seed: u64,
    clock: Arc<VirtualClock>,
    cache: Mutex<Option<Cache>>,
    state: Mutex<State>,
}

/// The number of secrets on one page of a simulated search, including secrets that do not match.
const PAGE_SIZE: usize = 3;

/// In each group of this many simulated secrets, one secret has no replica.
const UNREPLICATED: usize = 3;

impl World {
    pub(super) fn new(seed: u64, setup: Setup, clock: Arc<VirtualClock>) -> Self {
        let world = Self {
            seed,
            clock,
            cache: Mutex::default(),
            state: Mutex::default(),
            setup: setup.clone(),
        };
        for (n, name) in setup.names.into_iter().enumerate() {
            let truth = Truth {
                name,
                generation: 0,
                versions: Vec::new(),
                history: Vec::new(),
                is_deleted: false,
                fault: Fault::None,
                lag: Duration::ZERO,
                replica_fault: Fault::None,
                replica_lag: Duration::ZERO,
            };
            world.state().truths.push(truth);
            world.rotate(n);
        }
        world
    }

    /// Stores a handle on the cache, so that the simulated AWS can check the cached versions.
    pub(super) fn watch(&self, cache: &Cache) {
        *self.cache.lock().expect("no thread may panic while it holds the lock") =
            Some(cache.clone());
    }

    /// Drops the handle on the cache. The cache also refers to the simulated AWS, so otherwise
    /// neither of them would be freed.
    pub(super) fn unwatch(&self) {
        *self.cache.lock().expect("no thread may panic while it holds the lock") = None;
    }

    pub(super) fn cache(&self) -> Option<Cache> {
        self.cache.lock().expect("no thread may panic while it holds the lock").clone()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread may panic while it holds the lock")
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state().truths.iter().map(|truth| truth.name.clone()).collect()
    }

    pub(super) fn current(&self, name: &str) -> String {
        let state = self.state();
        let truth = &state.truths[secret(name)];
        truth.version_id(truth.current(self.now().steady))
    }

    /// Creates a new version of the secret with the index `n`, and makes it the current version.
    pub(super) fn rotate(&self, n: usize) {
        let now = self.now().steady;
        let mut state = self.state();
        state.versions += 1;
        let version = state.versions;
        state.truths[n].versions.push(version);
        state.truths[n].history.push((now, version));
    }

    /// Deletes the secret with the index `n`, and creates it again under another ARN.
    pub(super) fn recreate(&self, n: usize) {
        {
            let truth = &mut self.state().truths[n];
            truth.generation += 1;
            truth.is_deleted = false;
            truth.versions.clear();
            truth.history.clear();
        }
        self.rotate(n);
    }

    /// Records that the cache broke a rule if `is_met` is `false`. The function `what` describes
    /// the broken rule.
    pub(super) fn require(&self, is_met: bool, what: impl FnOnce() -> String) {
        if !is_met {
            self.note(&what());
            let mut state = self.state();
            let violated = state.trace.len();
            state.violated.get_or_insert(violated);
        }
    }

    /// Fails the test if the cache has broken a rule, and prints the last log lines before the
    /// cache broke the rule.
    pub(super) fn check(&self, seed: u64, when: &str) {
        self.observe();
        self.note(when);
        let state = self.state();
        let Some(violated) = state.violated else { return };
        let trace = state.trace[violated.saturating_sub(LINES_SHOWN)..violated].join("\n");
        panic!(
            "the cache broke a rule with the random seed {seed} ({:?}). Last events:\n{trace}",
            self.setup
        );
    }

    pub(super) fn forget_reader(&self, number: u64) {
        let now = self.now().steady;
        let mut state = self.state();
        if let Some(reader) = state.readers.remove(&number) {
            state.left.insert(reader.secret, now);
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.state().readers.len()
    }

    pub(super) fn note(&self, what: &str) {
        let now = self.now().steady;
        self.state().trace.push(format!("{now:>12.3?} {what}"));
    }

    /// Ends all simulated faults, and creates all deleted secrets again.
    pub(super) fn heal(&self) {
        let mut gone = Vec::new();
        self.state().search_fault = None;
        for (n, truth) in self.state().truths.iter_mut().enumerate() {
            truth.fault = Fault::None;
            truth.lag = Duration::ZERO;
            truth.replica_fault = Fault::None;
            truth.replica_lag = Duration::ZERO;
            gone.extend(truth.is_deleted.then_some(n));
        }
        for n in gone {
            self.recreate(n);
        }
    }

    fn draws(&self, id: &str) -> fastrand::Rng {
        let calls = self.state().calls.iter().filter(|call| call.id == id).count();
        let mut hasher = DefaultHasher::new();
        (self.seed, id, calls).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish())
    }

    /// Returns the answer of the simulated AWS to a call for `id`, and whether the answer is an
    /// outdated version, because a server of AWS lags behind.
    fn answer(&self, id: &str, rng: &mut fastrand::Rng) -> (Result<Version, FetchError>, bool) {
        let now = self.now().steady;
        let state = self.state();
        let truth = &state.truths[secret(id)];
        match truth.fault {
            Fault::Fail(kind) => return failed(kind),
            Fault::Flaky(kind) if rng.bool() => return failed(kind),
            Fault::Hang => return failed(FetchErrorKind::Timeout),
            _ => {}
        }
        let arn = truth.arn();
        if truth.is_deleted {
            return failed(FetchErrorKind::Unavailable);
        }
        if id != truth.name && id != arn {
            return failed(FetchErrorKind::NotFound);
        }
        let lag = if rng.bool() { truth.lag } else { Duration::ZERO };
        let number = truth.current(now.saturating_sub(lag));
        (Ok(self.version(truth, number)), number != truth.current(now))
    }

    /// Returns the answer of the replica of `id`, and whether the answer is an outdated version. A
    /// replica still has a secret that was deleted in the home region.
    fn replica_answer(
        &self,
        id: &str,
        rng: &mut fastrand::Rng,
    ) -> (Result<Version, FetchError>, bool) {
        let now = self.now().steady;
        let state = self.state();
        let truth = &state.truths[secret(id)];
        match truth.replica_fault {
            Fault::Fail(kind) => return failed(kind),
            Fault::Flaky(kind) if rng.bool() => return failed(kind),
            _ if secret(id) % UNREPLICATED == UNREPLICATED - 1 => {
                return failed(FetchErrorKind::NotFound);
            }
            _ if id != truth.name && id != truth.arn() => return failed(FetchErrorKind::NotFound),
            _ => {}
        }
        let number = truth.current(now.saturating_sub(truth.replica_lag));
        (Ok(self.version(truth, number)), number != truth.current(now))
    }

    fn version(&self, truth: &Truth, number: u32) -> Version {
        let created = SystemTime::UNIX_EPOCH + number * SECOND;
        Version {
            arn: truth.arn().into(),
            name: plain(&truth.name).trim_start_matches("ssm:").into(),
            id: truth.version_id(number).into(),
            details: match truth.is_parameter() {
                false => Details::Secret { labels: vec![AWSCURRENT.into()] },
                true => Details::Parameter(Parameter {
                    number: number.into(),
                    kind: ParameterKind::SecureString,
                    data_type: None,
                }),
            },
            created: self.setup.is_dated.then_some(created),
            content: Content::Text(SecretValue::from(format!("value {number}"))),
        }
    }

    fn is_hanging(&self, id: &str) -> bool {
        matches!(self.state().truths[secret(id)].fault, Fault::Hang)
    }
}

impl Source for World {
    fn deadline(&self, _key: &Key) -> Duration {
        DEADLINE
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(async move {
            let id = &*text(key);
            let mut rng = self.draws(id);
            let call = self.begin(id, None);
            let there = Duration::from_millis(rng.u64(1..self.setup.latency_max_ms));
            self.clock.sleep(there).await;
            if self.is_hanging(id) {
                self.clock.sleep(DEADLINE - there).await;
            }
            let (answer, is_lagging) = self.answer(id, &mut rng);
            let back = Duration::from_millis(rng.u64(0..200));
            self.clock.sleep(back).await;
            self.end(call, answered(&answer, is_lagging), false);
            answer
        })
    }

    /// The replica answers at once, so that no freeze interrupts its call.
    fn fetch_replica<'a>(&'a self, key: &'a Key) -> Option<ReplicaCall<'a>> {
        let has_replica = self.setup.has_failover && key.id.service() == Service::SecretsManager;
        has_replica.then(|| ReplicaCall {
            region: "eu-west-1",
            call: Box::pin(async move {
                let id = &*text(key);
                let mut rng = self.draws(id);
                let call = self.begin_replica(id);
                tokio::task::yield_now().await;
                let (answer, is_lagging) = self.replica_answer(id, &mut rng);
                self.end(call, answered(&answer, is_lagging), false);
                answer
            }),
        })
    }

    fn fetch_batch<'a>(&'a self, keys: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>> {
        Box::pin(async move {
            let mut rng = self.draws(&text(&keys[0]));
            let batch = {
                let mut state = self.state();
                state.batches += 1;
                Some(state.batches)
            };
            let is_one_role = keys.iter().all(|key| key.role == keys[0].role);
            self.require(is_one_role, || {
                "the cache made one batch call for secrets that are read with different roles"
                    .to_owned()
            });
            let calls: Vec<usize> = keys.iter().map(|key| self.begin(&text(key), batch)).collect();
            self.clock.sleep(Duration::from_millis(rng.u64(1..300))).await;
            let fails = rng.u8(0..3) == 0;
            let mut answers = Vec::new();
            for (key, call) in keys.iter().zip(calls) {
                let (answer, is_lagging) = self.answer(&text(key), &mut rng);
                self.end(call, answered(&answer, is_lagging), fails);
                answers.push(Some(answer));
            }
            if fails {
                let kind = FetchErrorKind::Denied;
                return Err(FetchError::new(kind, kind.label(), "simulated"));
            }
            Ok(answers)
        })
    }

    fn find_deadline(&self) -> Duration {
        DEADLINE
    }

    fn find<'a>(
        &'a self,
        pattern: &'a SecretPattern,
        page: Option<&'a str>,
    ) -> FetchFuture<'a, FoundPage> {
        Box::pin(async move {
            self.observe();
            let mut rng = {
                let mut state = self.state();
                state.searches += 1;
                fastrand::Rng::with_seed(self.seed ^ (state.searches as u64) << 32)
            };
            let was_searching = std::mem::replace(&mut self.state().is_searching, true);
            self.require(!was_searching, || "two searches ran at the same time".to_owned());
            let Search::ValuesByName(prefix) = pattern.search() else {
                unreachable!("the simulation must search only by the beginnings of names")
            };
            let page = page.map_or(0, |page| page.parse().expect("a page must be a number"));
            let (page, calls) = self.page(prefix, page, &mut rng);
            self.clock.sleep(Duration::from_millis(rng.u64(1..self.setup.latency_max_ms))).await;
            let failure = self.state().search_fault;
            for (call, answered) in calls {
                let fails = failure.is_some() || matches!(answered, Answered::Failed(_));
                self.end(call, answered, fails);
            }
            self.state().is_searching = false;
            let failed = |kind: FetchErrorKind| FetchError::new(kind, kind.label(), "simulated");
            failure.map_or(Ok(page), |kind| Err(failed(kind)))
        })
    }
}

impl World {
    /// Returns one page of the simulated secrets whose names begin with `prefix`, and records a
    /// call for each of them. `page` is the index of the first secret on the page.
    fn page(
        &self,
        prefix: &str,
        page: usize,
        rng: &mut fastrand::Rng,
    ) -> (FoundPage, Vec<(usize, Answered)>) {
        let names: Vec<String> = {
            let state = self.state();
            let is_found = |truth: &&Truth| {
                !truth.is_parameter() && !truth.is_deleted && truth.name.starts_with(prefix)
            };
            state
                .truths
                .iter()
                .skip(page)
                .take(PAGE_SIZE)
                .filter(is_found)
                .map(|truth| truth.name.clone())
                .collect()
        };
        let (mut found, mut calls) = (Vec::new(), Vec::new());
        for name in names {
            let (answer, is_lagging) = self.answer(&name, rng);
            let call = self.record(Call { is_search: true, ..self.call(&name) });
            calls.push((call, answered(&answer, is_lagging)));
            found.push(match answer {
                Ok(version) => Found::Version(version),
                Err(error) => Found::Unreadable { name: name.into(), error },
            });
        }
        let next = page + PAGE_SIZE;
        let is_last = next >= self.setup.names.len();
        (FoundPage { found, next: (!is_last).then(|| next.to_string().into()) }, calls)
    }
}

fn failed(kind: FetchErrorKind) -> (Result<Version, FetchError>, bool) {
    (Err(FetchError::new(kind, kind.label(), "simulated")), false)
}

fn answered(answer: &Result<Version, FetchError>, is_lagging: bool) -> Answered {
    match answer {
        Ok(version) => {
            Answered::Version { arn: version.arn.clone(), id: version.id.clone(), is_lagging }
        }
        Err(error) => Answered::Failed(error.kind),
    }
}
