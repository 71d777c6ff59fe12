//! `sidekey check`: checks that secrets are readable and complete.

mod candidates;
mod dynamo;
mod gateway_key;
mod input;
mod lenient;
mod reads;
mod report;
mod search;

use super::streams::{err, out};
use super::table::table;
use super::terminal::fitted;
use super::{agent_file, beside_dev, policy};
use crate::clock::{Clock, SystemClock};
use crate::config::vars::{Environment, Overridden};
use crate::config::{self, Config, Host, Loaded, variables};
use crate::convention::Conventions;
use crate::hardening;
use crate::printable::Printable;
use crate::secret::key::Key;
use crate::secret::reference::{BadReference, Reference};
use crate::source::secrets_manager::SecretsManager;
use crate::tokens::Tokens;
use candidates::{Candidate, Candidates, TooMany};
use indicatif::{ProgressBar, ProgressDrawTarget};
use reads::{Read, read_all};
use report::{Criteria, Finding, Report, account, report};
use search::Wanted;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The exit code of `sidekey check` if at least one secret has a problem.
const FINDINGS: u8 = 1;

/// The exit code of `sidekey check` if an argument or a setting is wrong.
const USAGE: u8 = 2;

/// The exit code of `sidekey check` after Ctrl-C. Shells use the same number: 128 plus 2, which is
/// the number of the signal SIGINT.
const INTERRUPTED: u8 = 130;

const MANY: usize = 20;

const EXAMPLES: &str = "\
Examples:
  sidekey check whatsapp-credentials/acme/support/twilio openai-api-key/whatsapp
  sidekey check --config sidekey.toml
  aws dynamodb scan --table-name company-data-dev | sidekey check --from-json -
  sidekey check --from-json export/AWSDynamoDB --json | jq '.results[] | select(.ok | not)'

Each secret is read as the agent would read it, with SIDEKEY_ENDPOINT, SIDEKEY_REGION and AWS's own \
variables. Each value is checked against its convention, which has the rules for this kind of \
secret. Values are never shown. The ROTATION column needs the permission secretsmanager:DescribeSecret, \
and shows 'unknown' without this permission.

A JSON file may be a message of your program, an event of SQS, the output of `aws dynamodb scan`, an \
export of a table to S3, or any other JSON: also several values one after another, and compressed with \
gzip. The command checks the secrets that the file names in two places: strings at a path of \
SIDEKEY_RESOLVE_PATHS, anywhere in the file; and strings that match the name pattern of a convention. \
JSON inside a string, such as the body of an SQS message, is searched too.

docs/check.schema.json describes the output of --json.

Exit codes: 0 no problems were found; 1 problems were found; 2 an argument or setting is wrong.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Check these secrets: names or ARNs, optionally with #FIELD [default: SIDEKEY_SECRETS]
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// Check the secrets that this configuration file lists
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Read conventions (rules for names and values of secrets) from FILE [default:
    /// SIDEKEY_CONVENTIONS, else the built-in conventions]
    #[arg(long, value_name = "FILE")]
    conventions: Option<String>,
    /// Check all secrets named in a JSON file or folder; - reads stdin
    #[arg(long, value_name = "FILE")]
    from_json: Vec<PathBuf>,
    /// Report secrets whose names match no naming convention
    #[arg(long)]
    strict: bool,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
}

enum CannotCheck {
    /// Error messages for the user about wrong arguments, settings or files.
    Problems(Vec<String>),
    Interrupted,
}

impl CannotCheck {
    fn because(error: &impl ToString) -> Self {
        Self::Problems(vec![error.to_string()])
    }

    fn in_file(path: &Path, error: &impl Display) -> Self {
        Self::because(&format!("{}: {error}", path.display()))
    }
}

impl From<TooMany> for CannotCheck {
    fn from(error: TooMany) -> Self {
        Self::because(&error)
    }
}

/// The result of `sidekey check`: a report on each secret, and an IAM policy that allows the reads
/// that AWS denied.
struct Checked {
    reports: Vec<Report>,
    missing_policy: Option<String>,
}

pub(super) async fn run(args: Args) -> ExitCode {
    // A failure is ignored: if the system cannot protect the memory of this process, the command
    // still works.
    let _ = hardening::harden();
    match check(&args).await {
        Ok(checked) => {
            out(&match args.json {
                true => as_json(&checked.reports),
                false => as_text(&checked),
            });
            let is_ok = checked.reports.iter().all(|report| report.ok);
            if is_ok { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) }
        }
        Err(CannotCheck::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(CannotCheck::Problems(problems)) => {
            problems.iter().for_each(|problem| err(&format!("sidekey: {problem}\n")));
            ExitCode::from(USAGE)
        }
    }
}

async fn check(args: &Args) -> Result<Checked, CannotCheck> {
    let config = configuration(args)?;
    let conventions = config.cache.conventions.clone();
    let candidates = candidates(args, &config, &conventions)?;
    if candidates.is_empty() {
        let problem = match args.from_json.is_empty() {
            true => "there is nothing to check: name secrets as arguments, or set SIDEKEY_SECRETS",
            false => {
                "the JSON file names no secret: set SIDEKEY_RESOLVE_PATHS to the paths of secret \
                 names in the file, or use --conventions to define patterns for secret names"
            }
        };
        return Err(CannotCheck::because(&problem));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let configured_account = config.account.map(String::from);
    let own_ports = vec![config.listen.port];
    let tokens = Arc::new(Tokens::new(Vec::new()));
    let source = SecretsManager::prepare(config.source, own_ports, tokens, clock.clone())
        .await
        .map_err(|no_region| CannotCheck::because(&no_region))?;
    let source = Arc::new(source);
    let references: Vec<Result<Reference, BadReference>> =
        candidates.iter().map(|one| Reference::parse(&one.text)).collect();
    let reads = tokio::select! {
        reads = read(&source, &references) => reads,
        // The command ends normally, so that it also ends a running `credential_process`.
        Ok(()) = tokio::signal::ctrl_c() => return Err(CannotCheck::Interrupted),
    };
    let account =
        configured_account.or_else(|| account(reads.iter().map(|(key, read)| (&key.id, read))));
    let criteria = Criteria {
        conventions: &conventions,
        is_strict: args.strict,
        now: clock.now().wall,
        region: source.region(),
        account: account.as_deref(),
    };
    let mut reports = Vec::new();
    for (candidate, reference) in candidates.into_iter().zip(&references) {
        let read = reference.as_ref().ok().and_then(|reference| reads.get(&key(reference)));
        reports.push(report(candidate, reference, read, &criteria));
    }
    let missing_policy = missing_policy(&reports, &criteria);
    Ok(Checked { reports, missing_policy })
}

/// Returns an IAM policy, as JSON, that allows reading every secret to which AWS denied access.
/// Returns `None` if AWS denied no read.
fn missing_policy(reports: &[Report], criteria: &Criteria<'_>) -> Option<String> {
    let denied: Vec<&str> = reports
        .iter()
        .filter(|report| report.findings.iter().any(|finding| finding.grant.is_some()))
        .map(|report| &*report.reference)
        .collect();
    if denied.is_empty() {
        return None;
    }
    let policy = policy::least(denied, criteria.region, criteria.account).ok()?;
    Some(policy.json())
}

/// Loads Sidekey's configuration from the environment variables. The arguments `--config` and
/// `--conventions` override the variables `SIDEKEY_CONFIG` and `SIDEKEY_CONVENTIONS`.
fn configuration(args: &Args) -> Result<Config, CannotCheck> {
    let mut vars = Overridden::new(&Environment);
    if let Some(path) = &args.config {
        vars.set(variables::CONFIG_FILE, path);
        // With `--config`, the command checks the secrets that the file lists. The variable
        // SIDEKEY_SECRETS would override that list, so the variable is ignored.
        vars.unset("SIDEKEY_SECRETS");
    }
    if let Some(path) = &args.conventions {
        vars.set(variables::CONVENTIONS_FILE, path);
    }
    let mut loaded = config::load(&vars, Host::Standalone);
    if beside_dev::is_fake_allowed(&vars)
        && let Some(endpoint) = agent_file::fake_endpoint(loaded.config.listen.port)
    {
        err(&format!(
            "sidekey: `sidekey check` reads from the fake Secrets Manager of `sidekey dev` at {endpoint}; to read \
             from AWS, set AWS_PROFILE or stop `sidekey dev`\n"
        ));
        beside_dev::use_fake(&mut vars, &endpoint);
        loaded = config::load(&vars, Host::Standalone);
    }
    let Loaded { config, mistakes, warnings } = loaded;
    warnings.iter().for_each(|warning| err(&format!("sidekey: {warning}\n")));
    match mistakes.is_empty() {
        true => Ok(config),
        false => Err(CannotCheck::Problems(mistakes.0.iter().map(ToString::to_string).collect())),
    }
}

/// Collects the names and ARNs of the secrets to check from the arguments, from the JSON files and
/// from the configuration.
fn candidates(
    args: &Args,
    config: &Config,
    conventions: &Conventions,
) -> Result<Vec<Candidate>, CannotCheck> {
    let mut candidates = Candidates::default();
    for text in &args.references {
        candidates.add(text)?;
    }
    let wanted = Wanted { paths: &config.resolving.paths, conventions };
    for path in &args.from_json {
        let files = input::files(path).map_err(|error| CannotCheck::in_file(path, &error))?;
        for path in &files {
            let file = input::open(path).map_err(|error| CannotCheck::in_file(path, &error))?;
            search::search(file, &path.display().to_string(), wanted, &mut candidates)
                .map_err(|error| CannotCheck::in_file(path, &error))?;
        }
    }
    if args.config.is_some() || (args.references.is_empty() && args.from_json.is_empty()) {
        for key in &config.cache.listed {
            candidates.add(&reference_text(key))?;
        }
    }
    Ok(candidates.into_all())
}

/// Returns the secret's name or ARN. If the configuration selects a version other than the current
/// version, appends the staging label and the id of that version, as in `app/db::AWSPREVIOUS:`.
fn reference_text(key: &Key) -> String {
    let id = key.id.as_str();
    if key.selector.is_current() {
        return id.to_owned();
    }
    let stage = key.selector.stage().unwrap_or_default();
    let version = key.selector.version().unwrap_or_default();
    format!("{id}::{stage}:{version}")
}

fn key(reference: &Reference) -> Key {
    Key { id: reference.id.clone(), selector: reference.selector.clone() }
}

/// Reads every secret once, even if `references` names a secret twice. If there are many secrets,
/// shows a progress bar on a terminal.
async fn read(
    source: &Arc<SecretsManager>,
    references: &[Result<Reference, BadReference>],
) -> HashMap<Key, Read> {
    let mut seen = HashSet::new();
    let keys: Vec<Key> =
        references.iter().flatten().map(key).filter(|key| seen.insert(key.clone())).collect();
    // indicatif draws no progress bar if standard error is not a terminal.
    let target = match keys.len() < MANY {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(Some(keys.len() as u64), target);
    let reads = read_all(source.clone(), keys, || bar.inc(1)).await;
    bar.finish_and_clear();
    reads
}

fn as_json(reports: &[Report]) -> String {
    let with_findings = reports.iter().filter(|report| !report.ok).count();
    let all = json!({
        "ok": with_findings == 0,
        "checked": reports.len(),
        "withFindings": with_findings,
        "results": reports,
    });
    format!("{all:#}\n")
}

fn as_text(Checked { reports, missing_policy }: &Checked) -> String {
    let rows: Vec<Vec<String>> = reports.iter().flat_map(rows).collect();
    let heads = ["STATE", "REFERENCE", "KIND", "AGE", "ROTATION", "FINDINGS"];
    let mut text = fitted(&table(&heads, &rows));
    let with_findings = reports.iter().filter(|report| !report.ok).count();
    text += &format!("\n{} references checked, {with_findings} with findings\n", reports.len());
    if let Some(policy) = missing_policy {
        text += &format!(
            "\nThis policy allows reading the secrets to which AWS denied access:\n\n{policy}"
        );
    }
    text
}

/// Returns the rows of the output table for one secret. The first row contains the secret and its
/// first problem. Each further problem has its own row.
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
        report.kind.clone().unwrap_or_else(|| "-".to_owned()),
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

/// Returns the name or ARN of the secret. If the JSON file contains an empty string instead of a
/// name, returns the location of this string, so that the user can find the mistake.
fn reference_or_location(report: &Report) -> String {
    match (report.reference.is_empty(), report.locations.first()) {
        (true, Some(location)) => Printable(&format!("(at {location})")).to_string(),
        _ => Printable(&report.reference).to_string(),
    }
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_has_its_largest_unit() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (3_600, "1h"), (172_800, "2d")]
        {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn listed_secret_becomes_its_reference_again() {
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        for text in ["app/db", arn, &format!("{arn}::AWSPREVIOUS:"), &format!("{arn}:::v1")] {
            let reference =
                Reference::parse(text).expect("the text must be a valid name or ARN of a secret");
            assert_eq!(reference_text(&key(&reference)), text);
        }
    }
}
