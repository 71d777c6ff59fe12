//! Hands secrets over to a program as variables, and becomes that program.
//!
//! For programs whose code cannot be changed: they see neither HTTP nor Sidekey.

mod program;
mod reads;
mod variable;

use crate::clock::{Clock, SystemClock};
use crate::config::contact::Contact;
use crate::config::vars::Vars;
use crate::config::{Host, Mistakes};
use crate::hardening;
use crate::tokens::Token;
use program::{NOT_STARTED, NotRun, become_program};
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use variable::Filled;

/// How long an agent may take to come up beside the program: the other container's image may have
/// to be unpacked first.
const AGENT_WAIT_MAX: Duration = Duration::from_secs(30);

/// The same on Lambda, where the agent listens before the runtime starts, and 10 s end a start: who
/// does not listen by then does not come.
const LAMBDA_AGENT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Fills the variables that ask for a secret, and becomes the program. Without such variables
/// nobody is asked.
///
/// It returns only where the program was not started: with exit code 125 where a variable cannot be
/// filled, 126 where the program cannot be run, 127 where it is not there. All reasons are told on
/// standard error. `made_token` is asked for that of the agent with a port, once the agent listens, where no
/// token is configured.
pub async fn run(
    vars: &dyn Vars,
    host: Host,
    contact: Result<Contact, Mistakes>,
    made_token: impl FnOnce(u16) -> Option<Token>,
    command: &[OsString],
) -> ExitCode {
    // Until the program is there, which begins as open as any other. No core limit: it would stay.
    // A system that refuses leaves this process as open as the program is going to be.
    let _ = hardening::hide();
    let Some((name, args)) = command.split_first() else {
        return not_started(&["no command is given".to_owned()]);
    };
    match filled(vars, host, contact, made_token).await {
        Ok(filled) => {
            let NotRun { why, code } = become_program(name, args, filled);
            say(&format!("sidekey: {why}"));
            ExitCode::from(code)
        }
        Err(problems) => not_started(&problems),
    }
}

/// Returns what every variable is filled with, or everything that is in the way of it.
async fn filled(
    vars: &dyn Vars,
    host: Host,
    contact: Result<Contact, Mistakes>,
    made_token: impl FnOnce(u16) -> Option<Token>,
) -> Result<Vec<Filled>, Vec<String>> {
    let set =
        vars.names().into_iter().filter_map(|name| vars.get(&name).map(|value| (name, value)));
    let (asking, unfilled) = variable::asking(set);
    let mut problems: Vec<String> = unfilled.iter().map(ToString::to_string).collect();
    let keys = variable::keys(&asking);
    if keys.is_empty() {
        return if problems.is_empty() { Ok(Vec::new()) } else { Err(problems) };
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let contact = match reached(contact, host, made_token, &*clock).await {
        Ok(contact) => contact,
        Err(reasons) => {
            problems.extend(reasons);
            return Err(problems);
        }
    };
    let read = reads::read_all(contact, keys, clock).await;
    let (filled, unfilled) = variable::fill(asking, &read);
    problems.extend(unfilled.iter().map(ToString::to_string));
    if problems.is_empty() { Ok(filled) } else { Err(problems) }
}

/// Waits for the agent, and knows its token then.
async fn reached(
    contact: Result<Contact, Mistakes>,
    host: Host,
    made_token: impl FnOnce(u16) -> Option<Token>,
    clock: &dyn Clock,
) -> Result<Contact, Vec<String>> {
    let told = |mistakes: Mistakes| mistakes.0.iter().map(ToString::to_string).collect::<Vec<_>>();
    let Contact { address, token, port } = contact.map_err(told)?;
    let wait = match host {
        Host::Standalone => AGENT_WAIT_MAX,
        Host::Lambda => LAMBDA_AGENT_WAIT_MAX,
    };
    let reached = reads::reach(&address, wait, clock).await;
    reached.map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        vec![format!("{error}{cause}")]
    })?;
    match token.or_else(|| made_token(port)) {
        None => {
            Err(vec!["SIDEKEY_TOKEN: no token is known; set it as the agent has it".to_owned()])
        }
        token => Ok(Contact { address, token, port }),
    }
}

fn not_started(problems: &[String]) -> ExitCode {
    say("sidekey: the program was not started:");
    for problem in problems {
        say(&format!("  {problem}"));
    }
    ExitCode::from(NOT_STARTED)
}

/// Tells whoever runs the program. Where nobody listens, the exit code says enough.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
