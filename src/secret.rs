//! What is a secret, and how is it named?
//!
//! Pure words: nothing here knows of sockets, of AWS's SDK or of time passing.

pub mod value;
pub mod version;
pub mod name;
pub mod arn;
pub mod reference;
pub mod selector;
pub mod key;
pub mod field;
pub mod glob;
pub mod scope;
