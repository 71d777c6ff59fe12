//! Conventions. A convention is a set of rules for one kind of secret, such as Twilio credentials
//! for WhatsApp: a pattern for the secrets' names, and the fields of their JSON values.
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
