//! Finds the secrets to which a message (an SQS message or Lambda event) refers, and checks whether
//! the message may have these secrets. Callers send messages to `POST /resolve`.
//!
//! This module uses no sockets, files or clocks. It neither stores nor logs messages.

pub(crate) mod path;
pub(crate) mod paths;
pub(crate) mod search;
pub(crate) mod body;
pub(crate) mod order;
pub(crate) mod tenant;
