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
pub(crate) mod socket_folder;
pub(crate) mod connection;
mod direct;
pub(crate) mod handler;
mod connection_slots;
pub(crate) mod wire;
pub(crate) mod renewal;
pub(crate) mod probes;
pub(crate) mod secret_read;
pub(crate) mod aws_api_call;
pub(crate) mod resolving;
pub(crate) mod concurrent_reads;
pub(crate) mod turn;
pub(crate) mod lookup;
pub(crate) mod memory_budget;
pub(crate) mod body;
pub(crate) mod context;
pub(crate) mod dialect;
pub(crate) mod response;
mod date;
pub(crate) mod route;
pub(crate) mod problem;
pub(crate) mod operation;
pub mod gate;
mod plain_request;
pub(crate) mod head;
pub(crate) mod request;

pub(crate) use context::Context;
pub(crate) use handler::Server;
