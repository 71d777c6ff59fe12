//! `sidekey completions`: writes a script with which a shell completes commands and options.

use super::streams::out;
use clap::{Command, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  sidekey completions bash > ~/.local/share/bash-completion/completions/sidekey
  sidekey completions zsh > ~/.zfunc/_sidekey
  sidekey completions fish > ~/.config/fish/completions/sidekey.fish

For zsh, the folder must be in `fpath` before `compinit` runs. Start a new shell afterwards.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Write the script for this shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Writes a shell script to standard output. The script completes the commands and options of
/// `cli`.
pub(super) fn run(args: &Args, mut cli: Command) {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli, "sidekey", &mut script);
    out(&String::from_utf8_lossy(&script));
}
