//! Messages that callers send to `POST /resolve`: which secrets a message refers to, and whether
//! the message may have these secrets.
//!
//! This module uses no sockets, files or clocks. It neither stores nor logs messages.

pub mod path;
pub mod paths;
pub mod search;
pub mod body;
pub mod order;
pub mod tenant;
