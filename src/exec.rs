//! Fills environment variables with secrets, and then replaces this process by another program.
//! That program can read its secrets from environment variables, without any change of its code.

mod program;
mod reads;
mod variable;

use crate::clock::{Clock, SystemClock};
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

/// How long `sidekey exec` waits for an agent to start listening, outside Lambda.
///
/// The time is long, because the agent may start in another container, whose image must first be
/// unpacked.
const AGENT_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long `sidekey exec` waits on Lambda for the agent to start listening.
///
/// Lambda ends the start of a function after 10 s. The wait is shorter, so that the user still gets
/// an error message. Normally there is no wait, because Lambda starts the agent before `sidekey
/// exec`.
const LAMBDA_AGENT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Fills the environment variables that refer to secrets, and replaces this process by the program
/// in `command`. If no variable refers to a secret, no agent is needed.
///
/// Calls `read_token_file` with the agent's port if no token is configured. `read_token_file` must
/// return the token that the agent wrote to a file at its start. So `read_token_file` is only
/// called after the agent has started to listen.
///
/// Returns only if the program was not started, after the reasons were printed to standard error.
/// The exit code is 125 if a variable cannot be filled, 126 if the program cannot be run, and 127
/// if the program does not exist.
pub async fn run(
    vars: &dyn Vars,
    host: Host,
    contact: Result<Contact, Mistakes>,
    read_token_file: impl FnOnce(u16) -> Option<Token>,
    command: &[OsString],
) -> ExitCode {
    // This process reads secrets, so other processes must not read its memory until it becomes the
    // program. It does not set the limit for core files, because the program would inherit that
    // limit. A failure is ignored: the program will run without this protection anyway.
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

/// Reads the secrets from the agent, and returns the environment variables with their values. If at
/// least one variable cannot be filled, returns error messages for all such variables instead.
async fn fill_variables(
    vars: &dyn Vars,
    host: Host,
    contact: Result<Contact, Mistakes>,
    read_token_file: impl FnOnce(u16) -> Option<Token>,
) -> Result<Vec<FilledVariable>, Vec<String>> {
    let (variables, malformed) = variable::find(
        vars.names().into_iter().filter_map(|name| vars.get(&name).map(|value| (name, value))),
    );
    let mut problems: Vec<String> = malformed.iter().map(ToString::to_string).collect();
    let keys = variable::keys(&variables);
    if keys.is_empty() {
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
    let values = reads::read_all(contact, keys, clock).await;
    let (filled, failed) = variable::fill(variables, &values);
    problems.extend(failed.iter().map(ToString::to_string));
    if problems.is_empty() { Ok(filled) } else { Err(problems) }
}

async fn wait_for_agent(
    contact: Result<Contact, Mistakes>,
    host: Host,
    read_token_file: impl FnOnce(u16) -> Option<Token>,
    clock: &dyn Clock,
) -> Result<Contact, Vec<String>> {
    let Contact { address, token, port } = contact
        .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let wait = match host {
        Host::Standalone => AGENT_WAIT_MAX,
        Host::Lambda => LAMBDA_AGENT_WAIT_MAX,
    };
    reads::wait_for_listener(&address, wait, clock).await.map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        vec![format!("{error}{cause}")]
    })?;
    match token.or_else(|| read_token_file(port)) {
        None => Err(vec![
            "SIDEKEY_TOKEN: no token is configured; set SIDEKEY_TOKEN to the agent's token"
                .to_owned(),
        ]),
        token => Ok(Contact { address, token, port }),
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
