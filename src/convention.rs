//! Naming conventions for secrets. A convention defines how the secrets of one kind (such as Twilio
//! credentials for WhatsApp) are named, and which fields their JSON values have.
//!
//! This module uses no sockets, files or clocks.

pub(crate) mod pattern;
pub(crate) mod field;
pub(crate) mod marker;
pub mod problem;
mod check;
mod definition;
mod built_in;
mod list;
pub mod file;

pub(crate) use definition::Convention;
pub(crate) use list::Conventions;
