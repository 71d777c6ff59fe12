//! Naming conventions for secrets. A convention defines how the secrets of one kind (such as Twilio
//! credentials for WhatsApp) are named, and which fields their JSON values have.
//!
//! This module uses no sockets, files or clocks.

pub mod pattern;
pub mod field;
pub mod marker;
pub mod problem;
mod check;
mod definition;
mod built_in;
mod list;
pub mod file;

pub use definition::{BadConvention, Convention};
pub use list::Conventions;
