//! A cache for tests, with a virtual clock and a fake of AWS. Each test sets how the fake answers
//! calls.

use super::flight::FLIGHTS_MAX;
use super::freshness::Policy;
use super::policies::{Policies, Rule};
use super::prefetch::{self, Mode, Report};
use super::{Cache, Config, How, ReadError, Served, Writer, discovery, open};
use crate::clock::{Clock, VirtualClock};
use crate::convention::Conventions;
use crate::secret::key::Key;
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::SecretId;
use crate::secret::role::RoleArn;
use crate::secret::scope::{Home, Scope};
use crate::secret::secret_pattern::{Search, SecretPattern};
use crate::secret::selector::Selector;
use crate::secret::service::Service;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Details, Parameter, ParameterKind, Version};
use crate::source::{
    BatchResult, FetchError, FetchErrorKind, FetchFuture, Found, FoundPage, ReplicaCall, Source,
};
use crate::telemetry::metrics::Metrics;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// How long each call to the fake of AWS takes, in virtual time.
pub(super) const LATENCY: Duration = Duration::from_millis(40);

/// The name of a secret whose value must be a JSON object with the field `ai_api_key`.
/// [`Answer::WellFormed`] contains such a value, but [`Answer::Version`] does not.
pub(super) const CONVENTIONAL: &str = "openai-api-key/sms";

/// How the fake of AWS answers a call for a secret in a test.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// The fake returns the version with this number. Version 1 has the id `v1` and the value
    /// `value 1`.
    Version(u32),
    /// The fake returns the version with this number. Its value is a JSON object with the field
    /// `ai_api_key`, as Sidekey requires for the secret [`CONVENTIONAL`].
    WellFormed(u32),
    /// The secret has one version, with this number and these staging labels. A call for another
    /// version id or label fails with `NotFound`.
    Labelled(u32, &'static [&'static str]),
    /// The secret has these versions, each with a number and staging labels. A call for another
    /// version id or label fails with `NotFound`.
    Stages(&'static [(u32, &'static [&'static str])]),
    Fail(FetchErrorKind),
    Hang,
    /// The call fails with a timeout after about 2 s.
    TimeOut,
    Panic,
}

/// A fake of AWS for tests. Each test sets how the fake answers the calls of the cache.
#[derive(Debug)]
pub(super) struct ScriptedSource {
    clock: Arc<VirtualClock>,
    answers: Mutex<HashMap<String, Answer>>,
    /// The name or ARN in each call for a single secret, in the order of the calls.
    pub(super) calls: Mutex<Vec<String>>,
    /// The number of running calls for single secrets, and the largest number so far.
    pub(super) in_flight: Mutex<(usize, usize)>,
    pub(super) batches: Mutex<Vec<usize>>,
    batch_fails: Option<FetchErrorKind>,
    /// The pattern in each call that searches for secrets, in the order of the calls.
    pub(super) searches: Mutex<Vec<String>>,
    /// The error with which each search fails. `None` means that searches succeed.
    pub(super) search_fails: Mutex<Option<FetchErrorKind>>,
    /// How the replicas in the failover region answer calls. `None` if no failover region is
    /// configured.
    replicas: Option<Mutex<HashMap<String, Answer>>>,
    /// The number of calls for replicas.
    pub(super) replica_calls: Mutex<usize>,
}

/// The number of secrets on one page of a search.
const PAGE_SIZE: usize = 2;

/// The failover region of the fake of AWS.
pub(super) const FAILOVER_REGION: &str = "eu-west-1";

impl ScriptedSource {
    /// Returns one page of the secrets that the test has defined and that match `pattern`, in the
    /// order of their names. All secrets have the tag `channel` with the value `sms`.
    fn page(&self, pattern: &SecretPattern, page: Option<&str>) -> FoundPage {
        let answers = self.answers.lock().unwrap();
        let is_match = |name: &&String| {
            let is_there = !matches!(answers[*name], Answer::Fail(FetchErrorKind::NotFound));
            is_there && pattern.matches(name, [("channel", "sms")].into_iter())
        };
        let mut names: Vec<&String> = answers.keys().filter(is_match).collect();
        names.sort();
        let skipped = page.map_or(0, |page| page.parse().unwrap());
        let next = skipped + PAGE_SIZE;
        let found = |name: &String| match (answers[name], pattern.search()) {
            (Answer::Version(n), Search::ValuesByName(_)) => {
                Found::Version(version(name, n, &key(name)))
            }
            (Answer::Fail(kind), Search::ValuesByName(_)) => {
                Found::Unreadable { name: name.as_str().into(), error: error(kind) }
            }
            _ => Found::Name(name.as_str().into()),
        };
        FoundPage {
            found: names.iter().skip(skipped).take(PAGE_SIZE).map(|name| found(name)).collect(),
            next: (next < names.len()).then(|| next.to_string().into()),
        }
    }

    fn answer(&self, key: &Key) -> Result<Version, FetchError> {
        answer_of(&self.answers, key)
    }

    /// Returns the answer of the fake of AWS after its latency. `answers` are the answers of one
    /// region.
    async fn answer_later(
        &self,
        answers: &Mutex<HashMap<String, Answer>>,
        key: &Key,
    ) -> Result<Version, FetchError> {
        self.clock.sleep(LATENCY).await;
        let scripted = answers.lock().unwrap().get(key.id.as_str()).copied();
        match scripted {
            Some(Answer::Hang) => std::future::pending().await,
            Some(Answer::TimeOut) => {
                self.clock.sleep(2 * SECOND).await;
                Err(error(FetchErrorKind::Timeout))
            }
            Some(Answer::Panic) => {
                panic!("this panic is intended: the test makes the fake of AWS panic")
            }
            _ => answer_of(answers, key),
        }
    }
}

fn answer_of(answers: &Mutex<HashMap<String, Answer>>, key: &Key) -> Result<Version, FetchError> {
    let answers = answers.lock().unwrap();
    let id = key.id.as_str();
    if let SecretId::Path(path) = &key.id {
        return path_answer(&answers, path, key);
    }
    let answer = answers.iter().find(|(name, _)| id == **name || id.contains(&format!(":{name}-")));
    let Some((name, answer)) = answer else {
        return Err(error(FetchErrorKind::NotFound));
    };
    match answer {
        Answer::Version(n) => Ok(version(name, *n, key)),
        Answer::WellFormed(n) => {
            let value = format!(r#"{{"ai_api_key":"value {n}"}}"#);
            Ok(Version { content: Content::Text(value.into()), ..version(name, *n, key) })
        }
        Answer::Labelled(n, labels) => labelled(name, &[(*n, *labels)], key),
        Answer::Stages(versions) => labelled(name, versions, key),
        Answer::Fail(kind) => Err(error(*kind)),
        Answer::Hang | Answer::TimeOut | Answer::Panic => {
            unreachable!("the answers `Hang`, `TimeOut` and `Panic` must be handled earlier")
        }
    }
}

impl Source for ScriptedSource {
    fn deadline(&self, _key: &Key) -> Duration {
        4 * SECOND
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(async {
            self.calls.lock().unwrap().push(key.id.as_str().to_owned());
            {
                let mut in_flight = self.in_flight.lock().unwrap();
                *in_flight = (in_flight.0 + 1, in_flight.1.max(in_flight.0 + 1));
            }
            let answer = self.answer_later(&self.answers, key).await;
            self.in_flight.lock().unwrap().0 -= 1;
            answer
        })
    }

    fn fetch_replica<'a>(&'a self, key: &'a Key) -> Option<ReplicaCall<'a>> {
        let replicas = self.replicas.as_ref()?;
        let call = Box::pin(async move {
            *self.replica_calls.lock().unwrap() += 1;
            self.answer_later(replicas, key).await
        });
        let is_secret = key.id.service() == Service::SecretsManager;
        is_secret.then_some(ReplicaCall { region: FAILOVER_REGION, call })
    }

    fn fetch_batch<'a>(&'a self, keys: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>> {
        Box::pin(async {
            self.batches.lock().unwrap().push(keys.len());
            self.clock.sleep(LATENCY).await;
            match self.batch_fails {
                Some(kind) => Err(error(kind)),
                None => Ok(keys.iter().map(|key| Some(self.answer(key))).collect()),
            }
        })
    }

    fn find<'a>(
        &'a self,
        pattern: &'a SecretPattern,
        page: Option<&'a str>,
    ) -> FetchFuture<'a, FoundPage> {
        Box::pin(async move {
            self.searches.lock().unwrap().push(pattern.as_str().to_owned());
            self.clock.sleep(LATENCY).await;
            let failure = *self.search_fails.lock().unwrap();
            failure.map_or_else(|| Ok(self.page(pattern, page)), |kind| Err(error(kind)))
        })
    }
}

/// Returns the version of the secret `name` that has the staging label or version id in `key`. Each
/// item of `versions` is the number of a version with its labels.
fn labelled(name: &str, versions: &[(u32, &[&str])], key: &Key) -> Result<Version, FetchError> {
    let mut versions = versions.iter().map(|(n, labels)| Version {
        details: Details::Secret { labels: labels.iter().map(|label| (*label).into()).collect() },
        ..version(name, *n, key)
    });
    let wanted = versions.find(|version| key.selector.selects(&key.selector, version));
    wanted.ok_or_else(|| error(FetchErrorKind::NotFound))
}

fn error(kind: FetchErrorKind) -> FetchError {
    FetchError::new(kind, kind.label(), "scripted")
}

pub(super) fn arn(name: &str) -> String {
    match name.strip_prefix("ssm:/") {
        Some(name) => format!("arn:aws:ssm:eu-north-1:123456789012:parameter/{name}"),
        None => format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-AbC123"),
    }
}

/// Makes version number `n` of the secret or parameter `name`, created `n` seconds after 1970. The
/// version of a secret gets the staging label in `key`.
pub(super) fn version(name: &str, n: u32, key: &Key) -> Version {
    if key.id.service() == Service::ParameterStore {
        return parameter(name, n);
    }
    let labels = key.selector.stage().into_iter().map(Into::into).collect();
    Version {
        arn: arn(name).into(),
        name: name.into(),
        id: format!("v{n}").into(),
        details: Details::Secret { labels },
        created: Some(SystemTime::UNIX_EPOCH + n * SECOND),
        content: Content::Text(SecretValue::from(format!("value {n}"))),
    }
}

pub(super) fn key(id: &str) -> Key {
    let id = match ParameterPath::is_pattern(id) {
        true => SecretId::Path(ParameterPath::parse(id).unwrap()),
        false => SecretId::parse(id).unwrap(),
    };
    let selector = match id.service() {
        Service::SecretsManager => Selector::current(),
        Service::ParameterStore => Selector::parameter(None, None, false),
    };
    Key::own(id, selector)
}

/// Makes a key that the cache reads with a role.
pub(super) fn key_with_role(id: &str) -> Key {
    let role = RoleArn::parse("arn:aws:iam::123456789012:role/reader").ok();
    Key { role, ..key(id) }
}

/// Makes a rule for the secrets whose names match `pattern`. The rule changes no part of the
/// refresh policy until the test sets one.
pub(super) fn rule(pattern: &str) -> Rule {
    Rule { secrets: Scope::new([pattern]).unwrap(), ..Rule::default() }
}

pub(super) struct Fixture {
    pub(super) cache: Cache,
    pub(super) writer: Writer,
    pub(super) source: Arc<ScriptedSource>,
    pub(super) clock: Arc<VirtualClock>,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) struct Setup {
    pub(super) policy: Policy,
    pub(super) rules: Vec<Rule>,
    pub(super) listed: Vec<&'static str>,
    /// The listed secrets that the cache reads with a role.
    pub(super) listed_with_role: Vec<&'static str>,
    pub(super) patterns: Vec<&'static str>,
    pub(super) interval: Duration,
    pub(super) allow: Vec<&'static str>,
    pub(super) batch_fails: Option<FetchErrorKind>,
    pub(super) has_failover: bool,
    pub(super) is_snapshot: bool,
    pub(super) is_strict: bool,
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
    pub(super) calls_max: usize,
    pub(super) reader_wait: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let policy = Policy { ttl: 100 * SECOND, ..Policy::default() };
        Self {
            policy,
            rules: Vec::new(),
            listed: Vec::new(),
            listed_with_role: Vec::new(),
            patterns: Vec::new(),
            interval: Duration::ZERO,
            allow: Vec::new(),
            batch_fails: None,
            has_failover: false,
            is_snapshot: false,
            is_strict: false,
            entries_max: 100,
            bytes_max: usize::MAX,
            calls_max: FLIGHTS_MAX,
            reader_wait: 5 * SECOND,
        }
    }
}

impl Setup {
    pub(super) fn build(self) -> Fixture {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Arc::new(VirtualClock::starting_at(wall));
        let source = Arc::new(ScriptedSource {
            clock: clock.clone(),
            answers: Mutex::default(),
            calls: Mutex::default(),
            in_flight: Mutex::default(),
            batches: Mutex::default(),
            batch_fails: self.batch_fails,
            searches: Mutex::default(),
            search_fails: Mutex::default(),
            replicas: self.has_failover.then(Mutex::default),
            replica_calls: Mutex::default(),
        });
        let metrics = Arc::new(Metrics::new());
        let config = Config {
            policies: Policies::new(self.policy, self.rules),
            reader_wait: self.reader_wait,
            entries_max: self.entries_max,
            bytes_max: self.bytes_max,
            calls_max: self.calls_max,
            listed: {
                let with_role = self.listed_with_role.into_iter().map(key_with_role);
                self.listed.into_iter().map(key).chain(with_role).collect()
            },
            discovery: discovery::Config {
                patterns: self
                    .patterns
                    .into_iter()
                    .map(|text| SecretPattern::parse(text).unwrap())
                    .collect(),
                interval: self.interval,
            },
            scope: Scope::new(self.allow).unwrap(),
            conventions: Arc::new(Conventions::built_in()),
            is_strict: self.is_strict,
            use_only: None,
            is_snapshot: self.is_snapshot,
            seed: Some(7),
        };
        let (cache, writer) = open(
            config,
            Home { region: "eu-north-1".into(), account: None },
            source.clone(),
            clock.clone(),
            metrics.clone(),
            TaskTracker::new(),
            CancellationToken::new(),
        );
        Fixture { cache, writer, source, clock, metrics }
    }
}

impl Fixture {
    pub(super) async fn prefetch(&self, mode: Mode, deadline: Duration) -> Report {
        prefetch::begin(&self.writer, mode).await.settle(&self.writer, deadline).await
    }

    /// Sets how the fake of AWS answers later calls for the secret `name`.
    pub(super) fn script(&self, name: &str, answer: Answer) {
        self.source.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    /// Sets how the replica of the secret `name` in the failover region answers later calls.
    pub(super) fn script_replica(&self, name: &str, answer: Answer) {
        let replicas = self.source.replicas.as_ref().unwrap();
        replicas.lock().unwrap().insert(name.to_owned(), answer);
    }

    pub(super) fn replica_calls(&self) -> usize {
        *self.source.replica_calls.lock().unwrap()
    }

    pub(super) fn calls(&self) -> usize {
        self.source.calls.lock().unwrap().len()
    }

    pub(super) async fn pass(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    pub(super) async fn read(&self, name: &'static str) -> Result<(String, How), String> {
        outcome(self.cache.read(key(name)).await)
    }

    pub(super) async fn read_now(&self, name: &'static str) -> Result<(String, How), String> {
        outcome(self.cache.read_now(key(name)).await)
    }
}

pub(super) fn outcome(read: Result<Served, ReadError>) -> Result<(String, How), String> {
    match read {
        Ok(served) => Ok((served.entry.version.id.to_string(), served.how)),
        Err(ReadError::Upstream(error)) => Err(error.kind.label().to_owned()),
        Err(ReadError::WaitOver(_)) => Err("wait over".to_owned()),
        Err(ReadError::OutOfScope) => Err("out of scope".to_owned()),
    }
}

pub(super) fn ok(id: &str, how: How) -> Result<(String, How), String> {
    Ok((id.to_owned(), how))
}

pub(super) fn failed(kind: &str) -> Result<(String, How), String> {
    Err(kind.to_owned())
}

/// Returns all parameters under `path` that the test has defined, sorted by name.
fn path_answer(
    answers: &HashMap<String, Answer>,
    path: &ParameterPath,
    key: &Key,
) -> Result<Version, FetchError> {
    if let Some(Answer::Fail(kind)) = answers.get(path.as_str()) {
        return Err(error(*kind));
    }
    let mut parameters: Vec<Version> = answers
        .iter()
        .filter(|(name, _)| name.strip_prefix("ssm:").is_some_and(|name| path.contains(name)))
        .filter_map(|(name, answer)| match answer {
            Answer::Version(n) => Some(version(name, *n, key)),
            _ => None,
        })
        .collect();
    parameters.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Version::of_path(path, parameters))
}

fn parameter(name: &str, n: u32) -> Version {
    let kind = ParameterKind::SecureString;
    Version {
        arn: arn(name).into(),
        name: name.trim_start_matches("ssm:").into(),
        id: n.to_string().into(),
        details: Details::Parameter(Parameter { number: n.into(), kind, data_type: None }),
        created: Some(SystemTime::UNIX_EPOCH + n * SECOND),
        content: Content::Text(SecretValue::from(format!("value {n}"))),
    }
}
