//! The standard streams of a command.

use std::io::{self, Write};

/// Writes to standard output. A failed write is ignored, because the reader may close a pipe early.
pub(super) fn out(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error. A failed write is ignored.
pub(super) fn err(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
