//! The `sidekey` program: the agent (`sidekey serve`) and all other commands.

use clap::Parser;
use sidekey::commands::{self, Cli};
use std::alloc::System;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// The memory allocator of the program. The allocator overwrites freed memory with zeros.
///
/// This protects copies of secrets: hyper and the AWS SDK copy secrets into buffers and do not wipe
/// these buffers.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

/// Runs the command on one thread. One thread is enough, because the agent needs only microseconds
/// of processor time for an answer and otherwise waits.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has file descriptors for the async runtime");
    let code = runtime.block_on(commands::run(cli));
    // A DNS lookup blocks a thread of the async runtime. The process exits without waiting for the
    // answer to the lookup.
    runtime.shutdown_background();
    code
}
