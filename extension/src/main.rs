//! Sidekey as a Lambda extension.
//!
//! Called as `exec -- COMMAND`, the program fills environment variables with secrets and then becomes
//! the command. Lambda uses this to start the runtime of a function.

mod api;
mod lifecycle;
mod wrapper;

use sidekey::config::vars::{Environment, Vars};
use std::process::ExitCode;
use zeroizing_alloc::ZeroAlloc;

#[cfg(target_env = "musl")]
use dlmalloc::GlobalDlmalloc as Allocator;
#[cfg(not(target_env = "musl"))]
use std::alloc::System as Allocator;

/// The allocator of the program. It overwrites freed memory with zeros.
///
/// Secrets pass through buffers of hyper and of the AWS SDK, and these libraries do not wipe their
/// buffers.
#[global_allocator]
static WIPING: ZeroAlloc<Allocator> = ZeroAlloc(Allocator);

/// Runs the extension on one thread. A small function has only a fraction of one processor.
fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has file descriptors for the runtime");
    let code = runtime.block_on(run());
    // A DNS lookup blocks a thread of the runtime. The exit must not wait for its answer.
    runtime.shutdown_background();
    code
}

async fn run() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    if let Some(command) = wrapper::command(args) {
        return wrapper::run(&command).await;
    }
    let Some(authority) = Environment.get("AWS_LAMBDA_RUNTIME_API") else {
        return lifecycle::not_on_lambda();
    };
    // An extension must register under the name of its file.
    let path = program.to_string_lossy();
    lifecycle::run(&Environment, &authority, path.rsplit('/').next().unwrap_or("sidekey")).await
}
