//! What a command writes for whoever runs it.

use std::io::{self, Write};

/// Writes to standard output. Who has stopped reading has read enough.
pub(super) fn out(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error.
pub(super) fn err(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
