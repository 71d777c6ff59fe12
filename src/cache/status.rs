//! Describes the state of the cache for the status page: every cached secret, without its value.

use super::cached_secret::CachedSecret;
use super::discovery::Standing;
use super::entry::Entry;
use super::freshness::{Freshness, Reason};
use super::plan::Next;
use super::rotation::{self, Previous};
use super::schedule::next_refresh;
use super::state::{Missing, State};
use crate::clock::Moment;
use crate::convention::problem;
use crate::secret::arn::Arn;
use crate::secret::scope::Home;
use crate::source::FetchError;
use serde::Serialize;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(super) const PROBLEM_KINDS: usize = problem::Problem::CODES.len();

/// The state of the cache at one moment, for the status page.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The cached versions of all secrets, sorted by ARN, role and version id.
    pub entries: Vec<EntryStatus>,
    pub(crate) missing: Vec<MissingStatus>,
    /// The patterns in `SIDEKEY_SECRETS`, in the order of this setting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) patterns: Vec<PatternStatus>,
    /// The number of calls to AWS that have not ended, including calls that are not sent yet. A
    /// call that several requests share counts once.
    pub flights: usize,
}

/// The state of one cached version of a secret, for the status page.
#[derive(Debug, Serialize)]
pub struct EntryStatus {
    pub(crate) name: Box<str>,
    pub(crate) arn: Box<str>,
    /// The role with which Sidekey reads the secret. `None` if Sidekey uses its own credentials.
    pub(crate) role: Option<Box<str>>,
    /// The staging label, such as `AWSCURRENT`, by which Sidekey fetched this version of the
    /// secret. `None` if Sidekey fetched it by version id.
    pub(crate) stage: Option<Box<str>>,
    pub(crate) version_id: Box<str>,
    pub(crate) version_stages: Vec<Box<str>>,
    /// The version that this version replaced in the cache. `None` if the cache contained no other
    /// version before.
    pub(crate) previous_version: Option<PreviousStatus>,
    /// The AWS region that returned this version: the region of the secret itself, or that of a
    /// replica.
    pub(crate) region: Box<str>,
    /// When AWS created this version of the secret, in the format of RFC 3339. `None` if AWS did
    /// not report the time.
    pub(crate) created: Option<String>,
    /// How many seconds ago Sidekey sent the call that fetched this version of the secret. `None`
    /// if this time is unknown, because a clock went back at a SnapStart restore.
    pub(crate) age_seconds: Option<u64>,
    /// How fresh the cached version is: `fresh`, `due` (the TTL ends soon), `stale` or `expired`.
    pub(crate) freshness: &'static str,
    pub(crate) ttl_seconds: f64,
    /// In how many seconds the agent refreshes the cached secret by itself. `None` if the agent
    /// refreshes it only after a request has read it.
    pub(crate) next_refresh_seconds: Option<u64>,
    /// How many requests have read the cached secret since the agent first cached it.
    pub(crate) reads: u64,
    /// When the agent refreshes the cached secret: `always`, or `when-read` (only if a request has
    /// read it).
    pub(crate) refresh: &'static str,
    /// Why the last refresh of the cached secret failed. `None` if the last refresh succeeded.
    pub problem: Option<Problem>,
    /// The name of the rules that the secret's value must follow, such as `sms-twilio`. `None` if
    /// Sidekey has no rules for secrets of this name.
    pub(crate) convention: Option<Box<str>>,
    pub(crate) problems: Vec<ValueProblem>,
    /// Whether the agent returns an error instead of the secret's value, because the value breaks
    /// the rules for secrets of this name.
    pub(crate) withheld: bool,
}

/// A version of a secret that a newer version has replaced in the cache, for the status page.
#[derive(Debug, Serialize)]
pub(crate) struct PreviousStatus {
    /// The first characters of the id of the replaced version.
    pub(crate) version_id: Box<str>,
    /// When Sidekey sent the call to AWS that returned the newer version, in the format of RFC
    /// 3339.
    pub(crate) replaced: Option<String>,
    /// When a request last got the replaced version, in the format of RFC 3339. `None` if no
    /// request got it.
    pub(crate) last_read: Option<String>,
}

/// One way in which a secret's value breaks the rules for secrets of its name.
#[derive(Debug, Serialize)]
pub(crate) struct ValueProblem {
    pub(crate) code: &'static str,
    /// The field of the secret's value that has the problem. `None` if the problem concerns the
    /// whole value.
    pub(crate) field: Option<Box<str>>,
    pub(crate) message: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct MissingStatus {
    /// The name or ARN of the secret, as written in `SIDEKEY_SECRETS`.
    pub(crate) reference: Box<str>,
    /// The role with which Sidekey reads the secret. `None` if Sidekey uses its own credentials.
    pub(crate) role: Option<Box<str>>,
    /// Whether the agent is ready only after it has fetched this secret.
    pub(crate) required: bool,
    pub(crate) problem: Option<Problem>,
}

/// The state of the search for a pattern in `SIDEKEY_SECRETS`, for the status page.
#[derive(Debug, Serialize)]
pub(crate) struct PatternStatus {
    pub(crate) pattern: Box<str>,
    /// The number of secrets that match the pattern, cached or not.
    pub(crate) found: usize,
    /// How many seconds ago a search last found all secrets that match the pattern. `None` if no
    /// search has found all of them.
    pub(crate) age_seconds: Option<u64>,
    /// Why the last search failed. `None` if it succeeded.
    pub(crate) problem: Option<Problem>,
}

/// Why an attempt to fetch a secret failed, as shown on the status page.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// The category of the error, such as `throttled`, as in the metrics.
    pub(crate) kind: &'static str,
    /// The error code of AWS, such as `AccessDeniedException`.
    pub code: Box<str>,
    pub(crate) message: Box<str>,
    pub(crate) hint: Box<str>,
    /// How many refreshes of the secret have failed in a row. `None` for a secret that is not
    /// cached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failures: Option<u32>,
}

impl Problem {
    fn of(error: FetchError, failures: Option<u32>) -> Self {
        Self {
            kind: error.kind.label(),
            hint: error.hint().into(),
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
    pub(super) fn of(state: &State, now: Moment) -> Self {
        let epoch = state.epoch();
        let snapshot = state.snapshot.load();
        let mut entries: Vec<EntryStatus> = snapshot
            .entries()
            .map(|(secret, entry)| EntryStatus::of(secret, entry, state, now, epoch))
            .collect();
        entries.sort_by(|a, b| {
            (&a.arn, &a.role, &a.version_id).cmp(&(&b.arn, &b.role, &b.version_id))
        });
        Self {
            entries,
            missing: state.missing().into_iter().map(MissingStatus::of).collect(),
            patterns: patterns(state, now),
            flights: state.flights.len(),
        }
    }
}

fn patterns(state: &State, now: Moment) -> Vec<PatternStatus> {
    let standings = state.discovery().standings().into_iter();
    let pattern = |standing: Standing| PatternStatus {
        pattern: standing.pattern,
        found: standing.found,
        age_seconds: standing.completed.and_then(|at| now.since(at)).map(|age| age.as_secs()),
        problem: standing.problem.map(|error| Problem::of(error, None)),
    };
    standings.map(pattern).collect()
}

impl EntryStatus {
    fn of(secret: &CachedSecret, entry: &Entry, state: &State, now: Moment, epoch: u64) -> Self {
        let Entry { version, selector, policy, malformed, marks, .. } = entry;
        let convention = state.config.conventions.of_name(&version.name);
        let problems = malformed.iter().flat_map(|malformed| malformed.problems());
        Self {
            name: version.name.clone(),
            arn: version.arn.clone(),
            role: entry.role.as_ref().map(|role| role.as_str().into()),
            stage: selector.stage().map(Into::into),
            version_id: version.id.clone(),
            version_stages: version.labels().to_vec(),
            region: region(entry, &state.home.load()),
            previous_version: rotation::previous(secret, entry, now, epoch).map(Into::into),
            created: version.created.and_then(rfc3339),
            age_seconds: entry.age(now, epoch).map(|age| age.as_secs()),
            freshness: label(entry.freshness(now, epoch)),
            ttl_seconds: policy.ttl.as_secs_f64(),
            next_refresh_seconds: seconds_until(next_refresh(state, secret, entry, now)),
            reads: marks.reads(),
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

impl From<Previous> for PreviousStatus {
    fn from(previous: Previous) -> Self {
        Self {
            version_id: previous.version,
            replaced: rfc3339(previous.replaced),
            last_read: previous.last_read.and_then(rfc3339),
        }
    }
}

impl MissingStatus {
    fn of(missing: Missing) -> Self {
        Self {
            reference: missing.key.id.as_str().into(),
            role: missing.key.role.as_ref().map(|role| role.as_str().into()),
            required: missing.is_required,
            problem: missing.failure.map(|error| Problem::of(error, None)),
        }
    }
}

/// Counts the problems in the values of cached secrets, for each problem code. For example, the
/// code `missing` means that a required field is missing.
pub(super) fn problem_counts(state: &State) -> [(&'static str, usize); PROBLEM_KINDS] {
    let snapshot = state.snapshot.load();
    let codes: Vec<&str> = snapshot
        .entries()
        .filter_map(|(_, entry)| entry.malformed.as_ref())
        .flat_map(|malformed| malformed.problems().iter().map(problem::Problem::code))
        .collect();
    problem::Problem::CODES.map(|code| (code, codes.iter().filter(|own| **own == code).count()))
}

fn rfc3339(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

fn seconds_until(next: Next) -> Option<u64> {
    match next {
        Next::Now => Some(0),
        Next::In(wait) => Some(wait.as_secs()),
        Next::WhenRead => None,
    }
}

/// Returns the AWS region that returned the version in `entry`.
fn region(entry: &Entry, home: &Home) -> Box<str> {
    let own = || Arn::parse(&entry.version.arn).map(|arn| arn.region().into());
    match entry.replica_region() {
        Some(region) => region.into(),
        // A path of parameters has no ARN.
        None => own().unwrap_or_else(|_| home.region.clone()),
    }
}

fn label(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Fresh => "fresh",
        Freshness::Due => "due",
        Freshness::Stale(Reason::Revalidating | Reason::Failing | Reason::Refused) => "stale",
        Freshness::Expired => "expired",
    }
}
