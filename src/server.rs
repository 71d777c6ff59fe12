//! The HTTP server: serves secrets, probes and metrics to local callers.
//!
//! A request passes these steps:
//!
//! - accept the connection
//! - recognise the endpoint (`request`)
//! - check headers and token (`gate`)
//! - route to a handler (`route`, `handler`)
//! - read from the cache
//! - render the answer in the format of AWS's agent or AWS's extension (`dialect`)
//!
//! Only this module and its submodules know HTTP. They read secrets through a cache handle, and
//! never from AWS directly.
//!
//! The modules below are in reading order, from the sockets down to the parsers. Each module
//! imports only from modules further down.

pub mod listener;
pub mod connection;
pub mod handler;
mod connection_slots;
pub mod wire;
pub mod renewal;
pub mod probes;
pub mod secret_read;
pub mod aws_api_call;
pub mod resolving;
pub mod concurrent_reads;
pub mod lookup;
pub mod memory_budget;
pub mod body;
pub mod context;
pub mod dialect;
pub mod response;
pub mod route;
pub mod problem;
pub mod operation;
pub mod gate;
pub mod request;

pub use context::Context;
pub use handler::Server;
