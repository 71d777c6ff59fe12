//! Conventions: how the secrets of one kind are named, and which fields their JSON values have.
//!
//! This module decides and does nothing else. It does not use sockets, files or clocks.

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
