//! `sidekey scaffold`: the secrets that conventions ask for, made and filled through the AWS CLI.
//! Sidekey itself only ever reads.

mod aws_cli;
mod plan;
mod shell;
mod values;

use super::policy::region;
use super::streams::{err, out};
use super::table::table;
use crate::clock::SystemClock;
use crate::config::vars::{Environment, Overridden};
use crate::config::{self, variables};
use crate::convention::{Convention, Conventions};
use crate::hardening;
use crate::secret::value::SecretValue;
use aws_cli::{AwsCli, Outcome};
use plan::{Asked, CHANNEL, COMPANY, PROJECT, plan};
use serde_json::{Value, json};
use shell::{Deed, line, words};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use values::Values;

/// The exit codes.
const PROBLEMS: u8 = 1;
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  sidekey scaffold --company acme --project support
  sidekey scaffold --company acme --project support | sh
  sidekey scaffold --company acme --project support --channel whatsapp --run
  sidekey scaffold --update --values values.json --run
  sidekey scaffold --update --values - --run < values.json
  sidekey scaffold --update --values folder/ --company acme --project support | sh

Without --run the commands are written for a shell, and nothing is done. New secrets get
placeholders. One that is there already is left as it is, and said to be so.

With --update, values come from a JSON file {\"NAME\": VALUE, ...}, or from a folder with a file
NAME.json for each secret; only then can the commands be written without --run. Each value is looked
over by the convention of its name, and nothing is written where one is wrong. No value is ever on a
command line: the AWS CLI gets it through a pipe.

Conventions are the built-in ones and those of the file that SIDEKEY_CONVENTIONS names. One without
a placeholder 'channel' is of the channel by which its kind begins.

Exit codes: 0 the commands were written, or have done what they were to do; 1 a value is wrong, or a
command failed; 2 a mistake in what was given.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The company, for {company_name}
    #[arg(long)]
    company: Option<String>,
    /// The project, for {project_name}
    #[arg(long)]
    project: Option<String>,
    /// Only these channels [default: all]
    #[arg(long = "channel", value_delimiter = ',', value_name = "CHANNEL")]
    channels: Vec<String>,
    /// Only this kind of secrets; may be given more than once [default: every kind]
    #[arg(long = "kind", value_delimiter = ',', value_name = "KIND")]
    kinds: Vec<String>,
    /// The value of another placeholder of a convention's
    #[arg(long = "set", value_name = "PLACEHOLDER=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// The file of conventions [default: SIDEKEY_CONVENTIONS, else those built in]
    #[arg(long, value_name = "FILE")]
    conventions: Option<String>,
    /// The region that the secrets are in [default: what the AWS CLI finds]
    #[arg(long, value_parser = region)]
    region: Option<String>,
    /// Give secrets that are there their values, instead of making new ones
    #[arg(long, requires = "values")]
    update: bool,
    /// The values: a JSON file, - for standard input, or a folder
    #[arg(long, value_name = "FILE|FOLDER", requires = "update")]
    values: Option<PathBuf>,
    /// Write placeholders too
    #[arg(long, requires = "update")]
    allow_placeholders: bool,
    /// Run the commands
    #[arg(long)]
    run: bool,
    /// The AWS CLI
    #[arg(long, value_name = "PROGRAM", default_value = "aws")]
    aws: OsString,
    /// Write JSON: of each secret its kind and name, and its command or its outcome
    #[arg(long)]
    json: bool,
}

/// A command that is to be written or run.
struct Step<'a> {
    deed: Deed,
    kind: &'a str,
    name: String,
    /// What a written command has in the place of the value; nothing, where it can only be run.
    written: Option<String>,
    value: SecretValue,
}

/// Why nothing was done: what is told, and the exit code.
struct Failure {
    told: Vec<String>,
    code: u8,
}

impl Failure {
    fn usage(told: Vec<String>) -> Self {
        Self { told, code: USAGE }
    }
}

pub(super) async fn run(args: Args) -> ExitCode {
    // A system that refuses leaves this process as open as any other.
    let _ = hardening::harden();
    let done = match conventions(&args) {
        Ok(conventions) => carried_out(&args, &conventions).await,
        Err(failure) => Err(failure),
    };
    done.unwrap_or_else(|Failure { told, code }| {
        told.iter().for_each(|problem| err(&format!("sidekey: {problem}\n")));
        ExitCode::from(code)
    })
}

/// Returns the conventions that hold. A mistake in another setting is the agent's own matter.
fn conventions(args: &Args) -> Result<Arc<Conventions>, Failure> {
    let mut vars = Overridden::new(&Environment);
    if let Some(path) = &args.conventions {
        vars.set(variables::CONVENTIONS_FILE, path);
    }
    config::conventions(&vars)
        .map_err(|mistakes| Failure::usage(mistakes.0.iter().map(ToString::to_string).collect()))
}

async fn carried_out(args: &Args, conventions: &Conventions) -> Result<ExitCode, Failure> {
    let steps = match &args.values {
        Some(path) => {
            let values = Values::read(path)
                .map_err(|bad| Failure::usage(vec![format!("{}: {bad}", path.display())]))?;
            updates(args, conventions, &values)?
        }
        None => creations(args, conventions)?,
    };
    if args.run {
        return Ok(ran(args, &steps).await);
    }
    let written: Option<Vec<String>> = steps
        .iter()
        .map(|step| step.written.as_ref().map(|value| command(args, step, value)))
        .collect();
    let Some(written) = written else {
        let told = "a command cannot refer to a value inside a file: give --run, or a folder with a \
                    file NAME.json for each secret";
        return Err(Failure::usage(vec![told.to_owned()]));
    };
    match args.json {
        true => {
            let told = |(step, command): (&Step<'_>, &String)| json!({ "kind": step.kind, "name": step.name, "command": command });
            out(&listed(steps.iter().zip(&written).map(told).collect()));
        }
        false => written.iter().for_each(|command| out(&format!("{command}\n"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn command(args: &Args, step: &Step<'_>, value: &str) -> String {
    let program = args.aws.to_string_lossy();
    line(&words(step.deed, &program, &step.name, value, args.region.as_deref()))
}

fn listed(secrets: Vec<Value>) -> String {
    format!("{:#}\n", json!({ "secrets": secrets }))
}

fn asked(args: &Args) -> Asked {
    let own = [(COMPANY, &args.company), (PROJECT, &args.project)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    Asked {
        kinds: args.kinds.clone(),
        channels: args.channels.clone(),
        values: own.chain(args.set.clone()).collect(),
    }
}

/// Returns a step for each secret that is to be made.
fn creations<'a>(args: &Args, conventions: &'a Conventions) -> Result<Vec<Step<'a>>, Failure> {
    let planned = planned(args, conventions)?;
    let step = |one: plan::Planned<'a>| {
        let value = Value::Object(one.convention.placeholder_value(&one.bindings)).to_string();
        Step {
            deed: Deed::Create,
            kind: one.convention.kind(),
            name: one.name,
            written: Some(value.clone()),
            value: value.into(),
        }
    };
    Ok(planned.into_iter().map(step).collect())
}

fn planned<'a>(
    args: &Args,
    conventions: &'a Conventions,
) -> Result<Vec<plan::Planned<'a>>, Failure> {
    plan(conventions, &asked(args))
        .map_err(|problems| Failure::usage(problems.iter().map(ToString::to_string).collect()))
}

/// Returns a step for each secret that is to get its value, or everything that is wrong with the
/// values.
fn updates<'a>(
    args: &Args,
    conventions: &'a Conventions,
    values: &Values,
) -> Result<Vec<Step<'a>>, Failure> {
    let mut problems = Vec::new();
    let is_planned = matches!(values, Values::Folder(_))
        || args.company.is_some()
        || args.project.is_some()
        || !(args.channels.is_empty() && args.kinds.is_empty() && args.set.is_empty());
    let targets: Vec<(String, &Convention)> = if is_planned {
        let planned = planned(args, conventions)?;
        let is_asked = |name: &&str| planned.iter().any(|one| one.name == *name);
        let others = values.names().filter(|name| !is_asked(name));
        problems.extend(others.map(|name| format!("{name}: it was not asked for")));
        planned.into_iter().map(|one| (one.name, one.convention)).collect()
    } else {
        let mut targets = Vec::new();
        for name in values.names() {
            match conventions.of_name(name) {
                Some((convention, _)) => targets.push((name.to_owned(), convention)),
                None => problems.push(format!("{name}: no convention has such names")),
            }
        }
        targets
    };
    let mut steps = Vec::new();
    for (name, convention) in targets {
        match values.value(&name, convention, args.allow_placeholders) {
            Ok(value) => {
                let path = values.path(&name);
                let written = path.map(|path| format!("file://{}", path.display()));
                let kind = convention.kind();
                steps.push(Step { deed: Deed::Update, kind, name, written, value });
            }
            Err(refused) => problems.extend(refused.iter().map(|why| format!("{name}: {why}"))),
        }
    }
    match problems.is_empty() {
        true => Ok(steps),
        false => Err(Failure { told: problems, code: PROBLEMS }),
    }
}

/// Runs every command, says of each what became of it, and sums up.
async fn ran(args: &Args, steps: &[Step<'_>]) -> ExitCode {
    let clock = SystemClock::new();
    let cli = AwsCli { program: args.aws.clone(), region: args.region.clone(), clock: &clock };
    let mut outcomes = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let outcome = cli.run(step.deed, &step.name, &step.value).await;
        err(&format!("{}/{} {}: {}\n", number + 1, steps.len(), step.name, outcome.label()));
        outcomes.push(outcome);
    }
    let why = |outcome: &Outcome| match outcome {
        Outcome::Failed(why) => why.clone(),
        Outcome::Exists => "left as it is; --update gives it a value".to_owned(),
        Outcome::Missing => "make it first, without --update".to_owned(),
        Outcome::Created | Outcome::Updated => String::new(),
    };
    let both = || steps.iter().zip(&outcomes);
    out(&match args.json {
        true => {
            let told = |(step, outcome): (&Step<'_>, &Outcome)| {
                let (kind, name, label) = (step.kind, &step.name, outcome.label());
                json!({ "kind": kind, "name": name, "outcome": label, "why": why(outcome) })
            };
            listed(both().map(told).collect())
        }
        false => {
            let row = |(step, outcome): (&Step<'_>, &Outcome)| {
                vec![
                    outcome.label().to_owned(),
                    step.kind.to_owned(),
                    step.name.clone(),
                    why(outcome),
                ]
            };
            table(&["OUTCOME", "KIND", "NAME", ""], &both().map(row).collect::<Vec<_>>())
        }
    });
    match outcomes.iter().all(Outcome::is_good) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(PROBLEMS),
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, _)) if name == CHANNEL => Err("give --channel"),
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("PLACEHOLDER=VALUE expected"),
    }
}
