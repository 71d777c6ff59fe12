//! Rules of the repository that no lint can check: imports between modules, pure files, where a secret's
//! bytes may be seen, and that the documentation says what the code does.
//!
//! Each check takes files and returns problems. Its test runs the check over the repository, and over
//! files with planted mistakes, so that a check that finds nothing is noticed.

mod repository;
mod imports;
mod purity;
mod docs;
mod peers;
