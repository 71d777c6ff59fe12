//! `sidekey manual`: writes a manual page for each command.

use anyhow::Context;
use clap::Command;
use std::fs;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  sidekey manual ~/.local/share/man/man1
  man sidekey-exec";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Write the manual pages to this folder
    folder: PathBuf,
}

/// Writes the manual pages of the command line `cli`: `sidekey.1`, and `sidekey-NAME.1` for each
/// command. Creates the folder if it does not exist.
pub(super) fn run(args: &Args, cli: Command) -> anyhow::Result<()> {
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder)
        .with_context(|| format!("cannot create the folder {folder}"))?;
    clap_mangen::generate_to(cli, &args.folder)
        .with_context(|| format!("cannot write the manual pages to {folder}"))
}
