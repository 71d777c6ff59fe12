//! `sidekey check`: whether secrets can be read with the present credentials, and are what they
//! should be.

mod dynamo;
mod found;
mod gateway_key;
mod reads;
mod report;

use super::policy;
use super::streams::{err, out};
use super::table::table;
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
use found::{Found, Written};
use indicatif::{ProgressBar, ProgressDrawTarget};
use reads::{Read, read_all};
use report::{Measure, Report, account, report};
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The exit codes.
const FINDINGS: u8 = 1;
const USAGE: u8 = 2;

/// The most bytes of a file of JSON.
const JSON_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many secrets there are at least where a bar shows how far it is.
const MANY: usize = 20;

const EXAMPLES: &str = "\
Examples:
  sidekey check whatsapp-credentials/acme/support/twilio openai-api-key/whatsapp
  sidekey check --config sidekey.toml
  aws dynamodb scan --table-name company-data-dev | sidekey check --from-json -
  sidekey check --from-json export.json --json | jq '.results[] | select(.ok | not)'

Each secret is read as the agent would read it, from where SIDEKEY_ENDPOINT, SIDEKEY_REGION and AWS's
own variables say. What is read is held against the convention of its name; no value is shown.
Rotation takes secretsmanager:DescribeSecret, and is 'unknown' without.

A file of JSON may be a Context Object, the output of `aws dynamodb scan`, an export of a table in
JSON lines, or anything else. References are looked for at the paths of SIDEKEY_RESOLVE_PATHS,
anywhere in it, and whatever text is called as a convention says is one too.

The JSON of --json is described by docs/check.schema.json.

Exit codes: 0 nothing to be looked at; 1 findings; 2 a mistake in what was given or configured.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Names or ARNs, with #FIELD where one field is used [default: those of SIDEKEY_SECRETS]
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// Check the secrets that a file of Sidekey's settings lists, with its settings
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// The file of conventions [default: SIDEKEY_CONVENTIONS, else those built in]
    #[arg(long, value_name = "FILE")]
    conventions: Option<String>,
    /// Check every reference in a file of JSON; - for standard input
    #[arg(long, value_name = "FILE")]
    from_json: Option<PathBuf>,
    /// Find fault with secrets that no convention names
    #[arg(long)]
    strict: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What is in the way of a check.
struct Mistaken(Vec<String>);

pub(super) async fn run(args: Args) -> ExitCode {
    // A system that refuses leaves this process as open as any other.
    let _ = hardening::harden();
    match checked(&args).await {
        Ok((reports, denied)) => {
            out(&match args.json {
                true => as_json(&reports),
                false => as_table(&reports, denied),
            });
            let is_ok = reports.iter().all(|report| report.ok);
            if is_ok { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) }
        }
        Err(Mistaken(problems)) => {
            problems.iter().for_each(|problem| err(&format!("sidekey: {problem}\n")));
            ExitCode::from(USAGE)
        }
    }
}

/// Checks all, and returns with the reports the policy that would grant what was denied, if any was.
async fn checked(args: &Args) -> Result<(Vec<Report>, Option<String>), Mistaken> {
    let mistaken = |problem: String| Mistaken(vec![problem]);
    let config = configured(args)?;
    let conventions = config.cache.conventions.clone();
    let written = gathered(args, &config, &conventions)?;
    if written.is_empty() {
        return Err(mistaken(
            "nothing to check: give references, or set SIDEKEY_SECRETS".to_owned(),
        ));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let own_account = config.account.map(String::from);
    let tokens = Arc::new(Tokens::new(Vec::new()));
    let own_ports = vec![config.listen.port];
    let source = SecretsManager::prepare(config.source, own_ports, tokens, clock.clone()).await;
    let source = Arc::new(source.map_err(|no_region| mistaken(no_region.to_string()))?);
    let references: Vec<Result<Reference, BadReference>> =
        written.iter().map(|one| Reference::parse(&one.text)).collect();
    let reads = read(&source, &references).await;
    let own_account =
        own_account.or_else(|| account(reads.iter().map(|(key, read)| (&key.id, read))));
    let measure = Measure {
        conventions: &conventions,
        is_strict: args.strict,
        now: clock.now().wall,
        region: source.region(),
        account: own_account.as_deref(),
    };
    let said = |(written, reference): (Written, &Result<Reference, BadReference>)| {
        let read = reference.as_ref().ok().and_then(|reference| reads.get(&key(reference)));
        report(written, reference, read, &measure)
    };
    let reports: Vec<Report> = written.into_iter().zip(&references).map(said).collect();
    let denied =
        reports.iter().filter(|report| report.findings.iter().any(|one| one.grant.is_some()));
    let denied: Vec<&str> = denied.map(|report| &*report.reference).collect();
    let grant = match denied.is_empty() {
        true => None,
        false => policy::least(denied, measure.region, measure.account).ok(),
    };
    Ok((reports, grant.map(|document| document.json())))
}

/// Reads the configuration, of the file that was named where one was.
fn configured(args: &Args) -> Result<Config, Mistaken> {
    let mut vars = Overridden::new(&Environment);
    if let Some(path) = &args.config {
        vars.set(variables::CONFIG_FILE, path);
        // The file's own list is what was asked for.
        vars.unset("SIDEKEY_SECRETS");
    }
    if let Some(path) = &args.conventions {
        vars.set(variables::CONVENTIONS_FILE, path);
    }
    let Loaded { config, mistakes, .. } = config::load(&vars, Host::Standalone);
    match mistakes.is_empty() {
        true => Ok(config),
        false => Err(Mistaken(mistakes.0.iter().map(ToString::to_string).collect())),
    }
}

/// Returns the references that were given, from wherever, each once.
fn gathered(
    args: &Args,
    config: &Config,
    conventions: &Conventions,
) -> Result<Vec<Written>, Mistaken> {
    let mut found = Found::default();
    let mistaken = |bad: found::BadFile| Mistaken(vec![bad.to_string()]);
    for text in &args.references {
        found.add(text, None).map_err(mistaken)?;
    }
    if let Some(path) = &args.from_json {
        let paths = &config.resolving.paths;
        let searched = read_text(path).map_err(|error| error.to_string()).and_then(|text| {
            found.search(&text, paths, conventions).map_err(|bad| bad.to_string())
        });
        searched.map_err(|problem| Mistaken(vec![format!("{}: {problem}", path.display())]))?;
    }
    if args.config.is_some() || (args.references.is_empty() && args.from_json.is_none()) {
        for key in &config.cache.listed {
            found.add(&listed(key), None).map_err(mistaken)?;
        }
    }
    Ok(found.into_all())
}

/// Writes a listed secret as the reference that it was.
fn listed(key: &Key) -> String {
    let id = key.id.as_str();
    if key.selector.is_current() {
        return id.to_owned();
    }
    let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
    format!("{id}::{}:{}", part(key.selector.stage()), part(key.selector.version()))
}

fn key(reference: &Reference) -> Key {
    Key { id: reference.id.clone(), selector: reference.selector.clone() }
}

/// Reads every secret once, with a bar where a person waits for many.
async fn read(
    source: &Arc<SecretsManager>,
    references: &[Result<Reference, BadReference>],
) -> HashMap<Key, Read> {
    let mut keys: Vec<Key> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for reference in references.iter().flatten() {
        let key = key(reference);
        if seen.insert(key.clone()) {
            keys.push(key);
        }
    }
    // It draws on a terminal only.
    let target = match keys.len() < MANY {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(Some(keys.len() as u64), target);
    let reads = read_all(source.clone(), keys, || bar.inc(1)).await;
    bar.finish_and_clear();
    reads
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let stream: Box<dyn io::Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    stream.take(JSON_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > JSON_BYTES_MAX {
        true => Err(io::Error::other(format!("longer than {JSON_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
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

fn as_table(reports: &[Report], grant: Option<String>) -> String {
    let mut rows = Vec::new();
    for report in reports {
        let state = match (report.ok, report.readable) {
            (true, _) => "ok",
            (false, true) => "finding",
            (false, false) => "unreadable",
        };
        let age = report.age_seconds.map(|seconds| age(Duration::from_secs(seconds)));
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let of = |finding: Option<&report::Finding>| {
            finding.map(|finding| {
                Printable(&format!("{}: {}", finding.code, finding.message)).to_string()
            })
        };
        let mut findings = report.findings.iter();
        rows.push(vec![
            state.to_owned(),
            shown(report),
            dash(report.kind.clone()),
            dash(age),
            report.rotation.label().to_owned(),
            of(findings.next()).unwrap_or_default(),
        ]);
        rows.extend(findings.map(|finding| {
            let mut row = vec![String::new(); 5];
            row.extend(of(Some(finding)));
            row
        }));
    }
    let mut text = table(&["STATE", "REFERENCE", "KIND", "AGE", "ROTATION", "FINDINGS"], &rows);
    let with_findings = reports.iter().filter(|report| !report.ok).count();
    text += &format!("\n{} checked, {with_findings} with findings\n", reports.len());
    if let Some(grant) = grant {
        text += &format!("\nThis policy would allow what was denied:\n\n{grant}");
    }
    text
}

/// Returns the reference; where it says nothing, where it stands.
fn shown(report: &Report) -> String {
    match (report.reference.is_empty(), report.places.first()) {
        (true, Some(place)) => Printable(&format!("(at {place})")).to_string(),
        _ => Printable(&report.reference).to_string(),
    }
}

/// Writes an age by its largest unit.
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
    fn ages_are_written_by_their_largest_unit() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (3_600, "1h"), (172_800, "2d")]
        {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_listed_secret_is_written_as_it_was() {
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        for text in ["app/db", arn, &format!("{arn}::AWSPREVIOUS:"), &format!("{arn}:::v1")] {
            let reference = Reference::parse(text).expect("a reference");
            assert_eq!(listed(&key(&reference)), text);
        }
    }
}
