//! Replaces lone UTF-16 surrogates, such as `\ud83d`, in a JSON text, because the JSON parser
//! refuses them.
//!
//! A program that shortens a text may cut an emoji, such as `\ud83d\ude00`, into two halves. Each
//! half is a lone surrogate.

use std::io::{self, BufRead, BufReader, Read};

/// The maximum length of one string in a JSON file, in bytes, because the parser keeps a string in
/// memory. The longest string that AWS sends, the body of a Lambda event, has 6 MB.
const STRING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The JSON escape of U+FFFD, the replacement character of Unicode. The escape is as long as the
/// escape that it replaces, so line and column numbers in error messages stay correct.
const REPLACEMENT: &[u8] = b"\\ufffd";

/// A stream of JSON text in which the escape `\ufffd` replaces each lone UTF-16 surrogate, such as
/// `\ud83d`.
#[derive(Debug)]
pub(super) struct Lenient<R> {
    inner: BufReader<R>,
    prepared: Vec<u8>,
    /// The number of bytes in the buffer `prepared` that the parser has already read.
    taken: usize,
    text: Text,
}

impl<R: Read> Lenient<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner: BufReader::new(inner), prepared: Vec::new(), taken: 0, text: Text::default() }
    }
}

impl<R: Read> Read for Lenient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.prepared.len() {
            self.prepared.clear();
            self.taken = 0;
            let read = self.inner.fill_buf()?;
            if read.is_empty() {
                // The file ends within a string. The parser reports the error.
                self.prepared.append(&mut self.text.held);
                if self.prepared.is_empty() {
                    return Ok(0);
                }
                break;
            }
            for &byte in read {
                self.text.push(byte, &mut self.prepared);
            }
            let count = read.len();
            self.inner.consume(count);
            if self.text.string_bytes > STRING_BYTES_MAX {
                let problem =
                    format!("a JSON string in the file is longer than {STRING_BYTES_MAX} bytes");
                return Err(io::Error::other(problem));
            }
        }
        let ready = &self.prepared[self.taken..];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// The state of the scan through a JSON text: whether the scan is inside a string, and the bytes of
/// an unfinished escape such as `\ud8`.
#[derive(Debug, Default)]
struct Text {
    is_in_string: bool,
    /// The length, in bytes, of the current JSON string so far.
    string_bytes: usize,
    /// The bytes of a JSON escape so far, beginning with the backslash. At most 12 bytes, the
    /// length of a UTF-16 surrogate pair such as `\ud83d\ude00`.
    held: Vec<u8>,
}

/// What the scan does with a JSON escape, such as `\ud83d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Wait for the next byte of the JSON text, because the escape may be incomplete.
    Wait,
    /// Keep this many bytes of the JSON text, because they form a complete escape.
    Keep(usize),
    /// Replace the JSON escape, because it is a lone UTF-16 surrogate.
    Replace,
}

impl Text {
    fn push(&mut self, byte: u8, prepared: &mut Vec<u8>) {
        if self.held.is_empty() && !(self.is_in_string && byte == b'\\') {
            match byte {
                b'"' if self.is_in_string => self.is_in_string = false,
                b'"' => (self.is_in_string, self.string_bytes) = (true, 0),
                _ if self.is_in_string => self.string_bytes += 1,
                _ => {}
            }
            prepared.push(byte);
            return;
        }
        self.held.push(byte);
        let decided = match decide(&self.held) {
            Decision::Wait => return,
            Decision::Keep(count) => {
                prepared.extend(&self.held[..count]);
                count
            }
            Decision::Replace => {
                prepared.extend(REPLACEMENT);
                REPLACEMENT.len()
            }
        };
        self.string_bytes += decided;
        for byte in std::mem::take(&mut self.held).split_off(decided) {
            self.push(byte, prepared);
        }
    }
}

/// Decides whether to keep or replace a JSON escape, such as `\ud83d`. `held` contains the bytes
/// from the backslash on.
fn decide(held: &[u8]) -> Decision {
    match held {
        [_] => Decision::Wait,
        [_, b'u', ..] if held.len() < 6 => Decision::Wait,
        [_, b'u', ..] => match Unit::of(first_unit(held)) {
            Unit::Complete => Decision::Keep(6),
            Unit::Low => Decision::Replace,
            Unit::High => match &held[6..] {
                [] | [b'\\'] => Decision::Wait,
                [b'\\', b'u', rest @ ..] if rest.len() < 4 => Decision::Wait,
                second @ [b'\\', b'u', ..] if Unit::of(first_unit(second)) == Unit::Low => {
                    Decision::Keep(12)
                }
                _ => Decision::Replace,
            },
        },
        _ => Decision::Keep(2),
    }
}

/// Returns the UTF-16 code unit of a JSON escape: `0xd83d` for `\ud83d`. Returns `None` if the
/// escape is malformed.
fn first_unit(escape: &[u8]) -> Option<u16> {
    let digits = str::from_utf8(escape.get(2..6)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// The kind of UTF-16 code unit in a JSON escape such as `\ud83d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A high surrogate: the first code unit of a UTF-16 surrogate pair.
    High,
    /// A low surrogate: the second code unit of a UTF-16 surrogate pair.
    Low,
    /// A code unit that alone stands for a character. A malformed escape counts as such a unit: it
    /// stays in the text, so that the JSON parser reports it.
    Complete,
}

impl Unit {
    fn of(number: Option<u16>) -> Self {
        match number {
            Some(0xd800..0xdc00) => Self::High,
            Some(0xdc00..0xe000) => Self::Low,
            _ => Self::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{self, text_of};
    use proptest::prelude::*;

    fn prepared(text: &str) -> String {
        let mut prepared = String::new();
        let read = Lenient::new(text.as_bytes()).read_to_string(&mut prepared);
        read.expect("each JSON string in the test must be short enough");
        prepared
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(prepared(text), expected, "{text}");
    }

    #[test]
    fn half_a_character_is_replaced() {
        check(r#""\ud83d""#, r#""\ufffd""#);
        check(r#""\uDE00 x""#, r#""\ufffd x""#);
        check(r#""\ud83d\n\ud83d\u0041""#, r#""\ufffd\n\ufffd\u0041""#);
        check(r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#);
    }

    #[test]
    fn other_text_stays() {
        for text in [
            r#"{"a\\":"\ud83d\ude00\"\\ud83d", "\u00e9é": [1, "\\"]}"#,
            r#""\ud8"#,
            r#""\uzzzz""#,
            r#""\"#,
            r"\ud83d",
            "",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn string_has_a_maximum_length() {
        let read = |length: usize| {
            let text = format!("[\"{}\"]", "x".repeat(length));
            Lenient::new(text.as_bytes()).read_to_end(&mut Vec::new())
        };
        assert!(read(STRING_BYTES_MAX / 2).is_ok());
        let error = read(STRING_BYTES_MAX + 1)
            .expect_err("the stream must refuse a string that is too long");
        assert_eq!(error.to_string(), "a JSON string in the file is longer than 8388608 bytes");
    }

    const PIECES: &[&str] = &["\\ud83d", "\\ude00", "\\", "\"", "u", "d83d", "\\u0041", "x", "é"];

    proptest! {
        #[test]
        fn for_any_text_the_length_stays_and_valid_json_is_unchanged(text in text_of(PIECES)) {
            let quoted = format!("\"{text}\"");
            let prepared = prepared(&quoted);
            prop_assert_eq!(prepared.len(), quoted.len());
            if serde_json::from_str::<String>(&quoted).is_ok() {
                prop_assert_eq!(prepared, quoted);
            }
        }

        #[test]
        fn for_any_json_nothing_changes(value in hostile::json()) {
            let text = value.to_string();
            prop_assert_eq!(prepared(&text), text);
        }
    }
}
