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
fn main() -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("the system has descriptors for a runtime");
    let code = runtime.block_on(run());
    // A DNS lookup blocks a thread of the runtime until it is answered. The exit does not wait for it.
    runtime.shutdown_background();
    code
}

async fn run() -> ExitCode {
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
