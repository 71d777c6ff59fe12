//! The commands of the `sidekey` program. Each command has a file of its own.

mod advice;
mod check;
pub mod dev;
mod exec;
mod get;
pub mod ping;
mod policy;
mod scaffold;
pub mod serve;
mod streams;
mod table;
mod token_file;

use crate::config::policy::KEYS;
use crate::config::variables::VARIABLES;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Cache and serve AWS Secrets Manager secrets on localhost.
#[derive(Debug, Parser)]
#[command(name = "sidekey", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until Ctrl-C, configured by SIDEKEY_* variables.
    #[command(after_long_help = settings_help())]
    Serve,
    /// Run the agent against a fake AWS service.
    Dev(dev::Args),
    /// Run a program with sidekey:REFERENCE variables replaced by secrets.
    Exec(exec::Args),
    /// Check that the agent runs; exit code 0 means yes.
    Ping(ping::Args),
    /// Check that secrets are readable and complete.
    Check(check::Args),
    /// Print one secret or one of its fields.
    Get(get::Args),
    /// Write or verify the least IAM policy for reading secrets.
    Policy(policy::Args),
    /// Create and fill the secrets of your conventions.
    Scaffold(scaffold::Args),
}

/// Runs the command that the user named on the command line.
pub async fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve => serve::run().await,
        Command::Dev(args) => exit_code(dev::run(args).await),
        Command::Exec(args) => exec::run(args).await,
        Command::Ping(args) => exit_code(ping::run(args).await),
        Command::Check(args) => check::run(args).await,
        Command::Get(args) => get::run(args).await,
        Command::Policy(args) => policy::run(args),
        Command::Scaffold(args) => scaffold::run(args).await,
    }
}

/// Returns the exit code of a command. Prints the error of a failed command to standard error.
#[expect(clippy::print_stderr, reason = "the user of the command reads standard error")]
fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("sidekey: {error:#}");
        ExitCode::FAILURE
    })
}

/// Lists every variable, and every key of a policy, for `sidekey serve --help`.
fn settings_help() -> String {
    let variables: Vec<String> =
        VARIABLES.iter().map(|one| help(one.name, one.default, one.help)).collect();
    let keys: Vec<String> = KEYS.iter().map(|one| help(one.name, one.default, one.help)).collect();
    format!(
        "Variables, which you can also set in the TOML file named by SIDEKEY_CONFIG:\n{}\n\nKeys of a [[policy]] table in that file:\n{}",
        variables.join("\n"),
        keys.join("\n")
    )
}

/// Formats one setting in the way in which clap formats an option.
fn help(name: &str, default: &str, help: &str) -> String {
    let default = match default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    format!("  {name}\n          {help}{default}")
}
