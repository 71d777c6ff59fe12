//! The commands of the host binary, one file each.

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

/// Keeps the Secrets Manager secrets of a program at hand, and serves them over localhost HTTP.
#[derive(Debug, Parser)]
#[command(name = "sidekey", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent against AWS, until SIGTERM or Ctrl-C. It is configured by SIDEKEY_* variables.
    #[command(after_long_help = settings_help())]
    Serve,
    /// Run the agent against an embedded Secrets Manager, without an AWS account.
    Dev(dev::Args),
    /// Become a program, with each variable of the form sidekey:REFERENCE filled with its secret.
    Exec(exec::Args),
    /// Ask a running agent whether it lives; exit code 0 means yes. For probes that run a command.
    Ping(ping::Args),
    /// Say of secrets whether they can be read, and whether they are what they should be.
    Check(check::Args),
    /// Read one secret, or one field of it, for a script.
    Get(get::Args),
    /// Write the least IAM policy for reading some secrets, or say what a policy lacks and what it
    /// grants beyond that.
    Policy(policy::Args),
    /// Make the secrets that conventions ask for, and give them their values, through the AWS CLI.
    Scaffold(scaffold::Args),
}

/// Runs what the command line says.
pub async fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve => serve::run().await,
        Command::Dev(args) => report(dev::run(args).await),
        Command::Exec(args) => exec::run(args).await,
        Command::Ping(args) => report(ping::run(args).await),
        Command::Check(args) => check::run(args).await,
        Command::Get(args) => get::run(args).await,
        Command::Policy(args) => policy::run(args),
        Command::Scaffold(args) => scaffold::run(args).await,
    }
}

/// Says on standard error why a command failed.
#[expect(clippy::print_stderr, reason = "a command's error is for the person who ran it")]
fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("sidekey: {error:#}");
        ExitCode::FAILURE
    })
}

/// Lists every variable, and every key of a policy, for `serve --help`.
fn settings_help() -> String {
    let variables = VARIABLES.iter().map(|one| help(one.name, one.default, one.help));
    let keys = KEYS.iter().map(|one| help(one.name, one.default, one.help));
    format!(
        "Variables, which the TOML file that SIDEKEY_CONFIG names may hold too:\n{}\n\nKeys of a [[policy]] table in the file that SIDEKEY_CONFIG names:\n{}",
        variables.collect::<Vec<_>>().join("\n"),
        keys.collect::<Vec<_>>().join("\n")
    )
}

fn help(name: &str, default: &str, help: &str) -> String {
    let default = match default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    format!("  {name}\n          {help}{default}")
}
