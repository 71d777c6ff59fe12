//! Messages that callers send to `POST /resolve`: which secrets a message refers to, and whether
//! the message may have these secrets.
//!
//! This module uses no sockets, files or clocks. It neither stores nor logs messages.

pub(crate) mod path;
pub(crate) mod paths;
pub(crate) mod search;
pub(crate) mod body;
pub(crate) mod order;
pub(crate) mod tenant;
