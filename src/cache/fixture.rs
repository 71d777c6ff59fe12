//! A cache for tests. Each test decides how the source of secrets answers. Time is virtual.

use super::flight::FLIGHTS_MAX;
use super::freshness::Policy;
use super::policies::{Policies, Rule};
use super::prefetch::{self, Mode, Report};
use super::{Cache, Config, How, ReadError, Served, Writer, open};
use crate::clock::{Clock, VirtualClock};
use crate::convention::Conventions;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::scope::{Home, Scope};
use crate::secret::selector::Selector;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Version};
use crate::source::{FetchError, FetchErrorKind, FetchFuture, Source};
use crate::telemetry::metrics::Metrics;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// The time that one call to the test's source of secrets takes.
pub(super) const LATENCY: Duration = Duration::from_millis(40);

/// The name of a secret whose value must be JSON with a certain field. The values of
/// [`Answer::Version`] break this rule.
pub(super) const CONVENTIONAL: &str = "openai-api-key/sms";

/// How the test's source of secrets answers a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// The test's source of secrets returns the version with this number, such as `v1` for 1.
    Version(u32),
    /// The test's source of secrets returns the version with this number, such as `v1` for 1. The
    /// value of the version follows the rules for its kind of secret.
    WellFormed(u32),
    /// The secret has one version: a version number, and its staging labels. A call for the id of
    /// this version or for one of the labels gets this version. Other calls fail with `NotFound`.
    Labelled(u32, &'static [&'static str]),
    /// The secret has these versions: version numbers with their staging labels. Each call gets the
    /// version with the label or id that it asks for, or fails with `NotFound`.
    Stages(&'static [(u32, &'static [&'static str])]),
    Fail(FetchErrorKind),
    Hang,
    /// The test's source of secrets fails with a timeout after 2 s.
    TimeOut,
    Panic,
}

/// A source of secrets that answers calls as the test decides.
#[derive(Debug)]
pub(super) struct ScriptedSource {
    clock: Arc<VirtualClock>,
    answers: Mutex<HashMap<String, Answer>>,
    /// The name or ARN of each call for a single secret, in the order of the calls.
    pub(super) calls: Mutex<Vec<String>>,
    /// How many calls for single secrets are running now, and the largest number that ran at the
    /// same time.
    pub(super) in_flight: Mutex<(usize, usize)>,
    /// The number of secrets in each batch call so far.
    pub(super) batches: Mutex<Vec<usize>>,
    batch_fails: Option<FetchErrorKind>,
}

impl ScriptedSource {
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
            Answer::WellFormed(n) => {
                let value = format!(r#"{{"ai_api_key":"value {n}"}}"#);
                Ok(Version { content: Content::Text(value.into()), ..version(name, *n, key) })
            }
            Answer::Labelled(n, labels) => labelled(name, &[(*n, *labels)], key),
            Answer::Stages(versions) => labelled(name, versions, key),
            Answer::Fail(kind) => Err(error(*kind)),
            Answer::Hang | Answer::TimeOut | Answer::Panic => {
                unreachable!(
                    "`fetch` handles `Hang`, `TimeOut` and `Panic` before it calls `answer`"
                )
            }
        }
    }

    fn scripted_for(&self, id: &str) -> Option<Answer> {
        self.answers.lock().unwrap().get(id).copied()
    }
}

impl Source for ScriptedSource {
    fn deadline(&self) -> Duration {
        4 * SECOND
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(async {
            self.calls.lock().unwrap().push(key.id.as_str().to_owned());
            {
                let mut in_flight = self.in_flight.lock().unwrap();
                *in_flight = (in_flight.0 + 1, in_flight.1.max(in_flight.0 + 1));
            }
            self.clock.sleep(LATENCY).await;
            self.in_flight.lock().unwrap().0 -= 1;
            match self.scripted_for(key.id.as_str()) {
                Some(Answer::Hang) => std::future::pending().await,
                Some(Answer::TimeOut) => {
                    self.clock.sleep(2 * SECOND).await;
                    Err(error(FetchErrorKind::Timeout))
                }
                Some(Answer::Panic) => panic!("the test told the source of secrets to panic"),
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

/// Returns the version for which `key` asks. `versions` are the version numbers of the secret
/// `name`, with their staging labels.
fn labelled(name: &str, versions: &[(u32, &[&str])], key: &Key) -> Result<Version, FetchError> {
    let mut versions = versions.iter().map(|(n, labels)| Version {
        labels: labels.iter().map(|label| (*label).into()).collect(),
        ..version(name, *n, key)
    });
    let wanted = versions.find(|version| key.selector.selects(version));
    wanted.ok_or_else(|| error(FetchErrorKind::NotFound))
}

fn error(kind: FetchErrorKind) -> FetchError {
    FetchError::new(kind, kind.label(), "scripted")
}

pub(super) fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-AbC123")
}

/// Makes a version of the secret `name`. The version was created `n` seconds after 1970, and
/// carries the staging label that `key` asks for.
pub(super) fn version(name: &str, n: u32, key: &Key) -> Version {
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

pub(super) fn key(id: &str) -> Key {
    Key { id: SecretId::parse(id).unwrap(), selector: Selector::current() }
}

/// Makes a rule for the secrets that match `pattern`. The rule keeps the default policy. A test
/// then sets the fields that it needs.
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

/// The settings of a test's cache. A test changes only what it needs.
pub(super) struct Setup {
    pub(super) policy: Policy,
    pub(super) rules: Vec<Rule>,
    pub(super) listed: Vec<&'static str>,
    pub(super) allow: Vec<&'static str>,
    pub(super) batch_fails: Option<FetchErrorKind>,
    pub(super) is_snapshot: bool,
    pub(super) is_strict: bool,
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
    pub(super) calls_max: usize,
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
            calls_max: FLIGHTS_MAX,
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

    /// Sets how the test's source of secrets answers the next calls for the secret `name`.
    pub(super) fn script(&self, name: &str, answer: Answer) {
        self.source.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    /// Returns how many calls for single secrets the cache has made.
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

/// Converts the result of a read to a form that tests can compare: the version id and how the cache
/// answered, or the label of the error.
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
