//! `sidekey status`: displays the cached secrets of a running agent, and the state of the agent.

mod colour;
mod columns;
mod counters;
mod page;
mod report;
mod screen;
mod secrets;
mod summary;
#[cfg(test)]
mod tests;

use super::agent_file;
use super::streams::print_messages;
use super::terminal::{size, wrapped, wrapped_lines};
use crate::client::status::{Pages, PagesError};
use crate::client::{Client, ClientError};
use crate::clock::{Clock, SystemClock, within};
use crate::config::Host;
use crate::config::contact::{Contact, contact};
use crate::config::vars::Environment;
use counters::Counters;
use page::Page;
use report::Report;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// The exit code of `sidekey status` if a required secret is not cached.
const MISSING: u8 = 1;

/// The exit code of `sidekey status` if no agent answered, or if a setting is wrong.
const USAGE: u8 = 2;

/// How long `sidekey status` waits for the answers of the agent.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The range of the time between two updates of `sidekey status --watch`, in seconds.
const WATCH_SECONDS: std::ops::RangeInclusive<f64> = 0.1..=3600.0;

const EXAMPLES: &str = "\
Examples:
  sidekey status
  sidekey status --watch
  sidekey status --json | jq -r '.secrets[] | select(.lastError) | .name'

The command asks the agent at SIDEKEY_PORT or SIDEKEY_SOCKET, with the token of SIDEKEY_TOKEN. Values \
are never shown. If the terminal is narrow, the command omits columns; --json always has all data.

With --watch, the command redraws the table until you press Ctrl-C. If the output is not a terminal, \
the command appends each table instead, or with --json one line.

docs/status.schema.json describes the output of --json. Set NO_COLOR=1 to turn colours off.

Exit codes: 0 all required secrets are cached; 1 a required secret is not cached; 2 no agent answered, \
or an argument or setting is wrong.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Repeat every 2 seconds, or every SECONDS seconds
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = interval
    )]
    watch: Option<Duration>,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| WATCH_SECONDS.contains(seconds));
    let (min, max) = (WATCH_SECONDS.start(), WATCH_SECONDS.end());
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("expected a number of seconds from {min} to {max}"))
}

pub(super) async fn run(args: Args) -> ExitCode {
    let contact = match contact(&Environment, Host::Standalone) {
        Ok(contact) => contact,
        Err(mistakes) => {
            print_messages(&mistakes.0);
            return ExitCode::from(USAGE);
        }
    };
    let contact = contact.or_generated(agent_file::token);
    let clock = SystemClock::new();
    match args.watch {
        None => once(&contact, &clock, args.json).await,
        Some(interval) => watch(contact, &clock, interval, args.json).await,
    }
}

async fn once(contact: &Contact, clock: &SystemClock, is_json: bool) -> ExitCode {
    let report = match report(contact, clock).await {
        Ok(report) => report,
        Err(message) => {
            print_messages(&[message]);
            return ExitCode::from(USAGE);
        }
    };
    // A closed pipe is not an error: the reading program needs no more data.
    let _ = write(&text(&report, clock.now().wall, is_json));
    match report.ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(MISSING),
    }
}

/// Writes a report again and again, until the output is closed.
async fn watch(
    mut contact: Contact,
    clock: &SystemClock,
    interval: Duration,
    is_json: bool,
) -> ExitCode {
    loop {
        // A new agent at the same port generates a new token.
        contact = contact.or_generated(agent_file::token);
        let text = match report(&contact, clock).await {
            Ok(report) => text(&report, clock.now().wall, is_json),
            // The agent may start later.
            Err(message) if io::stdout().is_terminal() => format!("sidekey: {message}\n"),
            Err(message) => {
                print_messages(&[message]);
                String::new()
            }
        };
        let text = match size() {
            _ if is_json => text,
            Some((_, height)) => screen::frame(&text, height),
            None => text + "\n",
        };
        if write(&text).is_err() {
            return ExitCode::SUCCESS;
        }
        clock.sleep(interval).await;
    }
}

/// Asks the agent for its state. Returns an error message for the user if no agent answers.
async fn report(contact: &Contact, clock: &SystemClock) -> Result<Report, String> {
    let Contact { address, token, .. } = contact;
    let pages = within(clock, WAIT_MAX, Client::pages(address, token.as_ref()));
    let Pages { status, metrics } = match pages.await {
        Some(Ok(pages)) => pages,
        Some(Err(error)) => return Err(explained(&error, token.is_some())),
        None => return Err(format!("the agent at {address} did not answer within {WAIT_MAX:?}")),
    };
    let page: Page = serde_json::from_str(&status).map_err(|error| {
        format!(
            "the answer at {address} is not the status of an agent of this version: {error}; \
             check SIDEKEY_PORT"
        )
    })?;
    let now = clock.now().wall;
    Ok(Report::of(page, Counters::parse(&metrics), address.to_string(), now))
}

/// Returns an error message that also says what the user can do.
fn explained(error: &PagesError, has_token: bool) -> String {
    match error {
        PagesError::NoAnswer(ClientError::NoAgent(..)) => format!(
            "{error}; start an agent with `sidekey serve` or `sidekey dev`, or set SIDEKEY_PORT to \
             the agent's port"
        ),
        PagesError::WrongToken if has_token => {
            format!("{error}; set SIDEKEY_TOKEN to the agent's token")
        }
        PagesError::WrongToken => {
            "no token is configured; set SIDEKEY_TOKEN to the agent's token".to_owned()
        }
        PagesError::NotSidekey(_) => format!("{error}; set SIDEKEY_PORT to the agent's port"),
        PagesError::NoAnswer(_) => error.to_string(),
    }
}

/// Returns the report as JSON, or as a table that fits into the terminal.
fn text(report: &Report, now: SystemTime, is_json: bool) -> String {
    if is_json {
        return report.json() + "\n";
    }
    let width = size().map(|(width, _)| width);
    let is_coloured = width.is_some() && colour::is_wanted(&Environment);
    for_people(report, now, width, is_coloured)
}

/// Returns the report as text for people. `width` is the width of the terminal in characters, or
/// `None` if the output is not a terminal.
fn for_people(report: &Report, now: SystemTime, width: Option<usize>, is_coloured: bool) -> String {
    let wide = width.unwrap_or(usize::MAX);
    let summary = wrapped_lines(&summary::summary(report, now), wide);
    if report.secrets.is_empty() && report.missing.is_empty() {
        return summary;
    }
    let (columns, removed) = columns::fitting(secrets::columns(report, now), wide);
    let table = wrapped(&columns::lines(&columns), wide);
    let table = if is_coloured { colour::coloured(&table) } else { table };
    let removed = match removed.is_empty() {
        true => String::new(),
        false => {
            let omitted = format!("Not displayed at this width: {}\n", removed.join(", "));
            format!("\n{}", wrapped_lines(&omitted, wide))
        }
    };
    format!("{summary}\n{table}{removed}")
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
