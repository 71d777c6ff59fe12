//! Converts secrets to JSON, without leaving copies of a secret value in memory.

use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use std::io::{self, Write};
use zeroize::Zeroizing;

/// A secret value in a form that JSON can contain: text unchanged, or binary data as base64.
pub(in crate::server) enum JsonValue<'a> {
    Text(&'a str),
    /// A binary secret value, encoded as base64. The encoded string is overwritten in memory when
    /// it is dropped.
    Base64(Zeroizing<String>),
}

impl<'a> JsonValue<'a> {
    pub(in crate::server) fn of(content: &'a Content) -> Self {
        match content {
            Content::Text(text) => Self::of_text(text),
            Content::Binary(bytes) => Self::Base64(Zeroizing::new(STANDARD.encode(bytes.expose()))),
        }
    }

    /// Makes a JSON value from a secret value that must be a UTF-8 string.
    ///
    /// # Panics
    ///
    /// Panics if the value is not UTF-8.
    pub(in crate::server) fn of_text(text: &'a SecretValue) -> Self {
        Self::Text(text_of(text))
    }

    pub(in crate::server) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Base64(_) => None,
        }
    }

    pub(in crate::server) fn base64(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Base64(base64) => Some(base64),
        }
    }
}

/// Returns a secret value as text. The value must be a UTF-8 string.
///
/// # Panics
///
/// Panics if the value is not UTF-8.
pub(super) fn text_of(text: &SecretValue) -> &str {
    let text = std::str::from_utf8(text.expose());
    text.expect("the secret value must be UTF-8, because it was made from a `String`")
}

/// Joins JSON texts that contain secrets, with commas between them, in a buffer of exactly the
/// right size. The result begins with `start` and ends with `end`.
pub(super) fn join<'a>(
    start: &[u8],
    values: impl Iterator<Item = &'a SecretValue> + Clone,
    end: &[u8],
) -> SecretValue {
    let commas = values.clone().count().saturating_sub(1);
    let size =
        start.len() + values.clone().map(SecretValue::len).sum::<usize>() + commas + end.len();
    let mut joined = Vec::with_capacity(size);
    joined.extend_from_slice(start);
    for (at, value) in values.enumerate() {
        if at > 0 {
            joined.push(b',');
        }
        joined.extend_from_slice(value.expose());
    }
    joined.extend_from_slice(end);
    debug_assert_eq!(
        joined.len(),
        size,
        "the buffer must not grow, because growth leaves copies of secrets in memory"
    );
    SecretValue::new(joined)
}

/// Converts a structure that contains a secret to JSON without spaces, in a buffer of exactly the
/// right size. A buffer that grows would leave copies of the secret in freed memory.
pub(in crate::server) fn render(body: &impl Serialize) -> SecretValue {
    render_with(body, CompactFormatter)
}

/// Converts a structure that contains a secret to JSON, in a buffer of exactly the right size.
/// `formatter` decides how the JSON is written, for example with escapes as in Go.
pub(super) fn render_with<F>(body: &impl Serialize, formatter: F) -> SecretValue
where
    F: Formatter + Clone,
{
    let mut rendered = Vec::with_capacity(size(body, formatter.clone()));
    let mut serializer = serde_json::Serializer::with_formatter(&mut rendered, formatter);
    body.serialize(&mut serializer).expect("writing JSON to a vector must not fail");
    SecretValue::new(rendered)
}

/// Returns how many bytes a structure takes as JSON without spaces, and stores no JSON.
pub(in crate::server) fn compact_size(body: &impl Serialize) -> usize {
    size(body, CompactFormatter)
}

fn size(body: &impl Serialize, formatter: impl Formatter) -> usize {
    let mut size = ByteCounter(0);
    let mut serializer = serde_json::Serializer::with_formatter(&mut size, formatter);
    body.serialize(&mut serializer).expect("counting the bytes of JSON must not fail");
    size.0
}

struct ByteCounter(usize);

impl Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
