//! The HTTP server, which serves secrets, probes and metrics to local callers.
//!
//! The server handles a request in these steps. The name of each step's module is in parentheses:
//!
//! - accept the connection (`listener`)
//! - recognise the endpoint (`request`)
//! - check the headers and the token (`gate`)
//! - choose and call a handler (`route`, `handler`)
//! - read the secret from the cache (`lookup`)
//! - write the answer in the format of AWS's agent or AWS's extension (`dialect`)
//!
//! Only this module and its submodules know HTTP. They never call AWS: the cache fetches missing
//! secrets.
//!
//! The modules below are in reading order, from the sockets down to the parsers. Each module
//! imports only modules further down.

pub mod listener;
mod accept;
pub(crate) mod socket_folder;
pub(crate) mod connection;
mod direct;
mod deadlines;
mod connection_end;
pub(crate) mod handler;
mod streamed;
mod connection_slots;
pub(crate) mod wire;
pub(crate) mod renewal;
pub(crate) mod probes;
pub(crate) mod secret_read;
pub(crate) mod aws_api_call;
mod parameter_calls;
pub(crate) mod resolving;
pub(crate) mod calls;
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
mod parameter_name;

pub(crate) use context::Context;
pub(crate) use handler::Server;
