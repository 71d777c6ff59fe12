//! The status page's view of the cache: every entry, without its value.

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

/// The number of kinds of problems that a value can have.
pub(super) const PROBLEM_KINDS: usize = problem::Problem::CODES.len();

/// The state of the cache at one moment.
#[derive(Debug, Serialize)]
pub struct Status {
    /// All entries, sorted by ARN and version id.
    pub entries: Vec<EntryStatus>,
    /// The listed secrets that are not cached.
    pub missing: Vec<MissingStatus>,
    /// The number of flights under way, with those that wait for a slot.
    pub flights: usize,
}

/// The state of one entry.
#[derive(Debug, Serialize)]
pub struct EntryStatus {
    /// The name of the secret.
    pub name: Box<str>,
    /// The full ARN of the secret.
    pub arn: Box<str>,
    /// The staging label that the call asked for, if it asked for a label.
    pub stage: Option<Box<str>>,
    /// The id of the cached version.
    pub version_id: Box<str>,
    /// The labels that the version carried when it was fetched.
    pub version_stages: Vec<Box<str>>,
    /// When the version was created, in the format of RFC 3339.
    pub created: Option<String>,
    /// The seconds since the call that fetched the entry was sent.
    pub age_seconds: Option<u64>,
    /// How fresh the entry is: `fresh`, `due`, `stale` or `expired`.
    pub freshness: &'static str,
    /// The TTL of the secret, in seconds.
    pub ttl_seconds: f64,
    /// When timers refresh the entry: `always`, or `when-read` if they do so only after a read.
    pub refresh: &'static str,
    /// Why the last attempt to refresh the entry failed, if it failed.
    pub problem: Option<Problem>,
    /// The kind of the convention that matches the secret's name, if there is one.
    pub convention: Option<Box<str>>,
    /// How the value breaks the convention.
    pub problems: Vec<ValueProblem>,
    /// Whether readers get an error instead of the value, because the value breaks the convention.
    pub withheld: bool,
}

/// One problem of a value that breaks its convention.
#[derive(Debug, Serialize)]
pub struct ValueProblem {
    /// The code of the kind of problem, such as `missing`.
    pub code: &'static str,
    /// The field that has the problem. `None` if the whole value has it.
    pub field: Option<Box<str>>,
    /// A sentence that describes the problem.
    pub message: String,
}

/// A listed secret that is not cached.
#[derive(Debug, Serialize)]
pub struct MissingStatus {
    /// The name or ARN under which the secret is listed.
    pub reference: Box<str>,
    /// Whether the agent is not ready until the secret is cached.
    pub required: bool,
    /// Why the last attempt to fetch the secret failed. `None` before the first attempt has ended.
    pub problem: Option<Problem>,
}

/// Why an attempt to fetch a secret failed.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// The kind of the error, as in metric labels.
    pub kind: &'static str,
    /// The error code of AWS.
    pub code: Box<str>,
    /// The error message of AWS.
    pub message: Box<str>,
    /// What the operator can do about the error.
    pub hint: &'static str,
    /// The number of consecutive failed attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
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
    /// Returns the state of every entry of `state` at `now`.
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

/// Returns how many problems the cached values have, for every kind of problem.
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
