//! The cache over a scripted source, in virtual time.

use super::entry::Form;
use super::*;
use crate::clock::VirtualClock;
use crate::convention::Conventions;
use crate::secret::reference::SecretId;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Version};
use crate::source::{FetchErrorKind, FetchFuture};
use freshness::Refresh;
use policies::Rule;
use std::collections::HashMap;
use std::sync::Barrier;
use std::thread::{self, ScopedJoinHandle};
use std::time::SystemTime;
use tokio::task::JoinSet;

const SECOND: Duration = Duration::from_secs(1);

/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(40);

/// What upstream does at a call for one secret.
#[derive(Clone, Copy)]
enum Answer {
    /// Answers the version with this number.
    Version(u32),
    /// Answers the version with this number, whose value is as the convention of its name says.
    Whole(u32),
    /// Answers the version with this number to whoever asks for one of its labels or for its id.
    Labelled(u32, &'static [&'static str]),
    /// Fails with this kind.
    Fail(FetchErrorKind),
    /// Never answers.
    Hang,
    /// Fails after two seconds.
    TimeOut,
    /// Panics.
    Panic,
}

#[derive(Debug)]
struct Scripted {
    clock: Arc<VirtualClock>,
    answers: Mutex<HashMap<String, Answer>>,
    calls: Mutex<Vec<String>>,
    /// Calls under way, and the most there were at once.
    aloft: Mutex<(usize, usize)>,
    batches: Mutex<Vec<usize>>,
    batch_fails: Option<FetchErrorKind>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl Scripted {
    fn answer(&self, key: &Key) -> Result<Version, FetchError> {
        let answers = self.answers.lock().unwrap();
        let id = key.id.as_str();
        let answer =
            answers.iter().find(|(name, _)| id == **name || id.contains(&format!(":{name}-")));
        let Some((name, answer)) = answer else {
            return Err(error(FetchErrorKind::NotFound));
        };
        match answer {
            Answer::Version(n) => Ok(version(name, *n, key)),
            Answer::Whole(n) => {
                let value = format!(r#"{{"ai_api_key":"value {n}"}}"#);
                Ok(Version { content: Content::Text(value.into()), ..version(name, *n, key) })
            }
            Answer::Labelled(n, labels) => {
                let mut version = version(name, *n, key);
                version.labels = labels.iter().map(|label| (*label).into()).collect();
                let is_it = key.selector.selects(&version);
                is_it.then_some(version).ok_or_else(|| error(FetchErrorKind::NotFound))
            }
            Answer::Fail(kind) => Err(error(*kind)),
            Answer::Hang | Answer::TimeOut | Answer::Panic => unreachable!("handled before"),
        }
    }

    fn behaviour(&self, id: &str) -> Option<Answer> {
        self.answers.lock().unwrap().get(id).copied()
    }
}

impl Source for Scripted {
    fn deadline(&self) -> Duration {
        4 * SECOND
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(async {
            self.calls.lock().unwrap().push(key.id.as_str().to_owned());
            {
                let mut aloft = self.aloft.lock().unwrap();
                *aloft = (aloft.0 + 1, aloft.1.max(aloft.0 + 1));
            }
            self.clock.sleep(LATENCY).await;
            self.aloft.lock().unwrap().0 -= 1;
            match self.behaviour(key.id.as_str()) {
                Some(Answer::Hang) => std::future::pending().await,
                Some(Answer::TimeOut) => {
                    self.clock.sleep(2 * SECOND).await;
                    Err(error(FetchErrorKind::Timeout))
                }
                Some(Answer::Panic) => panic!("scripted"),
                _ => self.answer(key),
            }
        })
    }

    fn fetch_batch<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> FetchFuture<'a, Vec<Result<Version, FetchError>>> {
        Box::pin(async {
            self.batches.lock().unwrap().push(keys.len());
            self.clock.sleep(LATENCY).await;
            match self.batch_fails {
                Some(kind) => Err(error(kind)),
                None => Ok(keys.iter().map(|key| self.answer(key)).collect()),
            }
        })
    }
}

fn error(kind: FetchErrorKind) -> FetchError {
    FetchError::new(kind, kind.label(), "scripted")
}

fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-AbC123")
}

fn version(name: &str, n: u32, key: &Key) -> Version {
    let labels = key.selector.stage().into_iter().map(Into::into).collect();
    Version {
        arn: arn(name).into(),
        name: name.into(),
        id: format!("v{n}").into(),
        labels,
        created: Some(SystemTime::UNIX_EPOCH + n * SECOND),
        content: Content::Text(SecretValue::from(format!("value {n}"))),
    }
}

/// A cache over a scripted source.
struct Bench {
    cache: Cache,
    source: Arc<Scripted>,
    clock: Arc<VirtualClock>,
    metrics: Arc<Metrics>,
}

/// What differs from one test to the next.
struct Setup {
    policy: Policy,
    rules: Vec<Rule>,
    listed: Vec<&'static str>,
    allow: Vec<&'static str>,
    batch_fails: Option<FetchErrorKind>,
    is_snapshot: bool,
    is_strict: bool,
    entries_max: usize,
    bytes_max: usize,
    calls_max: usize,
}

impl Default for Setup {
    fn default() -> Self {
        let policy = Policy { ttl: 100 * SECOND, ..Policy::default() };
        Self {
            policy,
            rules: Vec::new(),
            listed: Vec::new(),
            allow: Vec::new(),
            batch_fails: None,
            is_snapshot: false,
            is_strict: false,
            entries_max: 100,
            bytes_max: usize::MAX,
            calls_max: flight::FLIGHTS_MAX,
        }
    }
}

impl Setup {
    fn build(self) -> Bench {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Arc::new(VirtualClock::starting_at(wall));
        let source = Arc::new(Scripted {
            clock: clock.clone(),
            answers: Mutex::default(),
            calls: Mutex::default(),
            aloft: Mutex::default(),
            batches: Mutex::default(),
            batch_fails: self.batch_fails,
        });
        let metrics = Arc::new(Metrics::new());
        let config = Config {
            policies: Policies::new(self.policy, self.rules),
            reader_wait: 5 * SECOND,
            entries_max: self.entries_max,
            bytes_max: self.bytes_max,
            calls_max: self.calls_max,
            listed: self.listed.into_iter().map(key).collect(),
            scope: Scope::new(self.allow).unwrap(),
            conventions: Arc::new(Conventions::built_in()),
            is_strict: self.is_strict,
            is_snapshot: self.is_snapshot,
            seed: Some(7),
        };
        let home = Home { region: "eu-north-1".into(), account: None };
        let cache = Cache::new(
            config,
            home,
            source.clone(),
            clock.clone(),
            metrics.clone(),
            TaskTracker::new(),
            CancellationToken::new(),
        );
        Bench { cache, source, clock, metrics }
    }
}

impl Bench {
    async fn prefetch(&self, mode: prefetch::Mode, deadline: Duration) -> prefetch::Report {
        prefetch::begin(&self.cache, mode).await.settle(&self.cache, deadline).await
    }

    fn script(&self, name: &str, answer: Answer) {
        self.source.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    fn calls(&self) -> usize {
        self.source.calls.lock().unwrap().len()
    }

    async fn pass(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    /// Reads a name and returns the version's id with how it was served, or the error's kind.
    async fn read(&self, name: &'static str) -> Result<(String, How), String> {
        outcome(self.cache.read(key(name)).await)
    }

    async fn read_now(&self, name: &'static str) -> Result<(String, How), String> {
        outcome(self.cache.read_now(key(name)).await)
    }
}

fn outcome(read: Result<Served, ReadError>) -> Result<(String, How), String> {
    match read {
        Ok(served) => Ok((served.entry.version.id.to_string(), served.how)),
        Err(ReadError::Upstream(error)) => Err(error.kind.label().to_owned()),
        Err(ReadError::WaitOver(_)) => Err("wait over".to_owned()),
        Err(ReadError::OutOfScope) => Err("out of scope".to_owned()),
    }
}

fn ok(id: &str, how: How) -> Result<(String, How), String> {
    Ok((id.to_owned(), how))
}

fn failed(kind: &str) -> Result<(String, How), String> {
    Err(kind.to_owned())
}

fn key(id: &str) -> Key {
    Key { id: SecretId::parse(id).unwrap(), selector: Selector::current() }
}

#[tokio::test(start_paused = true)]
async fn readers_of_one_cold_secret_share_one_call() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    let readers = (0..64).map(|_| {
        let cache = bench.cache.clone();
        tokio::spawn(async move { outcome(cache.read(key("app")).await) })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap(), ok("v1", How::Miss));
    }
    assert_eq!(bench.calls(), 1);
    assert_eq!(bench.metrics.flights_joined.get(), 63);
    assert_eq!(outcome(bench.cache.read(key(&arn("app"))).await), ok("v1", How::Hit));
    assert_eq!(bench.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_by_name_and_one_by_arn_share_the_flight_once_the_name_leads_there() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    assert_eq!(bench.read("app").await, ok("v1", How::Miss));
    bench.pass(4000 * SECOND).await;
    bench.script("app", Answer::Version(2));
    let by_arn = key(&arn("app"));
    let (name, arn) = tokio::join!(bench.read("app"), bench.cache.read(by_arn));
    assert_eq!((name, outcome(arn)), (ok("v2", How::Miss), ok("v2", How::Miss)));
    assert_eq!(bench.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_due_entry_is_served_while_one_refresh_runs_behind() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    bench.pass(91 * SECOND).await;
    bench.script("app", Answer::Version(2));
    for _ in 0..10 {
        assert_eq!(bench.read("app").await, ok("v1", How::Hit));
    }
    bench.pass(LATENCY + SECOND).await;
    assert_eq!(bench.read("app").await, ok("v2", How::Hit));
    assert_eq!(bench.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_listed_secret_that_is_read_is_refreshed_by_timers_and_others_are_left_alone() {
    let bench = Setup { listed: vec!["busy", "idle"], ..Setup::default() }.build();
    bench.script("busy", Answer::Version(1));
    bench.script("idle", Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    assert_eq!(bench.calls(), 2);
    for _ in 0..1000 {
        assert_eq!(bench.read("busy").await, ok("v1", How::Hit), "a reader never waits");
        bench.pass(SECOND).await;
    }
    let calls = bench.source.calls.lock().unwrap().clone();
    assert_eq!(calls.iter().filter(|id| **id == "idle").count(), 1);
    let busy = calls.iter().filter(|id| **id == "busy").count();
    assert!((11..=15).contains(&busy), "one call per 70 to 90 s, not {busy} in 1,000 s");
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_leaves_the_old_value_in_place_until_its_bound() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    bench.pass(101 * SECOND).await;
    bench.script("app", Answer::Fail(FetchErrorKind::Throttled));
    let stale = ok("v1", How::Stale(Reason::Failing));
    assert_eq!(bench.read("app").await, stale, "the first reader waits for the failure");
    let before = bench.clock.now();
    assert_eq!(bench.read("app").await, stale);
    assert_eq!(bench.clock.now(), before, "the second one does not");
    bench.pass(3700 * SECOND).await;
    assert_eq!(bench.read("app").await, failed("throttled"));
    bench.script("app", Answer::Version(2));
    bench.pass(freshness::BACK_OFF_MAX).await;
    assert_eq!(bench.read("app").await, ok("v2", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_upstream_counts_as_a_failure_for_whoever_waited() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    bench.pass(101 * SECOND).await;
    bench.script("app", Answer::Hang);
    assert_eq!(bench.read("app").await, ok("v1", How::Stale(Reason::Failing)));
    bench.script("cold", Answer::Hang);
    assert_eq!(bench.read("cold").await, failed("wait over"));
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_no_reader_waits() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.script("app", Answer::TimeOut);
    bench.pass(101 * SECOND).await;
    let stale = ok("v1", How::Stale(Reason::Failing));
    for _ in 0..3000 {
        let before = bench.clock.now();
        assert_eq!(bench.read("app").await, stale);
        assert_eq!(bench.clock.now(), before, "though an attempt may be under way");
        bench.pass(SECOND).await;
    }
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn readers_of_what_may_not_be_served_any_more_find_out_soon_that_it_can() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.script("app", Answer::Fail(FetchErrorKind::Connection));
    bench.pass(4000 * SECOND).await;
    for _ in 0..100 {
        assert_eq!(bench.read("app").await, failed("connection"));
        bench.pass(SECOND).await;
    }
    bench.script("app", Answer::Version(2));
    bench.pass(freshness::EMPTY_BACK_OFF_MAX).await;
    assert_eq!(bench.read("app").await.map(|(id, _)| id), Ok("v2".to_owned()));
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_costs_nothing_once_nobody_asks() {
    let bench = Setup { listed: vec!["listed"], ..Setup::default() }.build();
    for name in ["listed", "read"] {
        bench.script(name, Answer::Version(1));
        bench.read(name).await.unwrap();
        bench.script(name, Answer::Fail(FetchErrorKind::Denied));
    }
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.pass(300 * SECOND).await;
    let calls = || bench.source.calls.lock().unwrap().clone();
    let before = calls().len();
    bench.pass(600 * SECOND).await;
    let later = &calls()[before..];
    assert!(later.len() > 10 && later.iter().all(|name| name == "listed"), "{later:?}");
    bench.script("read", Answer::Version(2));
    assert_eq!(bench.read("read").await, ok("v2", How::Miss));
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_value_after_its_grace_also_within_the_ttl() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    bench.script("app", Answer::Fail(FetchErrorKind::Denied));
    bench.pass(2 * SECOND).await;
    assert_eq!(bench.read_now("app").await, failed("denied"));
    assert_eq!(bench.read("app").await, ok("v1", How::Stale(Reason::Refused)));
    bench.pass(60 * SECOND).await;
    assert_eq!(bench.read("app").await, failed("denied"));
    bench.script("app", Answer::Version(2));
    bench.pass(freshness::BACK_OFF_MAX).await;
    assert_eq!(bench.read("app").await, ok("v2", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_readers_of_a_missing_secret_makes_one_call_in_seconds() {
    let bench = Setup::default().build();
    for _ in 0..50 {
        assert_eq!(bench.read("missing").await, failed("not_found"));
    }
    assert_eq!(bench.calls(), 1);
    for calls in 2..12 {
        bench.pass(freshness::REFUSAL_MEMORY).await;
        assert_eq!(bench.read("missing").await, failed("not_found"));
        assert_eq!(bench.calls(), calls);
    }
    bench.script("missing", Answer::Version(1));
    bench.pass(freshness::REFUSAL_MEMORY).await;
    assert_eq!(bench.read("missing").await, ok("v1", How::Miss), "a grant shows in seconds");
}

#[tokio::test(start_paused = true)]
async fn refresh_now_goes_upstream_once_a_second() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    assert_eq!(bench.read_now("app").await, ok("v1", How::Refreshed));
    bench.script("app", Answer::Version(2));
    assert_eq!(bench.read_now("app").await, ok("v1", How::RefreshLimited));
    bench.pass(SECOND).await;
    assert_eq!(bench.read_now("app").await, ok("v2", How::Refreshed));
    bench.script("app", Answer::Fail(FetchErrorKind::Service));
    bench.pass(SECOND).await;
    assert_eq!(bench.read_now("app").await, failed("service"));
    assert_eq!(bench.read_now("app").await, failed("service"));
    assert_eq!(bench.calls(), 3, "in an outage too");
    assert_eq!(bench.read("app").await, ok("v2", How::Hit), "what is held stays");
}

#[tokio::test(start_paused = true)]
async fn a_ttl_of_zero_caches_nothing_but_shares_flights() {
    let policy = Policy { ttl: Duration::ZERO, ..Policy::default() };
    let bench = Setup { policy, ..Setup::default() }.build();
    bench.script("app", Answer::Version(1));
    let (one, two) = tokio::join!(bench.read("app"), bench.read("app"));
    assert_eq!((one, two), (ok("v1", How::Miss), ok("v1", How::Miss)));
    assert_eq!(bench.calls(), 1);
    assert_eq!(bench.read("app").await, ok("v1", How::Miss));
    assert_eq!(bench.calls(), 2);
    assert_eq!(bench.cache.snapshot().entries().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_a_listed_secret_is_missed_only_while_it_fails() {
    let policy = Policy { ttl: Duration::ZERO, ..Policy::default() };
    let bench = Setup { policy, listed: vec!["app"], ..Setup::default() }.build();
    let report = bench.prefetch(prefetch::Mode::Get, SECOND).await;
    assert_eq!(report.missing.len(), 1);
    bench.script("app", Answer::Version(1));
    bench.pass(freshness::REFUSAL_MEMORY).await;
    assert_eq!(bench.read("app").await, ok("v1", How::Miss));
    assert!(bench.cache.missing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_scope_is_refused_without_a_call() {
    let bench = Setup { allow: vec!["app/*"], ..Setup::default() }.build();
    bench.script("app/db", Answer::Version(1));
    bench.script("other", Answer::Version(1));
    assert_eq!(bench.read("other").await, failed("out of scope"));
    assert_eq!(bench.read_now("other").await, failed("out of scope"));
    assert_eq!(bench.calls(), 0);
    assert_eq!(bench.read("app/db").await, ok("v1", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn an_unset_clock_makes_nothing_fresh() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    bench.script("app", Answer::Version(2));
    bench.clock.step_back(3600 * SECOND);
    assert_eq!(bench.read("app").await, ok("v2", How::Miss));
    bench.clock.step_forward(24 * 3600 * SECOND);
    bench.script("app", Answer::Version(3));
    assert_eq!(bench.read("app").await, ok("v3", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_its_flight_and_nothing_else() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Panic);
    assert_eq!(bench.read("app").await, failed("internal"));
    bench.script("app", Answer::Version(1));
    assert_eq!(bench.read("app").await, ok("v1", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_prefetch_that_fails_whole_is_made_up_for_by_timers() {
    let bench = Setup { listed: vec!["a", "b"], ..Setup::default() }.build();
    bench.script("a", Answer::Fail(FetchErrorKind::Connection));
    bench.script("b", Answer::Fail(FetchErrorKind::Denied));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    let report = bench.prefetch(prefetch::Mode::Get, SECOND).await;
    assert!(report.is_settled);
    assert_eq!(report.missing.len(), 2);
    bench.script("a", Answer::Version(1));
    bench.script("b", Answer::Version(1));
    bench.pass(2 * freshness::BACK_OFF_MAX).await;
    assert!(bench.cache.missing().is_empty());
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_at_once_are_bounded() {
    let names: Vec<&'static str> =
        (0..100).map(|n| &*Box::leak(format!("s{n}").into_boxed_str())).collect();
    for (calls_max, rounds) in [(flight::FLIGHTS_MAX, 4), (50, 4), (25, 4), (3, 34)] {
        let bench = Setup { listed: names.clone(), calls_max, ..Setup::default() }.build();
        for name in &names {
            bench.script(name, Answer::Version(1));
        }
        let report = bench.prefetch(prefetch::Mode::Get, 100 * SECOND).await;
        assert_eq!(report.took, LATENCY * rounds, "100 calls, {calls_max} at a time");
        let most = calls_max.min(flight::FLIGHTS_MAX);
        assert_eq!(bench.source.aloft.lock().unwrap().1, most);
    }
}

#[tokio::test(start_paused = true)]
async fn beside_an_entry_are_those_of_its_secret_that_may_be_served() {
    for (ttl, expected) in [(100 * SECOND, ["v2", "v1"].as_slice()), (Duration::ZERO, &["v1"])] {
        let bench = Setup { policy: Policy { ttl, ..Policy::default() }, ..Setup::default() };
        let bench = bench.build();
        let previous = Selector::new(Some("AWSPREVIOUS"), None);
        bench.script("app", Answer::Version(2));
        bench.cache.read(Key { selector: previous, ..key("app") }).await.unwrap();
        bench.script("app", Answer::Version(1));
        let read = bench.cache.read(key("app")).await.unwrap();
        bench.script("other", Answer::Version(3));
        bench.read("other").await.unwrap();
        let beside = |entry| {
            let beside = bench.cache.beside(entry);
            beside.iter().map(|own| own.version.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(beside(&read.entry), expected);
        bench.pass(101 * SECOND).await;
        let read = bench.cache.read(key("app")).await.unwrap();
        assert_eq!(beside(&read.entry), ["v1"], "the other one is too old");
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefetch_waits_no_longer_than_its_deadline() {
    let bench = Setup { listed: vec!["a"], ..Setup::default() }.build();
    bench.script("a", Answer::Hang);
    let report = bench.prefetch(prefetch::Mode::Get, 3 * SECOND).await;
    assert_eq!((report.is_settled, report.took, report.missing.len()), (false, 3 * SECOND, 1));
}

/// Prefetches `names` by `mode` and returns the sizes of the batches and the number of calls.
async fn prefetched(
    mode: prefetch::Mode,
    names: &[&'static str],
    batch_fails: Option<FetchErrorKind>,
) -> (Vec<usize>, usize) {
    let bench = Setup { listed: names.to_vec(), batch_fails, ..Setup::default() }.build();
    for name in names {
        bench.script(name, Answer::Version(1));
    }
    let report = bench.prefetch(mode, 3 * SECOND).await;
    assert!(report.is_settled && report.missing.is_empty(), "{report:?}");
    let batches = bench.source.batches.lock().unwrap().clone();
    (batches, bench.calls())
}

#[tokio::test(start_paused = true)]
async fn batches_fall_back_to_single_calls() {
    use prefetch::Mode::{Auto, Batch, Get};
    let names: Vec<&'static str> =
        (0..45).map(|n| &*Box::leak(format!("s{n}").into_boxed_str())).collect();
    let denied = Some(FetchErrorKind::Denied);
    assert_eq!(prefetched(Get, &names, None).await, (vec![], 45));
    assert_eq!(prefetched(Batch, &names, None).await, (vec![20, 20, 5], 0));
    assert_eq!(prefetched(Batch, &names, denied).await, (vec![20, 20, 5], 45));
    assert_eq!(prefetched(Auto, &names, None).await, (vec![20, 20, 5], 0));
    assert_eq!(prefetched(Auto, &names, denied).await, (vec![20], 45), "for good");
    assert_eq!(prefetched(Auto, &names[..5], None).await, (vec![], 5), "it would not pay");
}

#[tokio::test(start_paused = true)]
async fn a_busy_secret_never_waits_never_goes_back_and_is_never_old() {
    const TTL: Duration = Duration::from_secs(10);
    const ROTATION: Duration = Duration::from_secs(3);
    let policy = Policy { ttl: TTL, ..Policy::default() };
    let bench = Setup { policy, listed: vec!["busy"], ..Setup::default() }.build();
    bench.script("busy", Answer::Version(0));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    let started = bench.clock.now();
    let since = |then: Moment| bench.clock.now().since(then).unwrap();
    let (mut rotations, mut newest) = (vec![started], 0);
    while since(started) < 12 * TTL {
        if since(*rotations.last().unwrap()) >= ROTATION {
            bench.script("busy", Answer::Version(u32::try_from(rotations.len()).unwrap()));
            rotations.push(bench.clock.now());
        }
        let before = bench.clock.now();
        let (id, how) = bench.read("busy").await.unwrap();
        assert_eq!((how, bench.clock.now()), (How::Hit, before), "no reader waits");
        let version: usize = id[1..].parse().unwrap();
        assert!(version >= newest, "v{version} after v{newest}");
        newest = version;
        if let Some(replaced) = rotations.get(version + 1) {
            assert!(
                since(*replaced) <= TTL,
                "v{version} {:?} after it was replaced",
                since(*replaced)
            );
        }
        bench.pass(Duration::from_millis(1)).await;
    }
    // One call for each 0.7 TTL at the most, and the prefetch.
    assert!(bench.calls() <= 12 * 10 / 7 + 2, "{} calls", bench.calls());
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_does_not_undo_a_rotation() {
    let bench = Setup { listed: vec!["app"], ..Setup::default() }.build();
    bench.script("app", Answer::Version(2));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    assert_eq!(bench.read("app").await, ok("v2", How::Miss));
    bench.script("app", Answer::Version(1));
    while bench.calls() < 2 {
        bench.pass(LATENCY).await;
    }
    bench.pass(2 * LATENCY).await;
    assert_eq!(bench.read("app").await, ok("v2", How::Hit));
    bench.script("app", Answer::Version(2));
    assert_eq!(bench.calls(), 2, "the answer is held back for a second");
    bench.pass(2 * SECOND).await;
    assert_eq!(bench.read("app").await, ok("v2", How::Hit));
    assert_eq!(bench.calls(), 3, "and asked for again then");
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn a_label_that_was_moved_back_shows_after_a_second_answer() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(2));
    bench.read("app").await.unwrap();
    bench.script("app", Answer::Version(1));
    bench.pass(2 * SECOND).await;
    assert_eq!(bench.read_now("app").await, ok("v2", How::Refreshed), "held back");
    bench.pass(2 * SECOND).await;
    assert_eq!(bench.read_now("app").await, ok("v1", How::Refreshed));
    assert_eq!(bench.read("app").await, ok("v1", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn past_its_ttl_a_value_is_served_stale_until_a_second_answer_agrees() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(2));
    bench.read("app").await.unwrap();
    bench.script("app", Answer::Version(1));
    bench.pass(101 * SECOND).await;
    assert_eq!(bench.read("app").await, ok("v2", How::Stale(Reason::Failing)));
    bench.pass(SECOND).await;
    assert_eq!(bench.read("app").await, ok("v2", How::Stale(Reason::Failing)), "and asks again");
    bench.pass(2 * LATENCY).await;
    assert_eq!(bench.read("app").await, ok("v1", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_else_may_be_served_an_older_answer_is() {
    let policy = Policy { ttl: 100 * SECOND, stale_if_error: Duration::ZERO, ..Policy::default() };
    let bench = Setup { policy, ..Setup::default() }.build();
    bench.script("app", Answer::Version(2));
    bench.read("app").await.unwrap();
    bench.script("app", Answer::Version(1));
    bench.pass(101 * SECOND).await;
    assert_eq!(bench.read("app").await, ok("v1", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_freeze_cut_is_made_once_more_and_fails_nobody() {
    for answer in [Answer::Version(1), Answer::Fail(FetchErrorKind::Timeout)] {
        let bench = Setup { listed: vec!["app"], ..Setup::default() }.build();
        bench.script("app", answer);
        let cache = bench.cache.clone();
        let cut = tokio::spawn(async move { outcome(cache.read(key("app")).await) });
        bench.pass(LATENCY / 2).await;
        tokio::time::advance(Duration::from_secs(3600)).await;
        bench.script("app", Answer::Version(2));
        // The first call answers from before the freeze; only the second one counts.
        let thawed = bench.cache.read(key("app")).await.unwrap();
        assert_eq!((&*thawed.entry.version.id, thawed.age), ("v2", LATENCY));
        assert_eq!(cut.await.unwrap(), ok("v2", How::Miss), "the reader from before is served too");
        assert_eq!(bench.calls(), 2);
        let metrics = bench.metrics.render();
        let count = |outcome: &str, n: u32| {
            let series = "sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=";
            let line = format!("{series}\"{outcome}\"}} {n}");
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        };
        count("cut", 1);
        count("ok", 1);
        count("timeout", 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_again_is_made_again_up_to_a_bound() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    // Whoever reads goes away in the freeze; the call goes on.
    let read = async || {
        let cache = bench.cache.clone();
        drop(tokio::spawn(async move { cache.read(key("app")).await }));
        bench.pass(LATENCY / 2).await;
    };
    let freeze = async || {
        tokio::time::advance(Duration::from_secs(3600)).await;
        bench.pass(LATENCY / 2).await;
    };
    read().await;
    for _ in 0..cut::CUTS_MAX {
        freeze().await;
    }
    let served = bench.cache.read(key("app")).await.unwrap();
    assert!(served.age <= LATENCY, "nobody gets what a freeze was long: {:?}", served.age);
    assert_eq!(bench.calls(), 1 + cut::CUTS_MAX);
    bench.pass(200 * SECOND).await;
    read().await;
    for _ in 0..=cut::CUTS_MAX {
        freeze().await;
    }
    assert_eq!(bench.calls(), 2 * (1 + cut::CUTS_MAX), "it is a failure then");
    let served = bench.cache.read(key("app")).await;
    assert!(served.is_err(), "and what is held is from hours ago: {served:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_thaw_only_what_was_read_is_fetched() {
    let bench = Setup { listed: vec!["read", "unread"], ..Setup::default() }.build();
    bench.script("read", Answer::Version(1));
    bench.script("unread", Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    bench.read("read").await.unwrap();
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    bench.pass(SECOND).await;
    let calls = bench.source.calls.lock().unwrap().clone();
    assert_eq!(calls[2..], ["read"], "no backlog of missed refreshes, and none for the unread");
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_from_before_a_restore_is_served_as_fresh() {
    let setup = Setup { listed: vec!["read", "unread"], is_snapshot: true, ..Setup::default() };
    let bench = setup.build();
    bench.script("read", Answer::Version(1));
    bench.script("unread", Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    bench.read("read").await.unwrap();

    // The hook: within the TTL, and with clocks that tell nothing.
    bench.script("read", Answer::Version(2));
    bench.script("unread", Answer::Version(2));
    bench.cache.restored();
    assert_eq!(bench.read("read").await, ok("v2", How::Miss));
    assert_eq!(bench.read("unread").await, ok("v2", How::Miss));

    // Without it: the wall clock knows of the time in between, the steady one does not.
    bench.script("read", Answer::Version(3));
    bench.clock.step_forward(5 * SECOND);
    assert_eq!(bench.read("read").await, ok("v3", How::Miss));

    // Upstream fails after the restore: what is held is served, marked stale, within its bound.
    bench.script("read", Answer::Fail(FetchErrorKind::Connection));
    bench.cache.restored();
    assert_eq!(bench.read("read").await, ok("v3", How::Stale(Reason::Failing)));
    loops.abort();
}

/// Nobody but the clocks tells of most restores: failures of another environment count no more than
/// after a word of it.
#[tokio::test(start_paused = true)]
async fn a_restore_that_the_clocks_tell_of_forgets_failures_too() {
    let bench = Setup { is_snapshot: true, ..Setup::default() }.build();
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    assert_eq!(bench.read("missing").await, failed("not_found"));
    bench.script("missing", Answer::Version(1));
    bench.clock.step_forward(2 * SECOND);
    assert_eq!(bench.read("app").await, ok("v1", How::Miss));
    assert_eq!(bench.read("missing").await, ok("v1", How::Miss));
}

/// Secrets that are read together for the first time do not push each other out for the sake of older
/// ones.
#[tokio::test(start_paused = true)]
async fn a_burst_of_new_secrets_pushes_out_the_old_ones() {
    let names: Vec<&'static str> =
        (0..40).map(|n| &*Box::leak(format!("s{n}").into_boxed_str())).collect();
    let bench = Setup { entries_max: 20, ..Setup::default() }.build();
    for name in &names {
        bench.script(name, Answer::Version(1));
    }
    for half in [&names[..20], &names[20..]] {
        let mut reads = JoinSet::new();
        for &name in half {
            let cache = bench.cache.clone();
            reads.spawn(async move { outcome(cache.read(key(name)).await) });
        }
        assert!(reads.join_all().await.into_iter().all(|read| read == ok("v1", How::Miss)));
        bench.pass(SECOND).await;
    }
    for name in &names[20..] {
        assert_eq!(bench.read(name).await, ok("v1", How::Hit), "{name}");
    }
}

/// A reader who asks for a form that was not rendered yet makes an entry grow: others give way then.
#[tokio::test(start_paused = true)]
async fn an_entry_that_grows_evicts_others() {
    let bench = Setup { bytes_max: 100, ..Setup::default() }.build();
    let refreshing = tokio::spawn(refresh::run(bench.cache.clone()));
    for name in ["old", "app"] {
        bench.script(name, Answer::Version(1));
        bench.read(name).await.unwrap();
        bench.pass(SECOND).await;
    }
    assert_eq!(bench.cache.snapshot().entries().count(), 2);
    let served = bench.cache.read(key("app")).await.unwrap();
    served.entry.answer(Form::AwsApi, |_| SecretValue::from("x".repeat(100)));
    bench.pass(SECOND).await;
    assert_eq!(bench.cache.snapshot().entries().count(), 0, "the form alone is too large");
    assert!(bench.metrics.render().contains("sidekey_evictions_total 2"));
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn where_the_steady_clock_begins_anew_nothing_old_is_kept() {
    let bench = Setup { is_snapshot: true, ..Setup::default() }.build();
    bench.pass(5000 * SECOND).await;
    bench.script("app", Answer::Version(1));
    bench.read("app").await.unwrap();
    bench.clock.restart_steady();
    for (version, id) in [(2, "v2"), (3, "v3")] {
        bench.script("app", Answer::Version(version));
        assert_eq!(bench.read("app").await, ok(id, How::Miss));
        assert_eq!(bench.read("app").await, ok(id, How::Hit));
        bench.pass(101 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_what_was_read_is_fetched_without_a_reader() {
    let bench = Setup { listed: vec!["read", "unread"], ..Setup::default() }.build();
    bench.script("read", Answer::Version(1));
    bench.script("unread", Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    bench.read("read").await.unwrap();
    bench.cache.restored();
    bench.pass(2 * LATENCY).await;
    assert_eq!(bench.source.calls.lock().unwrap()[2..], ["read"]);
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_taken_away_takes_no_other_read_along() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Labelled(1, &["AWSCURRENT", "BLUE"]));
    let blue = Key { selector: Selector::new(Some("BLUE"), None), ..key("app") };
    assert_eq!(outcome(bench.cache.read(blue.clone()).await), ok("v1", How::Miss));
    assert_eq!(bench.read("app").await, ok("v1", How::Hit), "it carries AWSCURRENT too");

    bench.script("app", Answer::Labelled(2, &["AWSCURRENT"]));
    bench.pass(101 * SECOND).await;
    assert_eq!(
        bench.read("app").await,
        ok("v2", How::Miss),
        "the label BLUE is gone, and only that"
    );
    let stale = ok("v1", How::Stale(Reason::Refused));
    assert_eq!(outcome(bench.cache.read(blue.clone()).await), stale, "its own grace lasts");
    bench.pass(61 * SECOND).await;
    assert_eq!(outcome(bench.cache.read(blue).await), failed("not_found"));
    assert_eq!(bench.read("app").await, ok("v2", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_taken_away_fails_no_refresh_of_another_read() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Labelled(1, &["AWSCURRENT", "BLUE"]));
    let blue = Key { selector: Selector::new(Some("BLUE"), None), ..key("app") };
    bench.cache.read(blue).await.unwrap();
    bench.script("app", Answer::Labelled(2, &["AWSCURRENT"]));
    bench.pass(2 * SECOND).await;
    assert_eq!(bench.read_now("app").await, ok("v2", How::Refreshed));
}

#[tokio::test(start_paused = true)]
async fn what_borrows_an_entry_shares_its_grace() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Labelled(1, &["AWSCURRENT"]));
    let version = Key { selector: Selector::new(None, Some("v1")), ..key("app") };
    bench.read("app").await.unwrap();
    bench.script("app", Answer::Fail(FetchErrorKind::Denied));
    bench.pass(2 * SECOND).await;
    assert_eq!(bench.read_now("app").await, failed("denied"));
    let stale = ok("v1", How::Stale(Reason::Refused));
    for _ in 0..10 {
        assert_eq!(outcome(bench.cache.read(version.clone()).await), stale);
    }
    assert_eq!(bench.calls(), 3, "one of its own");
    bench.pass(60 * SECOND).await;
    assert_eq!(outcome(bench.cache.read(version).await), failed("denied"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_does_not_take_the_place_of_a_newer_one() {
    let bench = Setup::default().build();
    let by_name = key("app");
    let by_arn = key(&arn("app"));
    let early = bench.cache.sending();
    bench.pass(SECOND).await;
    let late = bench.cache.sending();
    bench.cache.settle(&by_name, late, Ok(version("app", 2, &by_name))).unwrap();
    // Without a date it is the order of the calls that tells.
    let undated = Version { created: None, ..version("app", 1, &by_arn) };
    let held = bench.cache.snapshot().entry("app", &Selector::current()).unwrap().clone();
    assert!(held.claim_refresh());
    let slow = bench.cache.settle(&by_arn, early, Ok(undated)).unwrap();
    assert_eq!(&*slow.version.id, "v2", "whoever waited for it gets the newer one");
    assert!(held.claim_refresh(), "the next reader may ask for a refresh again");
    assert_eq!(bench.read("app").await, ok("v2", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn a_listed_secret_whose_flight_panicked_is_made_up_for() {
    let bench = Setup { listed: vec!["app"], ..Setup::default() }.build();
    bench.script("app", Answer::Panic);
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    bench.script("app", Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.pass(2 * freshness::BACK_OFF_MAX).await;
    assert!(bench.cache.missing().is_empty());
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_sent_before_a_restore_is_made_again() {
    let bench = Setup::default().build();
    bench.script("app", Answer::Version(1));
    let cache = bench.cache.clone();
    let early = tokio::spawn(async move { outcome(cache.read(key("app")).await) });
    bench.pass(LATENCY / 2).await;
    bench.cache.restored();
    bench.pass(LATENCY).await;
    bench.script("app", Answer::Version(2));
    assert_eq!(early.await.unwrap(), ok("v2", How::Miss));
    assert_eq!(bench.calls(), 2);
}

/// A rule for one pattern.
fn rule(pattern: &str) -> Rule {
    Rule { secrets: Scope::new([pattern]).unwrap(), ..Rule::default() }
}

#[tokio::test(start_paused = true)]
async fn each_secret_ages_by_its_own_policy_whichever_id_it_is_read_by() {
    let (ttl, denied_grace) = (Some(10 * SECOND), Some(Duration::ZERO));
    let rules = vec![Rule { ttl, denied_grace, ..rule("short/*") }];
    let bench = Setup { rules, ..Setup::default() }.build();
    for name in ["short/app", "long/app"] {
        bench.script(name, Answer::Version(1));
        bench.read(name).await.unwrap();
        bench.script(name, Answer::Version(2));
    }
    bench.pass(11 * SECOND).await;
    assert_eq!(outcome(bench.cache.read(key(&arn("short/app"))).await), ok("v2", How::Miss));
    assert_eq!(bench.read("short/app").await, ok("v2", How::Hit));
    assert_eq!(bench.read("long/app").await, ok("v1", How::Hit));

    for name in ["short/app", "long/app"] {
        bench.script(name, Answer::Fail(FetchErrorKind::Denied));
    }
    bench.pass(95 * SECOND).await;
    assert_eq!(bench.read("short/app").await, failed("denied"));
    assert_eq!(bench.read("long/app").await, ok("v1", How::Stale(Reason::Refused)));
}

#[tokio::test(start_paused = true)]
async fn one_secret_can_be_without_a_cache() {
    let rules = vec![Rule { ttl: Some(Duration::ZERO), ..rule("live") }];
    let listed = vec!["live", "other"];
    let bench = Setup { rules, listed, ..Setup::default() }.build();
    bench.script("live", Answer::Version(1));
    bench.script("other", Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    assert!(bench.cache.missing().is_empty());
    bench.pass(60 * SECOND).await;
    assert_eq!(bench.calls(), 2, "nothing is fetched ahead that is not held");
    for _ in 0..3 {
        assert_eq!(bench.read("live").await, ok("v1", How::Miss));
    }
    assert_eq!(bench.read("other").await, ok("v1", How::Hit));
    assert_eq!((bench.calls(), bench.cache.snapshot().entries().count()), (5, 1));
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_only_the_answer_tells_is_no_loop_of_calls() {
    // By its name alone it cannot be told that the rule, whose pattern is an ARN, is for it.
    let rules = vec![Rule { ttl: Some(Duration::ZERO), ..rule(&arn("live")) }];
    let bench = Setup { rules, listed: vec!["live"], ..Setup::default() }.build();
    bench.script("live", Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    assert!(bench.cache.missing().is_empty());
    bench.pass(60 * SECOND).await;
    assert_eq!(bench.calls(), 1);
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_held_from_before_the_account_was_known_gives_way_to_its_policy() {
    let rules = vec![Rule { ttl: Some(Duration::ZERO), ..rule("live") }];
    let bench = Setup { rules, ..Setup::default() }.build();
    bench.script("live", Answer::Version(1));
    bench.script("other", Answer::Version(1));
    let by_arn = || bench.cache.read(key(&arn("live")));
    assert_eq!(outcome(by_arn().await), ok("v1", How::Miss));
    assert_eq!(outcome(by_arn().await), ok("v1", How::Hit), "whose account is not known yet");
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.read("other").await.unwrap();
    bench.pass(95 * SECOND).await;
    let calls = bench.source.calls.lock().unwrap().iter().filter(|id| **id != "other").count();
    assert_eq!(calls, 2, "it was refreshed, and is not held any more");
    assert_eq!(outcome(by_arn().await), ok("v1", How::Miss));
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_always_refreshed_is_warm_though_nobody_reads_it() {
    let rules = vec![Rule { refresh: Some(Refresh::Always), ..rule("warm") }];
    let bench = Setup { rules, listed: vec!["warm", "idle"], ..Setup::default() }.build();
    let calls = |name: &str| {
        let calls = bench.source.calls.lock().unwrap();
        calls.iter().filter(|id| **id == *name).count()
    };
    bench.script("warm", Answer::Version(1));
    bench.script("idle", Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    bench.pass(1000 * SECOND).await;
    let refreshed = calls("warm");
    assert!((12..=15).contains(&refreshed), "{refreshed} calls in 1,000 s, of 70 to 90 s each");
    assert_eq!(calls("idle"), 1);
    bench.script("warm", Answer::Version(2));
    bench.pass(95 * SECOND).await;
    assert_eq!(bench.read("warm").await, ok("v2", How::Hit));

    // In an outage it is asked for as rarely as any other.
    bench.script("warm", Answer::Fail(FetchErrorKind::Connection));
    bench.pass(100 * SECOND).await;
    let before = calls("warm");
    bench.pass(3600 * SECOND).await;
    let tries = calls("warm") - before;
    assert!((120..=480).contains(&tries), "{tries} tries in an hour, of 30 s at the most each");
    bench.script("warm", Answer::Version(3));
    bench.pass(freshness::BACK_OFF_MAX + SECOND).await;
    assert_eq!(bench.read("warm").await, ok("v3", How::Hit));
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_required_holds_up_no_start() {
    use prefetch::Mode::{Batch, Get};
    for mode in [Get, Batch] {
        let rules = vec![Rule { is_required: Some(false), ..rule("spare-*") }];
        let mut listed: Vec<&'static str> =
            (0..40).map(|n| &*Box::leak(format!("spare-{n}").into_boxed_str())).collect();
        listed.push("needed");
        let batch_fails = Some(FetchErrorKind::Denied);
        let bench =
            Setup { rules, listed: listed.clone(), batch_fails, ..Setup::default() }.build();
        for name in &listed {
            bench.script(name, Answer::Hang);
        }
        bench.script("needed", Answer::Version(1));
        let report = bench.prefetch(mode, 3 * SECOND).await;
        let took = if mode == Batch { 2 * LATENCY } else { LATENCY };
        assert_eq!((report.is_settled, report.took, report.missing.len()), (true, took, 40));
        assert!(report.missing.iter().all(|missing| !missing.is_required));
        assert!(bench.cache.missing_required().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn whether_an_arn_is_required_shows_once_the_account_is_known() {
    let rules = vec![Rule { is_required: Some(false), ..rule("spare") }];
    let listed = vec![&*Box::leak(arn("spare").into_boxed_str())];
    let bench = Setup { rules, listed, ..Setup::default() }.build();
    assert_eq!(bench.cache.missing_required().len(), 1);
    bench.cache.learn_account("123456789012");
    assert_eq!((bench.cache.missing_required().len(), bench.cache.missing().len()), (0, 1));
}

/// A secret whose name has a convention. The values of [`Answer::Version`] are not as that says.
const CONVENTIONAL: &str = "openai-api-key/sms";

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_version_is_found_once_and_kept_as_long_as_that_is_held() {
    let bench = Setup::default().build();
    let malformed =
        async || bench.cache.read(key(CONVENTIONAL)).await.unwrap().entry.malformed.clone();
    bench.script(CONVENTIONAL, Answer::Version(1));
    let first = malformed().await.expect("it is not JSON");
    assert_eq!((first.kind(), first.is_withheld), ("openai-api-key", false));
    bench.pass(101 * SECOND).await;
    let again = malformed().await.expect("it is the same version");
    assert_eq!(bench.calls(), 2, "it was fetched again");
    assert!(Arc::ptr_eq(&first, &again), "and not looked over again");
    assert_eq!(bench.cache.problems().map(|(_, count)| count), [0, 1, 0, 0, 0, 0, 0]);

    bench.script(CONVENTIONAL, Answer::Whole(2));
    bench.pass(101 * SECOND).await;
    assert_eq!(malformed().await, None);
    assert_eq!(bench.cache.problems().map(|(_, count)| count), [0; 7]);
    bench.script("other", Answer::Version(1));
    bench.read("other").await.unwrap();
    assert_eq!(bench.cache.problems().map(|(_, count)| count), [0; 7], "it has no convention");
}

#[tokio::test(start_paused = true)]
async fn what_is_withheld_is_asked_for_again_in_seconds_by_whoever_reads_it() {
    let always = Policy { ttl: 1000 * SECOND, refresh: Refresh::Always, ..Policy::default() };
    let setup = Setup { is_strict: true, policy: always, ..Setup::default() };
    let bench = Setup { listed: vec![CONVENTIONAL], ..setup }.build();
    bench.script(CONVENTIONAL, Answer::Version(1));
    let loops = tokio::spawn(refresh::run(bench.cache.clone()));
    bench.prefetch(prefetch::Mode::Get, SECOND).await;
    assert_eq!(bench.cache.missing(), [], "it is held");
    bench.pass(3600 * SECOND).await;
    assert_eq!(bench.calls(), 1, "nobody reads it, and so nobody asks for it");

    let is_withheld = || {
        let snapshot = bench.cache.snapshot();
        let entry = snapshot.entry(CONVENTIONAL, &Selector::current()).expect("it is held");
        entry.malformed.as_ref().is_some_and(|malformed| malformed.is_withheld)
    };
    for _ in 0..100 {
        bench.read(CONVENTIONAL).await.unwrap();
        assert!(is_withheld());
        bench.pass(SECOND).await;
    }
    let calls = bench.calls();
    assert!((20..=35).contains(&calls), "one call in 3.5 to 5 s, not {calls} in 100 s");

    bench.pass(100 * SECOND).await;
    bench.script(CONVENTIONAL, Answer::Whole(2));
    assert_eq!(bench.read(CONVENTIONAL).await, ok("v2", How::Miss), "the first reader has it");
    assert!(!is_withheld());
    let calls = bench.calls();
    for _ in 0..69 {
        bench.pass(10 * SECOND).await;
        assert_eq!(bench.read(CONVENTIONAL).await, ok("v2", How::Hit));
    }
    assert_eq!(bench.calls(), calls, "it ages by its own policy again");
    loops.abort();
}

#[tokio::test(start_paused = true)]
async fn while_upstream_fails_what_is_withheld_stays_so_and_backs_off() {
    let bench = Setup { is_strict: true, ..Setup::default() }.build();
    bench.script(CONVENTIONAL, Answer::Version(1));
    bench.read(CONVENTIONAL).await.unwrap();
    bench.pass(6 * SECOND).await;
    bench.script(CONVENTIONAL, Answer::Fail(FetchErrorKind::Throttled));
    let stale = ok("v1", How::Stale(Reason::Failing));
    for _ in 0..10 {
        assert_eq!(bench.read(CONVENTIONAL).await, stale);
    }
    assert_eq!(bench.calls(), 2);
}

/// Several threads publish entries while another one reads. No entry may get lost, then or later.
#[test]
fn entries_that_are_published_at_the_same_time_are_all_held() {
    const NAMES: [[&str; 3]; 3] = [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]];
    for round in 0..1_000 {
        let bench = Setup::default().build();
        let cache = &bench.cache;
        let start = Barrier::new(NAMES.len() + 1);
        let publish = &|names: [&str; 3]| {
            start.wait();
            for name in names {
                let answer = version(name, 1, &key(name));
                cache.settle(&key(name), cache.sending(), Ok(answer)).unwrap();
            }
        };
        thread::scope(|scope| {
            let writers = NAMES.map(|names| scope.spawn(move || publish(names)));
            start.wait();
            let mut held = 0;
            while !writers.iter().all(ScopedJoinHandle::is_finished) {
                let now = cache.snapshot().entries().count();
                assert!(now >= held, "round {round}: {now} entries after {held}");
                held = now;
            }
        });
        assert_eq!(cache.snapshot().entries().count(), 9, "round {round}");
    }
}
