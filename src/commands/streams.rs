//! Writes the output of a command to standard output and standard error.

use std::io::{self, Write};

/// Writes a text to standard output. Ignores a failed write, because the reading program may close
/// the pipe early.
pub(super) fn out(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Writes a text to standard error. Ignores a failed write.
pub(super) fn err(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
