//! The extension under AWS's runtime interface emulator: Lambda's own init process, with a function
//! that reads secrets in its static initialisation and in its handler.
//!
//! Every test starts an environment of its own. Where the emulator cannot be had or run, a line says
//! so and the test is skipped; with `CI=true` it fails.

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
