//! `sidekey policy`: the least IAM policy for reading some secrets, and what another one lacks or
//! grants beyond it.

mod arn_pattern;
mod document;
mod granted;
mod iam_glob;
mod key_arn;
mod verify;

use super::streams::{err, out};
use super::table::table;
use crate::config::vars::Environment;
use crate::config::{self, Host, Loaded};
use crate::secret::arn::{is_region, partition_of};
use arn_pattern::{BadTarget, Place, arn_pattern, doubt};
pub(super) use document::Document;
use document::{SAM_PLACE, Statement, statements};
use key_arn::KeyArn;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use verify::Verdict;

/// The exit codes.
const FINDINGS: u8 = 1;
const USAGE: u8 = 2;

/// The most bytes of a policy that is verified: an account's longest come nowhere near.
const POLICY_BYTES_MAX: u64 = 1024 * 1024;

/// The longest beginning of a statement's `Sid`.
const NAME_CHARS_MAX: usize = 64;

const EXAMPLES: &str = "\
Examples:
  sidekey policy 'whatsapp-credentials/*/*/twilio' openai-api-key/whatsapp \\
      --account 123456789012 --region eu-north-1
  aws iam put-role-policy --role-name R --policy-name sidekey \\
      --policy-document \"$(sidekey policy app/db --account 123456789012 --region eu-north-1)\"
  sidekey policy --terraform app/db
  aws iam get-role-policy --role-name R --policy-name P |
      sidekey policy --verify - app/db --account 123456789012 --region eu-north-1

A name is granted with -?????? behind it, which is the suffix that Secrets Manager appends, and
nothing else. A * of Sidekey's stays within one path segment; IAM's crosses /, so that what a
pattern grants may be more than SIDEKEY_ALLOW lets through.

With --verify, a policy is judged by itself and with doubt against it: what is granted only under
a condition, by NotAction or by NotResource counts as lacking, and so does what a Deny may take
away. Actions of other services than Secrets Manager and KMS are not judged.

Exit codes: 0 the policy was written, or is exact; 1 it lacks something, or grants more than is
needed; 2 a mistake in what was given.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Secrets: names, ARNs, or patterns as SIDEKEY_ALLOW has them [default: those of
    /// SIDEKEY_SECRETS]
    #[arg(value_name = "REFERENCE|PATTERN")]
    targets: Vec<String>,
    /// The account that names are in [default: AWS_ACCOUNT_ID]
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
    /// The region that names are in [default: SIDEKEY_REGION, else AWS_REGION]
    #[arg(long, value_parser = region)]
    region: Option<String>,
    /// ARN of a KMS key by which secrets are encrypted; may be given more than once
    #[arg(long = "kms-key", value_name = "ARN")]
    keys: Vec<KeyArn>,
    /// Allow the prefetch in batches too: for SIDEKEY_PREFETCH batch or auto
    #[arg(long)]
    batch: bool,
    /// Write a data source of Terraform's
    #[arg(long, conflicts_with = "sam")]
    terraform: bool,
    /// Write the Policies of a function in a SAM template
    #[arg(long)]
    sam: bool,
    /// How each statement's Sid begins; in small letters, what Terraform's data source is called
    #[arg(long, value_name = "SID", default_value = "Sidekey", value_parser = sid)]
    name: String,
    /// Judge the policy in this file (- for standard input), in any form in which `aws iam` prints
    /// one, instead of writing one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["terraform", "sam"])]
    verify: Option<PathBuf>,
    /// Write the judgement as JSON
    #[arg(long, requires = "verify")]
    json: bool,
}

pub(super) fn run(args: Args) -> ExitCode {
    let Loaded { config, mistakes, .. } = config::load(&Environment, Host::Standalone);
    let listed = || {
        let listed = config.cache.listed.iter();
        listed.map(|key| key.id.as_str().to_owned()).collect()
    };
    let targets: Vec<String> =
        if args.targets.is_empty() { listed() } else { args.targets.clone() };
    if targets.is_empty() {
        for mistake in &mistakes.0 {
            err(&format!("sidekey: {mistake}\n"));
        }
        err("sidekey: give references or patterns, or set SIDEKEY_SECRETS\n");
        return ExitCode::from(USAGE);
    }
    let known = |name: &str| config.source.environment.get(name).cloned();
    let default_region = config.source.region.or_else(|| known("AWS_REGION"));
    let default_region = default_region.or_else(|| known("AWS_DEFAULT_REGION"));
    let place = place(&args, default_region, config.account.map(Into::into));
    let arns = match arns(&targets, &place) {
        Ok(arns) => arns,
        Err(problems) => {
            problems.iter().for_each(|problem| err(&format!("sidekey: {problem}\n")));
            return ExitCode::from(USAGE);
        }
    };
    for doubt in targets.iter().filter_map(|target| doubt(target)) {
        err(&format!("sidekey: {doubt}\n"));
    }
    let least = statements(&args.name, arns, &args.keys, args.batch);
    match &args.verify {
        Some(path) => verified(path, &least, args.json),
        None => {
            write(&args, &least);
            ExitCode::SUCCESS
        }
    }
}

/// Returns the least policy for reading some secrets. Where the account is not known, it is for any:
/// a role can read another account's secrets only if those allow it.
pub(super) fn least<'a>(
    targets: impl IntoIterator<Item = &'a str>,
    region: &str,
    account: Option<&str>,
) -> Result<Document, BadTarget> {
    let place = Place {
        partition: Some(partition_of(region).to_owned()),
        region: Some(region.to_owned()),
        account: Some(account.unwrap_or("*").to_owned()),
    };
    let arns: Vec<String> =
        targets.into_iter().map(|target| arn_pattern(target, &place)).collect::<Result<_, _>>()?;
    Ok(Document::of(&statements("Sidekey", arns, &[], false)))
}

/// Writes the policy, and what is to be known of its size.
fn write(args: &Args, least: &[Statement]) {
    let document = Document::of(least);
    let label = args.name.to_ascii_lowercase();
    match (args.terraform, args.sam) {
        (true, _) => out(&document::terraform(least, &label)),
        (_, true) => out(&document::sam(least)),
        _ => out(&document.json()),
    }
    let filled_in = if args.terraform { terraform_place(&label) } else { sam_place() };
    if let Some(warning) = document.size_warning(&filled_in) {
        err(&format!("sidekey: {warning}\n"));
    }
}

/// Judges the policy in a file, and says how it stands.
fn verified(path: &Path, least: &[Statement], is_json: bool) -> ExitCode {
    let judged = read(path)
        .map_err(|error| error.to_string())
        .and_then(|text| granted::parse(&text).map_err(|bad| bad.to_string()))
        .map(|policy| verify::verify(&policy, least));
    let verdict = match judged {
        Ok(verdict) => verdict,
        Err(problem) => {
            err(&format!("sidekey: {}: {problem}\n", path.display()));
            return ExitCode::from(USAGE);
        }
    };
    out(&match is_json {
        true => serde_json::to_string_pretty(&verdict).expect("it has texts only") + "\n",
        false => told(&verdict),
    });
    if verdict.is_exact() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) }
}

/// Returns where names are: what is given, what is configured, and for a template what it fills in.
fn place(args: &Args, region: Option<String>, account: Option<String>) -> Place {
    let label = args.name.to_ascii_lowercase();
    let filled_in = match (args.terraform, args.sam) {
        (true, _) => Some(terraform_place(&label)),
        (_, true) => Some(sam_place()),
        _ => None,
    };
    let given = args.region.clone();
    match filled_in {
        // A template is for wherever it is deployed, and not for where it was written.
        Some([(partition, _), (any_region, _), (any_account, _)]) => Place {
            partition: Some(match &given {
                Some(region) => partition_of(region).to_owned(),
                None => partition,
            }),
            region: Some(given.unwrap_or(any_region)),
            account: Some(args.account.clone().unwrap_or(any_account)),
        },
        None => {
            let region = given.or(region);
            Place {
                partition: region.as_deref().map(|region| partition_of(region).to_owned()),
                region,
                account: args.account.clone().or(account),
            }
        }
    }
}

/// What a template fills in for partition, region and account, each with a sample of what it comes
/// to.
type FilledIn = [(String, &'static str); 3];

fn sam_place() -> FilledIn {
    SAM_PLACE.map(|(expression, sample)| (expression.to_owned(), sample))
}

/// Terraform's data sources have one name, so that they do not clash with those that are there.
fn terraform_place(label: &str) -> FilledIn {
    [
        (format!("${{data.aws_partition.{label}.partition}}"), "aws"),
        // The one attribute that the provider's versions 5 and 6 share.
        (format!("${{data.aws_region.{label}.id}}"), "eu-north-1"),
        (format!("${{data.aws_caller_identity.{label}.account_id}}"), "123456789012"),
    ]
}

/// Returns the ARN patterns of all, or what is wrong with each that has none.
fn arns(targets: &[String], place: &Place) -> Result<Vec<String>, Vec<String>> {
    let (mut arns, mut problems) = (Vec::new(), Vec::new());
    for target in targets {
        match arn_pattern(target, place) {
            Ok(arn) => arns.push(arn),
            Err(bad) => problems.push(format!("'{target}': {bad}")),
        }
    }
    if problems.is_empty() { Ok(arns) } else { Err(problems) }
}

/// Tells a person how a policy stands.
fn told(verdict: &Verdict) -> String {
    let lacks = verdict.lacks.iter().map(|lack| {
        vec![
            "lacks".to_owned(),
            lack.action.to_owned(),
            lack.resource.clone(),
            lack.why.to_string(),
        ]
    });
    let beyond = verdict.beyond.iter().map(|one| {
        let condition = if one.is_conditional { ", under a condition" } else { "" };
        let why = format!("{}: {}{condition}", one.statement, one.why);
        vec!["beyond".to_owned(), one.action.clone(), one.resource.clone(), why]
    });
    let rows: Vec<Vec<String>> = lacks.chain(beyond).collect();
    let mut text = match rows.is_empty() {
        true => "The policy grants what is needed, and nothing else.\n".to_owned(),
        false => table(&["", "ACTION", "RESOURCE", "WHY"], &rows),
    };
    if !verdict.not_judged.is_empty() {
        text += &format!("Not judged: {}\n", verdict.not_judged.join(", "));
    }
    text
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let stream: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    stream.take(POLICY_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > POLICY_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {POLICY_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn account(text: &str) -> Result<String, &'static str> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_account { Ok(text.to_owned()) } else { Err("12 digits expected") }
}

pub(super) fn region(text: &str) -> Result<String, &'static str> {
    if is_region(text) { Ok(text.to_owned()) } else { Err("a region like eu-north-1 expected") }
}

/// Source: `Sid` in AWS's IAM user guide (letters and digits); a name of Terraform's begins with a
/// letter.
fn sid(text: &str) -> Result<String, &'static str> {
    let is_sid = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= NAME_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_sid { Ok(text.to_owned()) } else { Err("up to 64 letters and digits expected") }
}
