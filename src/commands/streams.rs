//! Writes the output of a command to standard output and standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a string to standard output. Ignores errors, because a program such as `head` may close
/// the pipe early.
pub(super) fn out(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

pub(super) fn err(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes each message as a line to standard error. Each line begins with `sidekey: `.
pub(super) fn print_messages<T: Display>(messages: &[T]) {
    messages.iter().for_each(|message| err(&format!("sidekey: {message}\n")));
}
