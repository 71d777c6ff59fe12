//! Formats the result of `sidekey check` as a table or as JSON.

use super::report::{Finding, Report};
use crate::commands::age::age;
use crate::commands::table::table;
use crate::commands::terminal::fitted;
use crate::printable::Printable;
use serde_json::json;
use std::time::Duration;

/// The result of `sidekey check`.
pub(super) struct Checked {
    pub(super) reports: Vec<Report>,
    /// An IAM policy that allows the reads that AWS denied. `None` if AWS denied no read.
    pub(super) missing_policy: Option<String>,
    /// The URL of the fake Secrets Manager from which the secrets were read. `None` if the secrets
    /// were read from AWS or from a configured endpoint.
    pub(super) fake: Option<String>,
    /// One error message for each file that `sidekey check` could not search for names of secrets,
    /// and for each pattern that failed or matches no secret.
    pub(super) unsearched: Vec<String>,
}

impl Checked {
    /// Returns whether no secret has a problem, and all files and patterns could be searched.
    pub(super) fn is_ok(&self) -> bool {
        self.unsearched.is_empty() && self.reports.iter().all(|report| report.ok)
    }
}

pub(super) fn as_json(checked: &Checked) -> String {
    let Checked { reports, fake, unsearched, .. } = checked;
    let mut all = json!({
        "ok": checked.is_ok(),
        "checked": reports.len(),
        "withFindings": with_findings(reports),
        "results": reports,
    });
    if let Some(endpoint) = fake {
        all["fakeEndpoint"] = json!(endpoint);
    }
    if !unsearched.is_empty() {
        all["unsearchedFiles"] = json!(unsearched);
    }
    format!("{all:#}\n")
}

fn with_findings(reports: &[Report]) -> usize {
    reports.iter().filter(|report| !report.ok).count()
}

pub(super) fn as_text(checked: &Checked) -> String {
    let Checked { reports, missing_policy, fake, unsearched } = checked;
    let rows: Vec<Vec<String>> = reports.iter().flat_map(rows).collect();
    let heads = ["STATE", "REFERENCE", "KIND", "AGE", "ROTATION", "FINDINGS"];
    let mut text = fitted(&table(&heads, &rows));
    let with_findings = with_findings(reports);
    text += &format!("\n{} secrets checked, {with_findings} have problems\n", reports.len());
    if !unsearched.is_empty() {
        text += &format!("{} files or patterns could not be searched\n", unsearched.len());
    }
    if let Some(endpoint) = fake {
        text += &format!(
            "The secrets were read from the fake Secrets Manager of `sidekey dev` at {endpoint}, \
             and not from AWS\n"
        );
    }
    if let Some(policy) = missing_policy {
        text += &format!(
            "\nThis policy allows reading the secrets to which AWS denied access:\n\n{policy}"
        );
    }
    text
}

/// Returns the rows of the output table for one secret: one row for each problem, or a single row
/// if the secret has no problem.
fn rows(report: &Report) -> Vec<Vec<String>> {
    let state = match (report.ok, report.readable) {
        (true, _) => "ok",
        (false, true) => "finding",
        (false, false) => "unreadable",
    };
    let age = report.age_seconds.map(|seconds| age(Duration::from_secs(seconds)));
    let mut findings = report.findings.iter().map(finding_text);
    let mut rows = vec![vec![
        state.to_owned(),
        reference_or_location(report),
        kind(report),
        age.unwrap_or_else(|| "-".to_owned()),
        report.rotation.label().to_owned(),
        findings.next().unwrap_or_default(),
    ]];
    for finding in findings {
        let mut row = vec![String::new(); 5];
        row.push(finding);
        rows.push(row);
    }
    rows
}

fn finding_text(finding: &Finding) -> String {
    Printable(&format!("{}: {}", finding.code, finding.message)).to_string()
}

/// Returns the text for the column KIND: the kind of a secret (such as `whatsapp-twilio`), the type
/// and version of a parameter, or the number of parameters under a path.
fn kind(report: &Report) -> String {
    match (&report.kind, report.parameter_type, report.parameters) {
        (Some(kind), ..) => kind.clone(),
        (None, Some(parameter_type), _) => {
            format!("{parameter_type} v{}", report.version_id.as_deref().unwrap_or_default())
        }
        (None, None, Some(parameters)) => format!("{parameters} parameters"),
        (None, None, None) => "-".to_owned(),
    }
}

/// Returns the name or ARN of the secret. If the name is empty, returns the place of the empty
/// string in the JSON file, so that the user can find the mistake.
fn reference_or_location(report: &Report) -> String {
    match (report.reference.is_empty(), report.locations.first()) {
        (true, Some(location)) => Printable(&format!("(at {location})")).to_string(),
        _ => Printable(&report.reference).to_string(),
    }
}
