//! Messages: which secrets a message refers to, and whether the message may have them.
//!
//! This module decides and does nothing else. It neither stores nor logs messages.

pub mod path;
pub mod paths;
pub mod search;
pub mod body;
pub mod order;
pub mod tenant;
