//! `sidekey exec`: runs a program with secrets in its environment variables.

use super::agent_file;
use crate::config::Host;
use crate::config::contact::contact;
use crate::config::vars::Environment;
use crate::exec;
use std::ffi::OsString;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  PASSWORD=sidekey:app/db#password sidekey exec -- node server.js
  export DB=sidekey:app/db; sidekey exec sh -c 'echo \"$DB\"'
  URL=sidekey:ssm:/app/url sidekey exec -- ./server

If the value of an environment variable is sidekey:REFERENCE, the command replaces this value by the \
secret. REFERENCE is the secret's name or ARN, optionally with #FIELD, or ssm: and the name of a \
parameter. Then the command runs the \
program in its own process. The command waits up to 30 s for an agent at SIDEKEY_PORT or SIDEKEY_SOCKET.

Exit codes: 125 a secret could not be read; 126 the program cannot be run; 127 the program does not \
exist; otherwise the exit code of the program.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Run this program with its arguments; '--' may come first
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let contact = contact(&Environment, Host::Standalone);
    exec::run(&Environment, Host::Standalone, contact, agent_file::token, &args.command).await
}
