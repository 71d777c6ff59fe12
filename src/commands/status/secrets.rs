//! The table of all secrets in the output of `sidekey status`.

use super::columns::Column;
use super::page::{CallError, Missing, PreviousVersion, Secret, ValueProblem};
use super::report::Report;
use crate::commands::age::age;
use crate::printable::Printable;
use crate::secret::version::AWSCURRENT;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How many characters of a version id the table contains. These are enough to compare versions.
const VERSION_CHARS: usize = 8;

/// The text of a cell without a value.
const NONE: &str = "-";

/// The cells of one secret.
#[derive(Debug, Default)]
struct Row {
    state: &'static str,
    name: String,
    version: String,
    stage: String,
    age: String,
    refresh: String,
    reads: String,
    region: String,
    role: String,
    previous: String,
    notes: Vec<String>,
}

/// Returns the columns of the table. Secrets that need attention come first. Columns without any
/// value, such as the region, are omitted.
pub(super) fn columns(report: &Report, now: SystemTime) -> Vec<Column> {
    let missing = report.missing.iter().map(missing_row);
    let cached = report.secrets.iter().map(|secret| row(secret, now));
    let mut rows: Vec<Row> = missing.chain(cached).collect();
    rows.sort_by_key(|row| urgency(row.state, !row.notes.is_empty()));
    let column = |head, rank, cell: fn(&Row) -> &str| Column {
        head,
        rank,
        cells: rows.iter().flat_map(|row| cells(row, cell(row))).collect(),
    };
    let notes = rows.iter().flat_map(|row| match row.notes.is_empty() {
        true => vec![String::new()],
        false => row.notes.clone(),
    });
    let all = [
        column("STATE", None, |row| row.state),
        column("NAME", None, |row| &row.name),
        column("VERSION", Some(2), |row| &row.version),
        column("STAGE", Some(1), |row| &row.stage),
        column("AGE", Some(7), |row| &row.age),
        column("REFRESH", Some(6), |row| &row.refresh),
        column("READS", Some(5), |row| &row.reads),
        column("REGION", Some(4), |row| &row.region),
        column("ROLE", Some(3), |row| &row.role),
        column("PREVIOUS", Some(0), |row| &row.previous),
        Column { head: "PROBLEM", rank: None, cells: notes.collect() },
    ];
    let is_default = |column: &Column| {
        let default = if column.head == "STAGE" { AWSCURRENT } else { "" };
        column.cells.iter().all(|cell| cell.is_empty() || cell == NONE || cell == default)
    };
    all.into_iter().filter(|column| !is_default(column)).collect()
}

/// Returns the cells of one secret in a column: `value`, and then empty cells. A secret with
/// several notes (texts in the column PROBLEM) has one row for each note, and only its first row
/// contains `value`.
fn cells(row: &Row, value: &str) -> Vec<String> {
    let mut cells = vec![value.to_owned()];
    cells.resize(row.notes.len().max(1), String::new());
    cells
}

/// Returns the rank of a secret in the table. Secrets with a lower rank come first.
fn urgency(state: &str, has_notes: bool) -> u8 {
    match (state, has_notes) {
        ("missing", _) => 0,
        ("withheld", _) => 1,
        ("expired" | "stale", true) => 2,
        (_, true) => 3,
        (_, false) => 4,
    }
}

fn row(secret: &Secret, now: SystemTime) -> Row {
    let version: String = secret.version_id.chars().take(VERSION_CHARS).collect();
    let errors = secret.problem.iter().map(error_note);
    let problems = secret.problems.iter().map(problem_note);
    Row {
        state: state(secret),
        name: printable(&secret.name),
        version: printable(&version),
        stage: secret.stage.as_deref().map_or_else(|| NONE.to_owned(), printable),
        age: span(secret.age_seconds).unwrap_or_else(|| NONE.to_owned()),
        refresh: match secret.next_refresh_seconds {
            Some(0) => "now".to_owned(),
            next => span(next).unwrap_or_else(|| "when read".to_owned()),
        },
        reads: secret.reads.to_string(),
        region: secret.region.as_deref().map(printable).unwrap_or_default(),
        role: secret.role.as_deref().map(printable).unwrap_or_default(),
        previous: secret
            .previous_version
            .as_ref()
            .map_or_else(String::new, |one| previous(one, now)),
        notes: errors.chain(problems).collect(),
    }
}

fn missing_row(missing: &Missing) -> Row {
    let why = missing
        .problem
        .as_ref()
        .map_or_else(|| "the agent has not fetched the secret yet".to_owned(), error_note);
    Row {
        state: if missing.required { "missing" } else { "optional" },
        name: printable(&missing.reference),
        version: NONE.to_owned(),
        stage: NONE.to_owned(),
        age: NONE.to_owned(),
        refresh: NONE.to_owned(),
        reads: NONE.to_owned(),
        role: missing.role.as_deref().map(printable).unwrap_or_default(),
        notes: vec![why],
        ..Row::default()
    }
}

/// Returns the text of the column STATE for a cached secret.
fn state(secret: &Secret) -> &'static str {
    match &*secret.freshness {
        _ if secret.withheld => "withheld",
        "fresh" => "fresh",
        "due" => "due",
        "stale" => "stale",
        "expired" => "expired",
        _ => "unknown",
    }
}

/// Returns the text of the column PREVIOUS: the id of the version that was replaced in the cache,
/// and when a caller last got this version.
fn previous(previous: &PreviousVersion, now: SystemTime) -> String {
    let last_read = previous.last_read.as_deref();
    let time = last_read.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
    let since = time.map(|at| now.duration_since(at.into()).unwrap_or_default());
    let read = match since {
        Some(since) => format!("last read {} ago", age(since)),
        None => "never read".to_owned(),
    };
    printable(&format!("{}, {read}", previous.version_id))
}

fn error_note(error: &CallError) -> String {
    let CallError { kind, code, message, hint, failures } = error;
    let times = match failures {
        Some(failures @ 2..) => format!(" ({failures} times)"),
        _ => String::new(),
    };
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    printable(&format!("{kind}{times}: {code}: {message}{hint}"))
}

fn problem_note(problem: &ValueProblem) -> String {
    printable(&format!("{}: {}", problem.code, problem.message))
}

fn span(seconds: Option<u64>) -> Option<String> {
    seconds.map(|seconds| age(Duration::from_secs(seconds)))
}

fn printable(text: &str) -> String {
    Printable(text).to_string()
}
