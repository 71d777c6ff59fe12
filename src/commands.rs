//! The commands of the `sidekey` program. Each command has its own module.

mod advice;
mod age;
mod agent_file;
mod beside_dev;
mod check;
mod completions;
pub(crate) mod dev;
mod exec;
mod get;
mod manual;
pub(crate) mod ping;
mod policy;
mod scaffold;
pub(crate) mod serve;
mod status;
mod stop_signals;
mod streams;
mod table;
mod terminal;

use crate::config::policy::KEYS;
use crate::config::variables::VARIABLES;
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// The maximum length of a line in help texts, in characters. Longer lines are hard to read.
const HELP_CHARS_MAX: usize = 100;

const EXAMPLES: &str = "\
Examples:
  sidekey dev                                     try Sidekey without an AWS account
  SIDEKEY_SECRETS=app/db sidekey serve            run the agent
  PASSWORD=sidekey:app/db#password sidekey exec -- node server.js
  sidekey get --show app/db

`sidekey COMMAND --help` has examples of each command.";

/// Cache and serve AWS Secrets Manager secrets on localhost.
#[derive(Debug, Parser)]
#[command(
    name = "sidekey",
    version,
    arg_required_else_help = true,
    max_term_width = HELP_CHARS_MAX,
    after_help = EXAMPLES
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until Ctrl-C; configure it with SIDEKEY_* variables.
    #[command(after_help = serve::EXAMPLES, after_long_help = settings_help())]
    Serve(serve::Args),
    /// Try the agent with a local fake of Secrets Manager.
    Dev(dev::Args),
    /// Run a program with secrets in its environment variables.
    Exec(exec::Args),
    /// Check that the agent runs; exit code 0 means yes.
    Ping(ping::Args),
    /// Display the cached secrets of a running agent, and its state.
    Status(status::Args),
    /// Check that secrets are readable and complete.
    Check(check::Args),
    /// Print one secret or one of its fields.
    Get(get::Args),
    /// Write or verify a least-privilege IAM policy for reading secrets.
    Policy(policy::Args),
    /// Create the secrets of a project, and update their values.
    Scaffold(scaffold::Args),
    /// Write a script that completes commands and options in a shell.
    Completions(completions::Args),
    /// Write a manual page for each command to a folder.
    Manual(manual::Args),
}

/// Runs the chosen command, such as `sidekey get`, and returns the exit code of the process.
pub async fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Dev(args) => exit_code(dev::run(args).await),
        Command::Exec(args) => exec::run(args).await,
        Command::Ping(args) => exit_code(ping::run(args).await),
        Command::Status(args) => status::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Get(args) => get::run(args).await,
        Command::Policy(args) => policy::run(args),
        Command::Scaffold(args) => scaffold::run(args).await,
        Command::Completions(args) => {
            completions::run(&args, Cli::command());
            ExitCode::SUCCESS
        }
        Command::Manual(args) => {
            exit_code(manual::run(&args, Cli::command()).map(|()| ExitCode::SUCCESS))
        }
    }
}

/// Returns the exit code of a command. If the command failed, prints its error and returns exit
/// code 1.
#[expect(
    clippy::print_stderr,
    reason = "users of a command read its error messages on standard error"
)]
fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("sidekey: {error:#}");
        ExitCode::FAILURE
    })
}

/// Returns the last part of the text of `sidekey serve --help`: examples, and a list of all
/// settings with their default values.
fn settings_help() -> String {
    let variables: Vec<String> =
        VARIABLES.iter().map(|one| help(one.name, one.default, one.help)).collect();
    let keys: Vec<String> = KEYS.iter().map(|one| help(one.name, one.default, one.help)).collect();
    format!(
        "{}\n\nYou can set these variables in the environment, or in the TOML file whose path is in SIDEKEY_CONFIG:\n{}\n\nA [[policy]] table in that file changes settings for some secrets, with these keys:\n{}",
        serve::EXAMPLES,
        variables.join("\n"),
        keys.join("\n")
    )
}

fn help(name: &str, default: &str, help: &str) -> String {
    let default = match default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    format!("  {name}\n          {help}{default}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_of_each_command_has_examples_and_fits_the_terminal() {
        const WIDTH: usize = 60;
        let mut cli = Cli::command().max_term_width(0).term_width(WIDTH);
        cli.build();
        let commands = cli.get_subcommands_mut().filter(|command| command.get_name() != "help");
        for command in commands {
            let name = command.get_name().to_owned();
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                assert!(help.contains("Examples:\n  "), "{name}: {help}");
                for line in help.lines().filter(|line| line.chars().count() > WIDTH) {
                    // A word that is longer than a line is not divided.
                    assert_eq!(line.split_whitespace().count(), 1, "{name}: {line}");
                }
            }
        }
    }
}
