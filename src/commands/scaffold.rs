//! `sidekey scaffold`: creates and updates secrets whose names follow the naming conventions. A
//! convention has the rules for the names and values of one kind of secret.
//!
//! Sidekey itself only reads secrets. The AWS CLI makes all changes.

mod aws_cli;
mod plan;
mod shell;
mod values;

use super::policy::region;
use super::streams::{err, out, print_messages};
use super::table::table;
use super::terminal::fitted;
use crate::clock::SystemClock;
use crate::config::vars::{Environment, Overridden};
use crate::config::{self, variables};
use crate::convention::{Convention, Conventions};
use crate::hardening;
use crate::secret::value::SecretValue;
use aws_cli::{AwsCli, Outcome};
use plan::{CHANNEL, COMPANY, PROJECT, PlanRequest, PlannedSecret, plan};
use serde_json::{Value, json};
use shell::{Operation, command_line, command_words};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use values::Values;

/// The exit code of `sidekey scaffold` if a value is wrong or a command of the AWS CLI failed.
const PROBLEMS: u8 = 1;

/// The exit code of `sidekey scaffold` if an argument is wrong.
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  sidekey scaffold --company acme --project support
  sidekey scaffold --company acme --project support | sh
  sidekey scaffold --company acme --project support --channel whatsapp --run
  sidekey scaffold --update --values values.json --run
  sidekey scaffold --update --values - --run < values.json
  sidekey scaffold --update --values folder/ --company acme --project support | sh

Without --run, the command prints AWS CLI commands for a shell and changes nothing. New secrets get \
dummy values such as PLACEHOLDER_AI_API_KEY. A secret that exists already is not changed.

With --update, values come from a JSON file {\"NAME\": VALUE, ...}, or from a folder with a file \
NAME.json for each secret. Only a folder works without --run. Each value is checked first, and \
nothing is written if any value is wrong. A value never appears on a command line: the AWS CLI reads the \
value from a pipe or a file.

A convention has the rules for the names and values of one kind of secret. Conventions are built in, or \
come from the file that SIDEKEY_CONVENTIONS names. A name may contain placeholders such as {channel}. \
If a name has no {channel}, the kind of secret begins with the channel: whatsapp-twilio belongs to whatsapp.

Exit codes: 0 all commands were printed, or succeeded; 1 a value is wrong, or a command failed; 2 an \
argument is wrong.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Set the value of the placeholder {company_name} in secret names
    #[arg(long)]
    company: Option<String>,
    /// Set the value of the placeholder {project_name} in secret names
    #[arg(long)]
    project: Option<String>,
    /// Select only secrets for these message channels, such as whatsapp [default: all]
    #[arg(long = "channel", value_delimiter = ',', value_name = "CHANNEL")]
    channels: Vec<String>,
    /// Select only this kind of secret, such as sms-twilio; repeatable [default: every kind]
    #[arg(long = "kind", value_delimiter = ',', value_name = "KIND")]
    kinds: Vec<String>,
    /// Set the value of a placeholder in secret names
    #[arg(long = "set", value_name = "PLACEHOLDER=VALUE", value_parser = placeholder_value)]
    set: Vec<(String, String)>,
    /// Read conventions (rules for names and values of secrets) from FILE [default:
    /// SIDEKEY_CONVENTIONS, else the built-in conventions]
    #[arg(long, value_name = "FILE")]
    conventions: Option<String>,
    /// Set the region of the secrets [default: the AWS CLI's region]
    #[arg(long, value_parser = region)]
    region: Option<String>,
    /// Update existing secrets instead of creating new secrets
    #[arg(long, requires = "values")]
    update: bool,
    /// Read the new values from a JSON file or folder; - reads stdin
    #[arg(long, value_name = "FILE|FOLDER", requires = "update")]
    values: Option<PathBuf>,
    /// Also write dummy values such as PLACEHOLDER_KEY
    #[arg(long, requires = "update")]
    allow_placeholders: bool,
    /// Run the AWS CLI commands instead of printing them
    #[arg(long)]
    run: bool,
    /// Run this program as the AWS CLI
    #[arg(long, value_name = "PROGRAM", default_value = "aws")]
    aws: OsString,
    /// Write JSON with each secret and its command or outcome
    #[arg(long)]
    json: bool,
}

/// An AWS CLI command that creates or updates one secret. `sidekey scaffold` prints or runs this
/// command.
struct Step<'a> {
    operation: Operation,
    kind: &'a str,
    name: String,
    /// The argument that passes the secret's value in the printed command. `None` if the value is
    /// inside a larger JSON file, from which the AWS CLI cannot read one value.
    printed_value: Option<String>,
    value: SecretValue,
}

struct Failure {
    messages: Vec<String>,
    code: u8,
}

impl Failure {
    fn usage(messages: Vec<String>) -> Self {
        Self { messages, code: USAGE }
    }
}

pub(super) async fn run(args: Args) -> ExitCode {
    // A failure is ignored: if the system cannot protect the memory of this process, the command
    // still works.
    let _ = hardening::harden();
    let result = match conventions(&args) {
        Ok(conventions) => scaffold(&args, &conventions).await,
        Err(failure) => Err(failure),
    };
    result.unwrap_or_else(|Failure { messages, code }| {
        print_messages(&messages);
        ExitCode::from(code)
    })
}

/// Loads the naming conventions: the rules for the names and values of secrets. Ignores mistakes in
/// other settings.
fn conventions(args: &Args) -> Result<Arc<Conventions>, Failure> {
    let mut vars = Overridden::new(&Environment);
    if let Some(path) = &args.conventions {
        vars.set(variables::CONVENTIONS_FILE, path);
    }
    config::conventions(&vars)
        .map_err(|mistakes| Failure::usage(mistakes.0.iter().map(ToString::to_string).collect()))
}

/// Prints one AWS CLI command for each secret, or runs the commands if the user gave `--run`.
async fn scaffold(args: &Args, conventions: &Conventions) -> Result<ExitCode, Failure> {
    let steps = match &args.values {
        Some(path) => {
            let values = Values::read(path)
                .map_err(|bad| Failure::usage(vec![format!("{}: {bad}", path.display())]))?;
            updates(args, conventions, &values)?
        }
        None => creations(args, conventions)?,
    };
    match args.run {
        true => Ok(run_steps(args, &steps).await),
        false => print_steps(args, &steps).map(|()| ExitCode::SUCCESS),
    }
}

fn print_steps(args: &Args, steps: &[Step<'_>]) -> Result<(), Failure> {
    let mut commands = Vec::new();
    for step in steps {
        let Some(value) = &step.printed_value else {
            return Err(Failure::usage(vec![
                "a printed command cannot refer to a value inside a JSON file; use --run, or a \
                 folder with a file NAME.json for each secret"
                    .to_owned(),
            ]));
        };
        commands.push(command(args, step, value));
    }
    if args.json {
        let secrets = steps
            .iter()
            .zip(&commands)
            .map(|(step, command)| json!({ "kind": step.kind, "name": step.name, "command": command }))
            .collect();
        out(&as_json(secrets));
    } else {
        commands.iter().for_each(|command| out(&format!("{command}\n")));
    }
    Ok(())
}

fn command(args: &Args, step: &Step<'_>, value: &str) -> String {
    let program = args.aws.to_string_lossy();
    let region = args.region.as_deref();
    command_line(&command_words(step.operation, &program, &step.name, value, region))
}

fn as_json(secrets: Vec<Value>) -> String {
    format!("{:#}\n", json!({ "secrets": secrets }))
}

fn creations<'a>(args: &Args, conventions: &'a Conventions) -> Result<Vec<Step<'a>>, Failure> {
    let steps = planned_secrets(args, conventions)?.into_iter().map(|secret| {
        let fields = secret.convention.placeholder_value(&secret.placeholder_values);
        let value = Value::Object(fields).to_string();
        Step {
            operation: Operation::Create,
            kind: secret.convention.kind(),
            name: secret.name,
            printed_value: Some(value.clone()),
            value: value.into(),
        }
    });
    Ok(steps.collect())
}

fn planned_secrets<'a>(
    args: &Args,
    conventions: &'a Conventions,
) -> Result<Vec<PlannedSecret<'a>>, Failure> {
    let named = [(COMPANY, &args.company), (PROJECT, &args.project)]
        .into_iter()
        .filter_map(|(placeholder, value)| Some((placeholder.to_owned(), value.clone()?)));
    let request = PlanRequest {
        kinds: args.kinds.clone(),
        channels: args.channels.clone(),
        // If `--set` and another option set the same placeholder, the value of `--set` is used.
        values: named.chain(args.set.clone()).collect(),
    };
    plan(conventions, &request)
        .map_err(|problems| Failure::usage(problems.iter().map(ToString::to_string).collect()))
}

/// Returns an AWS CLI command for each secret to update. If a new value is wrong, returns only
/// error messages, so that no secret is updated.
fn updates<'a>(
    args: &Args,
    conventions: &'a Conventions,
    values: &Values,
) -> Result<Vec<Step<'a>>, Failure> {
    let mut problems = Vec::new();
    let targets = match is_selective(args, values) {
        true => selected_targets(args, conventions, values, &mut problems)?,
        false => targets_of_file(conventions, values, &mut problems),
    };
    let mut steps = Vec::new();
    for (name, convention) in targets {
        match values.value(&name, convention, args.allow_placeholders) {
            Ok(value) => {
                let path = values.path(&name);
                steps.push(Step {
                    operation: Operation::Update,
                    kind: convention.kind(),
                    name,
                    printed_value: path.map(|path| format!("file://{}", path.display())),
                    value,
                });
            }
            Err(errors) => problems.extend(errors.iter().map(|error| format!("{name}: {error}"))),
        }
    }
    match problems.is_empty() {
        true => Ok(steps),
        false => Err(Failure { messages: problems, code: PROBLEMS }),
    }
}

/// Returns whether the command updates only the secrets that arguments such as `--kind` select. If
/// not, the command updates all secrets in the JSON file of new values.
fn is_selective(args: &Args, values: &Values) -> bool {
    matches!(values, Values::Folder(_))
        || args.company.is_some()
        || args.project.is_some()
        || !(args.channels.is_empty() && args.kinds.is_empty() && args.set.is_empty())
}

/// Returns the secrets that arguments such as `--kind` select. Adds an error message to `problems`
/// for each secret that has a value in the JSON file but is not selected.
fn selected_targets<'a>(
    args: &Args,
    conventions: &'a Conventions,
    values: &Values,
    problems: &mut Vec<String>,
) -> Result<Vec<(String, &'a Convention)>, Failure> {
    let planned = planned_secrets(args, conventions)?;
    for name in values.names() {
        if !planned.iter().any(|secret| secret.name == *name) {
            problems.push(format!(
                "{name}: the file has a value for this secret, but the arguments of the command do not select this secret"
            ));
        }
    }
    Ok(planned.into_iter().map(|secret| (secret.name, secret.convention)).collect())
}

/// Returns the secrets whose names are keys in the JSON file of new values. Adds an error message
/// to `problems` for each name that matches no naming convention.
fn targets_of_file<'a>(
    conventions: &'a Conventions,
    values: &Values,
    problems: &mut Vec<String>,
) -> Vec<(String, &'a Convention)> {
    let mut targets = Vec::new();
    for name in values.names() {
        match conventions.of_name(name) {
            Some((convention, _)) => targets.push((name.to_owned(), convention)),
            None => {
                problems.push(format!("{name}: the secret's name matches no naming convention; correct the name in the file of values"))
            }
        }
    }
    targets
}

/// Runs the AWS CLI commands one after another. Prints the progress to standard error, and a
/// summary to standard output.
async fn run_steps(args: &Args, steps: &[Step<'_>]) -> ExitCode {
    let clock = SystemClock::new();
    let cli = AwsCli { program: args.aws.clone(), region: args.region.clone(), clock: &clock };
    let mut results = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let outcome = cli.run(step.operation, &step.name, &step.value).await;
        err(&format!("{}/{} {}: {}\n", index + 1, steps.len(), step.name, outcome.label()));
        results.push((step, outcome));
    }
    out(&match args.json {
        true => as_json(results.iter().map(|(step, outcome)| result_json(step, outcome)).collect()),
        false => {
            let rows: Vec<_> =
                results.iter().map(|(step, outcome)| result_row(step, outcome)).collect();
            fitted(&table(&["OUTCOME", "KIND", "NAME", ""], &rows))
        }
    });
    match results.iter().all(|(_, outcome)| outcome.is_good()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(PROBLEMS),
    }
}

fn result_json(step: &Step<'_>, outcome: &Outcome) -> Value {
    json!({
        "kind": step.kind,
        "name": step.name,
        "outcome": outcome.label(),
        "why": explanation(outcome),
    })
}

fn result_row(step: &Step<'_>, outcome: &Outcome) -> Vec<String> {
    vec![outcome.label().to_owned(), step.kind.to_owned(), step.name.clone(), explanation(outcome)]
}

/// Returns the reason why the AWS CLI command did not create or update the secret. Returns an empty
/// string after success.
fn explanation(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(reason) => reason.clone(),
        Outcome::Exists => {
            "the secret exists and was not changed; use --update to change the value".to_owned()
        }
        Outcome::Missing => {
            "the secret does not exist; create it first, without --update".to_owned()
        }
        Outcome::Created | Outcome::Updated => String::new(),
    }
}

fn placeholder_value(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, _)) if name == CHANNEL => {
            Err("the placeholder 'channel' has its own option; use --channel instead of --set")
        }
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected PLACEHOLDER=VALUE"),
    }
}
