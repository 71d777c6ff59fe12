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
fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("the system has descriptors for a runtime");
    let code = runtime.block_on(commands::run(cli));
    // A DNS lookup blocks a thread of the runtime until it is answered. The exit does not wait for it.
    runtime.shutdown_background();
    code
}
