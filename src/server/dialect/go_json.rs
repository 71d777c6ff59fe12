//! Writes JSON exactly as AWS's Parameters and Secrets Lambda Extension does. AWS's extension is a
//! program in Go.

use super::json::render_with;
use crate::secret::value::SecretValue;
use serde::Serialize;
use serde_json::ser::Formatter;
use std::io::{self, Write};
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The empty object that AWS's extension sends as the JSON member `ResultMetadata`.
#[derive(Serialize)]
pub(super) struct Metadata {}

/// Converts a structure that contains a secret to JSON as Go writes it, in a buffer of exactly the
/// right size. A buffer that grows would leave copies of the secret in freed memory.
pub(super) fn render_as_go(body: &impl Serialize) -> SecretValue {
    render_with(body, GoFormatter)
}

/// Formats a time as `2022-11-16T08:22:40.499Z`. The fraction does not end in zeros, as in Go.
/// Returns `None` if the year has more than four digits.
pub(super) fn rfc_3339(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

/// Writes JSON strings as Go does: characters that are special in HTML or JavaScript are escaped
/// too.
///
/// Source: `Marshal` in the documentation of Go's `encoding/json`.
#[derive(Clone, Copy)]
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let mut plain = 0;
        for (at, c) in fragment.char_indices() {
            let escaped: &[u8] = match c {
                '<' => b"\\u003c",
                '>' => b"\\u003e",
                '&' => b"\\u0026",
                '\u{2028}' => b"\\u2028",
                '\u{2029}' => b"\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            writer.write_all(escaped)?;
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}
