//! Sidekey as a Lambda extension; called as `exec -- COMMAND`, what starts the function's runtime.

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

/// Wipes memory when it is freed: values pass through buffers of hyper and of the SDK, which know
/// nothing of secrets.
#[global_allocator]
static WIPING: ZeroAlloc<Allocator> = ZeroAlloc(Allocator);

/// One thread: a small function has a fraction of one processor.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if let Some(command) = wrapper::command(args) {
        return wrapper::run(&command).await;
    }
    let Some(authority) = Environment.get("AWS_LAMBDA_RUNTIME_API") else {
        return lifecycle::not_on_lambda();
    };
    // Lambda knows an extension by the name of its file.
    let name = name.to_string_lossy();
    let name = name.rsplit('/').next().unwrap_or("sidekey");
    lifecycle::run(&Environment, &authority, name).await
}
