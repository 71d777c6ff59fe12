//! The program `sidekey`: the agent (`sidekey serve`) and all other commands.

use clap::Parser;
use sidekey::commands::{self, Cli};
use std::alloc::System;
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

/// The memory allocator of the program, which overwrites freed memory with zeros.
///
/// Without this allocator, secrets could stay in freed memory, because the HTTP library hyper and
/// the AWS SDK do not overwrite their copies of secrets.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

/// Runs the command on one thread. One thread is enough, because the agent needs only microseconds
/// of CPU time to answer a request.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system must have free file descriptors for the async runtime");
    let code = runtime.block_on(commands::run(cli));
    // A DNS lookup may block a thread for seconds. The process ends without waiting for this
    // thread.
    runtime.shutdown_background();
    code
}
