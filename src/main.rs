//! The `sidekey` program: the agent (`sidekey serve`) and the other commands.

use clap::Parser;
use sidekey::commands::{self, Cli};
use std::alloc::System;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// The allocator of the program. It overwrites freed memory with zeros.
///
/// Secrets pass through buffers of hyper and of the AWS SDK, and these libraries do not wipe their
/// buffers.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

/// Runs the command on one thread. An answer takes microseconds of processor time, and everything
/// slower is waiting.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has file descriptors for the runtime");
    let code = runtime.block_on(commands::run(cli));
    // A DNS lookup blocks a thread of the runtime. The exit must not wait for its answer.
    runtime.shutdown_background();
    code
}
