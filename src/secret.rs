//! What is a secret, and how is it named?
//!
//! Pure words: nothing here knows of sockets, of AWS's SDK or of time passing.

pub mod arn;
pub mod field;
pub mod key;
pub mod reference;
pub mod scope;
pub mod value;
pub mod version;
