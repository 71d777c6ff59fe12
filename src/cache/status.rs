//! The state of the cache for the status page: every cached entry, without the secret's value.

use super::entry::Entry;
use super::freshness::{Freshness, Reason};
use super::state::{Missing, State};
use crate::clock::Moment;
use crate::convention::Conventions;
use crate::convention::problem;
use crate::source::FetchError;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The number of kinds of problems that a secret's value can have.
pub(super) const PROBLEM_KINDS: usize = problem::Problem::CODES.len();

/// The state of the cache at one moment, for the status page.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The state of every cached entry, sorted by ARN and version id.
    pub entries: Vec<EntryStatus>,
    /// The listed secrets (of `SIDEKEY_SECRETS`) that are not cached.
    pub(crate) missing: Vec<MissingStatus>,
    /// The number of calls to AWS that have not ended, including calls that wait to be sent. A call
    /// that several readers share counts once.
    pub flights: usize,
}

/// The state of one cached version of a secret, for the status page.
#[derive(Debug, Serialize)]
pub struct EntryStatus {
    /// The name of the cached secret.
    pub(crate) name: Box<str>,
    /// The full ARN of the cached secret.
    pub(crate) arn: Box<str>,
    /// The staging label that the call to AWS asked for. `None` if the call asked for a version id.
    pub(crate) stage: Option<Box<str>>,
    /// The id of the cached version of the secret.
    pub(crate) version_id: Box<str>,
    /// The staging labels that the cached version carried when it was fetched.
    pub(crate) version_stages: Vec<Box<str>>,
    /// When the cached version was created, in the format of RFC 3339. `None` if AWS did not say
    /// when.
    pub(crate) created: Option<String>,
    /// The age of the cached entry in seconds, counted from the time when the call that fetched it
    /// was sent. `None` if the clocks cannot tell.
    pub(crate) age_seconds: Option<u64>,
    /// How fresh the cached entry is: `fresh`, `due`, `stale` or `expired`.
    pub(crate) freshness: &'static str,
    /// The TTL of the cached secret, in seconds.
    pub(crate) ttl_seconds: f64,
    /// When timers refresh the cached entry: `always`, or `when-read` if they refresh it only after
    /// a reader has read it.
    pub(crate) refresh: &'static str,
    /// Why the last attempt to refresh the cached entry failed. `None` if no attempt has failed
    /// since the entry was fetched.
    pub problem: Option<Problem>,
    /// The kind of secret, as the naming convention that matches the secret's name defines it.
    /// `None` if no naming convention matches.
    pub(crate) convention: Option<Box<str>>,
    /// How the value breaks the convention for secrets of its name. Empty if the value follows the
    /// convention.
    pub(crate) problems: Vec<ValueProblem>,
    /// Whether readers get an error instead of the value, because the value breaks the convention
    /// for secrets of its name.
    pub(crate) withheld: bool,
}

/// One problem of a secret's value that breaks the convention for secrets of its name.
#[derive(Debug, Serialize)]
pub(crate) struct ValueProblem {
    /// The code for this kind of problem, such as `missing`.
    pub(crate) code: &'static str,
    /// The field of the secret's value that has the problem. `None` if the problem concerns the
    /// whole value.
    pub(crate) field: Option<Box<str>>,
    /// A sentence that describes the problem of the secret's value.
    pub(crate) message: String,
}

/// A listed secret (of `SIDEKEY_SECRETS`) that is not cached, as shown on the status page.
#[derive(Debug, Serialize)]
pub(crate) struct MissingStatus {
    /// The name or ARN by which `SIDEKEY_SECRETS` lists the secret.
    pub(crate) reference: Box<str>,
    /// Whether the agent is not ready until the listed secret is cached.
    pub(crate) required: bool,
    /// Why the last attempt to fetch the listed secret failed. `None` before the first attempt has
    /// ended.
    pub(crate) problem: Option<Problem>,
}

/// Why an attempt to fetch a secret failed, as shown on the status page.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// The kind of the error, as in the labels of metrics.
    pub(crate) kind: &'static str,
    /// The AWS error code of the failed attempt.
    pub code: Box<str>,
    /// The error message of the failed attempt, from AWS or Sidekey.
    pub(crate) message: Box<str>,
    /// What the operator can do about the error.
    pub(crate) hint: &'static str,
    /// The number of consecutive failed attempts to fetch the secret. `None` if this number is not
    /// recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failures: Option<u32>,
}

impl Problem {
    fn of(error: FetchError, failures: Option<u32>) -> Self {
        Self {
            kind: error.kind.label(),
            hint: error.kind.hint(),
            code: error.code,
            message: error.message,
            failures,
        }
    }
}

impl ValueProblem {
    fn of(problem: &problem::Problem) -> Self {
        Self {
            code: problem.code(),
            field: problem.field().map(Into::into),
            message: problem.to_string(),
        }
    }
}

impl Status {
    /// Returns the state at `now` of every entry and every missing listed secret in `state`.
    pub(super) fn of(state: &State, now: Moment) -> Self {
        let epoch = state.epoch();
        let snapshot = state.snapshot.load();
        let mut entries: Vec<EntryStatus> = snapshot
            .entries()
            .map(|(_, entry)| EntryStatus::of(entry, &state.config.conventions, now, epoch))
            .collect();
        entries.sort_by(|a, b| a.arn.cmp(&b.arn).then_with(|| a.version_id.cmp(&b.version_id)));
        Self {
            entries,
            missing: state.missing().into_iter().map(MissingStatus::of).collect(),
            flights: state.flights.len(),
        }
    }
}

impl EntryStatus {
    fn of(entry: &Entry, conventions: &Conventions, now: Moment, epoch: u64) -> Self {
        let Entry { version, selector, policy, malformed, marks, .. } = entry;
        let convention = conventions.of_name(&version.name);
        let problems = malformed.iter().flat_map(|malformed| malformed.problems());
        let created =
            version.created.and_then(|created| OffsetDateTime::from(created).format(&Rfc3339).ok());
        Self {
            name: version.name.clone(),
            arn: version.arn.clone(),
            stage: selector.stage().map(Into::into),
            version_id: version.id.clone(),
            version_stages: version.labels.clone(),
            created,
            age_seconds: entry.age(now).map(|age| age.as_secs()),
            freshness: label(entry.freshness(now, epoch)),
            ttl_seconds: policy.ttl.as_secs_f64(),
            refresh: policy.refresh.label(),
            problem: marks
                .failure()
                .map(|failure| Problem::of(failure.error.clone(), Some(failure.count))),
            convention: convention.map(|(convention, _)| convention.kind().into()),
            problems: problems.map(ValueProblem::of).collect(),
            withheld: malformed.as_ref().is_some_and(|malformed| malformed.is_withheld),
        }
    }
}

impl MissingStatus {
    fn of(missing: Missing) -> Self {
        Self {
            reference: missing.key.id.as_str().into(),
            required: missing.is_required,
            problem: missing.failure.map(|error| Problem::of(error, None)),
        }
    }
}

/// Returns, for each kind of problem, how many problems of this kind the cached values have.
pub(super) fn problem_counts(state: &State) -> [(&'static str, usize); PROBLEM_KINDS] {
    let snapshot = state.snapshot.load();
    let codes: Vec<&str> = snapshot
        .entries()
        .filter_map(|(_, entry)| entry.malformed.as_ref())
        .flat_map(|malformed| malformed.problems().iter().map(problem::Problem::code))
        .collect();
    problem::Problem::CODES.map(|code| (code, codes.iter().filter(|own| **own == code).count()))
}

fn label(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Fresh => "fresh",
        Freshness::Due => "due",
        Freshness::Stale(Reason::Revalidating | Reason::Failing | Reason::Refused) => "stale",
        Freshness::Expired => "expired",
    }
}
