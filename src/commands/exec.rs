//! `sidekey exec`: runs a program with secrets in its environment variables.

use super::agent_file;
use crate::config::Host;
use crate::config::contact::contact;
use crate::config::vars::Environment;
use crate::exec;
use std::ffi::OsString;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run this program with its arguments; '--' may come first
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let contact = contact(&Environment, Host::Standalone);
    exec::run(&Environment, Host::Standalone, contact, agent_file::token, &args.command).await
}
