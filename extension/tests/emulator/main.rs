//! The extension under AWS's runtime interface emulator, which is Lambda's own init process. The
//! test function reads secrets in its static initialisation and in its handler.
//!
//! Every test starts its own environment. If the emulator cannot be installed or run, the test is
//! skipped and prints the reason. With `CI=true` it fails instead.

#[path = "../../../tests/support/clients.rs"]
mod clients;
#[path = "../../../tests/support/emulator.rs"]
mod emulator;
#[path = "../../../tests/support/exchange.rs"]
mod exchange;
#[path = "../../../tests/support/port.rs"]
mod port;

mod freeze;
mod lambda;
mod modes;
mod trouble;
mod wrapper;
