//! The promises that Sidekey makes to whoever asks it, each shown over real sockets.
//!
//! a test says; time passes when a test says so. See [`support`].

#[path = "../support/clients.rs"]
mod clients;
#[path = "../support/exchange.rs"]
mod exchange;
#[path = "../support/port.rs"]
mod port;

mod support;

mod binary;
mod bodies;
mod door;
mod failures;
mod leaks_nothing;
mod listening;
mod names_stay_ours;
mod never_calls_itself;
mod one_call_for_many;
mod prefetch;
mod rotation;
