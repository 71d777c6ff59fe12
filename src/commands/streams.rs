//! Writes the output of a command to standard output and standard error.

use std::io::{self, Write};

/// Writes a string to standard output. Ignores errors, because a program such as `head` may close
/// the pipe early.
pub(super) fn out(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

pub(super) fn err(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
