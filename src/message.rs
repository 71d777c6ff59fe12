//! Finds the secrets that an SQS message or a Lambda event refers to, and checks that they belong
//! to the tenant (such as a company) of the message. Callers send the messages to the agent's path
//! `/resolve`.
//!
//! This module uses no sockets, files or clocks. It neither stores nor logs messages.

pub(crate) mod path;
pub(crate) mod paths;
pub(crate) mod search;
mod envelope;
pub(crate) mod body;
pub(crate) mod order;
pub(crate) mod tenant;
