//! Fills environment variables with secrets, and then replaces this process by another program.
//! That program can read its secrets from environment variables, without any change of its code.

mod program;
mod reads;
mod variable;

use crate::clock::{Clock, SystemClock, announced};
use crate::config::contact::Contact;
use crate::config::vars::Vars;
use crate::config::{Host, Mistakes};
use crate::hardening;
use crate::tokens::Token;
use program::{ExecError, NOT_STARTED, become_program};
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use variable::FilledVariable;

/// How long `sidekey exec` waits for an agent to start listening, if `sidekey exec` does not run on
/// Lambda.
///
/// The time is long, because the agent may start in another container, whose image must first be
/// unpacked.
const AGENT_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long `sidekey exec` waits for an agent to start listening, if `sidekey exec` runs on Lambda.
///
/// Lambda ends the start of a function after 10 s. The wait is shorter, so that the user still gets
/// an error message.
const LAMBDA_AGENT_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long `sidekey exec` waits for the file with the token that an agent generates. The agent
/// writes this file immediately after it starts to listen.
const TOKEN_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long `sidekey exec` waits for an agent before it prints a message about the wait.
const SILENT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Fills the environment variables that refer to secrets, and replaces this process by the program
/// in `command`.
///
/// `read_token_file` takes the agent's port, and returns the token that the agent wrote to a file.
/// This function calls `read_token_file` only if `SIDEKEY_TOKEN` is not set.
///
/// Returns only if the program was not started, and prints the reasons to standard error. The exit
/// code is 125 if a variable cannot be filled, 126 if the program cannot be run, and 127 if the
/// program does not exist.
pub async fn run(
    vars: &dyn Vars,
    host: Host,
    contact: Result<Contact, Mistakes>,
    read_token_file: impl Fn(u16) -> Option<Token>,
    command: &[OsString],
) -> ExitCode {
    // This process reads secrets, so other processes must not read its memory until it becomes the
    // program. This call does not limit core dumps, because the program would inherit the limit. A
    // failure is ignored: the program will run without this protection anyway.
    let _ = hardening::hide();
    let Some((name, args)) = command.split_first() else {
        return not_started(&["no command is given".to_owned()]);
    };
    match fill_variables(vars, host, contact, read_token_file).await {
        Ok(variables) => {
            let ExecError { reason, code } = become_program(name, args, variables);
            print_error(&format!("sidekey: {reason}"));
            ExitCode::from(code)
        }
        Err(problems) => not_started(&problems),
    }
}

/// Reads the secrets from the agent, and returns the environment variables with their values. If
/// some variables cannot be filled, returns an error message for each of them.
async fn fill_variables(
    vars: &dyn Vars,
    host: Host,
    contact: Result<Contact, Mistakes>,
    read_token_file: impl Fn(u16) -> Option<Token>,
) -> Result<Vec<FilledVariable>, Vec<String>> {
    let (variables, malformed) = variable::find(
        vars.names().into_iter().filter_map(|name| vars.get(&name).map(|value| (name, value))),
    );
    let mut problems: Vec<String> = malformed.iter().map(ToString::to_string).collect();
    let (keys, routes) = (variable::keys(&variables), variable::routes(&variables));
    if keys.is_empty() && routes.is_empty() {
        return if problems.is_empty() { Ok(Vec::new()) } else { Err(problems) };
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let contact = match wait_for_agent(contact, host, read_token_file, &*clock).await {
        Ok(contact) => contact,
        Err(reasons) => {
            problems.extend(reasons);
            return Err(problems);
        }
    };
    let address = contact.address.clone();
    let announce = || {
        print_error(&format!(
            "sidekey: waits up to {:?} for the answer of the agent at {address}",
            reads::READ_WAIT_MAX
        ));
    };
    let reading = reads::read_all(contact, keys, routes, clock.clone());
    let values = announced(&*clock, SILENT_WAIT_MAX, announce, reading).await;
    let (filled, failed) = variable::fill(variables, &values);
    problems.extend(failed.iter().map(ToString::to_string));
    if problems.is_empty() { Ok(filled) } else { Err(problems) }
}

async fn wait_for_agent(
    contact: Result<Contact, Mistakes>,
    host: Host,
    read_token_file: impl Fn(u16) -> Option<Token>,
    clock: &dyn Clock,
) -> Result<Contact, Vec<String>> {
    let mut contact = contact
        .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let (wait, advice) = match host {
        Host::Standalone => (
            AGENT_WAIT_MAX,
            "start an agent with `sidekey serve` or `sidekey dev`, or set SIDEKEY_PORT to the \
             agent's port",
        ),
        Host::Lambda => (LAMBDA_AGENT_WAIT_MAX, "check that the function has Sidekey's layer"),
    };
    let address = contact.address.clone();
    let announce =
        || print_error(&format!("sidekey: waits up to {wait:?} for an agent at {address}"));
    let listening = reads::wait_for_listener(&contact.address, wait, clock);
    announced(clock, SILENT_WAIT_MAX, announce, listening).await.map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        vec![format!("{error}{cause}; {advice}")]
    })?;
    let started = clock.now();
    loop {
        contact = contact.or_generated(&read_token_file);
        if contact.token.is_some() {
            return Ok(contact);
        }
        if clock.now().since(started).is_none_or(|waited| waited >= TOKEN_WAIT_MAX) {
            return Err(vec![
                "SIDEKEY_TOKEN: no token is configured; set SIDEKEY_TOKEN to the agent's token"
                    .to_owned(),
            ]);
        }
        clock.sleep(reads::PAUSE).await;
    }
}

fn not_started(problems: &[String]) -> ExitCode {
    print_error("sidekey: the program was not started:");
    for problem in problems {
        print_error(&format!("  {problem}"));
    }
    ExitCode::from(NOT_STARTED)
}

/// Writes a line to standard error. Ignores a failed write, because the exit code also shows that
/// the program was not started.
fn print_error(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
