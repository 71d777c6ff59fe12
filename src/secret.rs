//! Secrets: their values, their names and ARNs, and how callers refer to them.
//!
//! This module decides and does nothing else. It does not use sockets, AWS's SDK or clocks.

pub mod value;
pub mod version;
pub mod name;
pub mod arn;
pub mod selector;
pub mod reference;
pub mod key;
pub mod field;
pub mod glob;
pub mod scope;
