//! Finds the secrets to which a message (an SQS message or Lambda event) refers, and checks that
//! these secrets belong to the tenant (such as a company) of the message. Callers send messages to
//! `POST /resolve`.
//!
//! This module uses no sockets, files or clocks. It neither stores nor logs messages.

pub(crate) mod path;
pub(crate) mod paths;
pub(crate) mod search;
mod envelope;
pub(crate) mod body;
pub(crate) mod order;
pub(crate) mod tenant;
