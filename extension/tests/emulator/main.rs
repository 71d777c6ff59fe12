//! Tests Sidekey's extension in AWS's Lambda runtime interface emulator, which starts functions and
//! extensions as Lambda does. The test function reads secrets in its static initialisation and in
//! its handler.
//!
//! If a machine lacks the emulator, the tests are skipped and print the reason. If the variable
//! `CI` is `true`, the tests fail instead.

#[path = "../../../tests/support/clients.rs"]
mod clients;
#[path = "../../../tests/support/emulator.rs"]
mod emulator;
#[path = "../../../tests/support/exchange.rs"]
mod exchange;
#[path = "../../../tests/support/port.rs"]
mod port;

mod emf;
mod freeze;
mod lambda;
mod modes;
mod roles;
mod routes;
mod trouble;
mod wrapper;
