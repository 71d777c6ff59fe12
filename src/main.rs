//! The host binary: `sidekey serve`, `sidekey dev`, `sidekey ping`.

use clap::Parser;
use sidekey::commands::{self, Cli};
use std::process::ExitCode;

/// One thread: an answer takes microseconds, and what takes longer is waiting.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    commands::run(Cli::parse()).await
}
