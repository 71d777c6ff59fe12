//! Types for secrets and parameters: their values, names and ARNs, and patterns for their names.
//!
//! This module uses no sockets, no clocks and no part of the AWS SDK.

pub mod service;
pub mod value;
pub mod version;
pub(crate) mod name;
pub(crate) mod arn;
pub(crate) mod region;
pub(crate) mod parameter_path;
pub mod selector;
pub mod role;
mod secret_id;
pub mod key;
pub mod reference;
mod bad_reference;
pub(crate) mod secret_parameter;
pub(crate) mod json_text;
pub(crate) mod field;
pub(crate) mod glob;
mod matchable;
pub mod scope;
pub mod secret_pattern;
pub mod role_rules;
