//! The host binary: `sidekey serve`, and the commands beside it.

use clap::Parser;
use sidekey::commands::{self, Cli};
use std::alloc::System;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// Wipes memory when it is freed: values pass through buffers of hyper and of the SDK, which know
/// nothing of secrets.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

/// One thread: an answer takes microseconds, and what takes longer is waiting.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    commands::run(Cli::parse()).await
}
