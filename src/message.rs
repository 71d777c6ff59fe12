//! What a message says of secrets: the references in it, and where they stand.
//!
//! Pure words and decisions: text in, references out. Nothing here keeps a message or prints one.

pub mod path;
pub mod paths;
pub mod search;
pub mod body;
pub mod order;
pub mod tenant;
