//! Secrets: their values, their names and ARNs, and how callers refer to them.
//!
//! This module is pure: it uses no sockets, no clocks and nothing of AWS's SDK.

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
