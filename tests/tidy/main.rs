//! Checks rules of the repository that no lint can check, such as the allowed imports between
//! modules, and that the documentation equals the code.
//!
//! Each check takes files and returns problems. Its test runs the check on the repository, and on
//! files with deliberate mistakes, which the check must find.

mod repository;
mod imports;
mod purity;
mod docs;
mod emf;
mod messages;
mod peers;
mod snippets;
mod versions;
