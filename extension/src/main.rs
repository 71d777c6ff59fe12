//! The program in Sidekey's Lambda layer. Lambda starts the program without arguments as an
//! extension, which serves secrets to the function.
//!
//! With the arguments `exec -- COMMAND`, the program fills environment variables with secrets and
//! then replaces itself by COMMAND, for example by the runtime of a function.

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

/// The memory allocator of the program, which overwrites freed memory with zeros.
///
/// Without this allocator, secrets could stay in freed memory, because the HTTP library hyper and
/// the AWS SDK do not overwrite their copies of secrets.
#[global_allocator]
static WIPING: ZeroAlloc<Allocator> = ZeroAlloc(Allocator);

/// Runs the extension on one thread. More threads would not help, because a small Lambda function
/// gets only a fraction of one CPU.
fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system must have free file descriptors for the async runtime");
    let code = runtime.block_on(run());
    // A DNS lookup may block a thread for seconds. The process ends without waiting for this
    // thread.
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
    // Lambda requires that an extension registers with the name of its program file.
    let path = program.to_string_lossy();
    lifecycle::run(&Environment, &authority, path.rsplit('/').next().unwrap_or("sidekey")).await
}
