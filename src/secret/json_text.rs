//! Decodes JSON strings, and replaces lone surrogates in JSON text.
//!
//! A lone surrogate is one half of an escaped character, such as `\ud83d` without `\ude00` after
//! it. A program writes a lone surrogate if it cuts a text inside an emoji. The JSON parser refuses
//! strings with lone surrogates, because UTF-8 cannot represent them.

use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::char::{REPLACEMENT_CHARACTER, decode_utf16};

/// The length of the JSON escape `\uXXXX` in bytes.
const UNICODE_ESCAPE_BYTES: usize = 6;

/// Replaces each lone surrogate (half of an escaped emoji, such as `\ud83d`) in JSON text by
/// `\ufffd`, the escape of the replacement character. The JSON parser then accepts the text.
///
/// The length of the text does not change, so the positions in parser errors stay right.
pub(crate) fn replace_lone_surrogates(json: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = next_lone_surrogate(json, from) {
        from = at + UNICODE_ESCAPE_BYTES;
        json[at + 2..from].copy_from_slice(b"fffd");
    }
}

/// Returns whether JSON text contains a lone surrogate, such as `\ud83d` without its second half.
/// Many JSON parsers reject such text.
pub(crate) fn has_lone_surrogate(json: &str) -> bool {
    next_lone_surrogate(json.as_bytes(), 0).is_some()
}

fn next_lone_surrogate(json: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += json.get(at..)?.iter().position(|byte| *byte == b'\\')?;
        let escape = Escape::parse(&json[at..]);
        if matches!(escape, Escape::LoneSurrogate) {
            return Some(at);
        }
        at += escape.bytes();
    }
}

/// Parses JSON that may contain lone surrogates, such as `\ud83d` without its second half. Each
/// lone surrogate becomes U+FFFD, the replacement character.
pub(crate) fn parsed(json: &[u8]) -> serde_json::Result<Value> {
    let mut json = json.to_vec();
    replace_lone_surrogates(&mut json);
    serde_json::from_slice(&json)
}

/// Decodes a JSON string. A lone surrogate, such as `\ud83d` without its second half, becomes
/// U+FFFD. Returns `None` if the JSON value is not a string.
///
/// A string without escapes is not copied. A string with escapes is copied once, into memory of its
/// final size.
pub(crate) fn decoded(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = String::with_capacity(decoded_len(raw));
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escaped) = rest.split_at(at);
        let escape = Escape::parse(escaped.as_bytes());
        decoded.push_str(before);
        decoded.push(escape.character());
        rest = escaped.get(escape.bytes()..)?;
    }
    decoded.push_str(rest);
    Some(Cow::Owned(decoded))
}

/// Decodes a JSON string whose text is JSON again. Replaces lone surrogates, such as `\ud83d`
/// without its second half, in this inner JSON. Returns `None` if the value is not a string.
pub(crate) fn decoded_message(raw: &RawValue) -> Option<Cow<'_, [u8]>> {
    Some(match decoded(raw)? {
        // The JSON string has no escapes, so the message in it has none either.
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => {
            let mut text = text.into_bytes();
            replace_lone_surrogates(&mut text);
            Cow::Owned(text)
        }
    })
}

/// Returns the length that a JSON string has after decoding, in bytes. With this length, a caller
/// can refuse a string that is too long without decoding the string.
pub(crate) fn decoded_len(raw: &RawValue) -> usize {
    let mut rest = raw.get().trim_matches('"');
    let mut len = 0;
    while let Some(at) = rest.find('\\') {
        let escape = Escape::parse(&rest.as_bytes()[at..]);
        len += at + escape.character().len_utf8();
        rest = rest.get(at + escape.bytes()..).unwrap_or_default();
    }
    len + rest.len()
}

#[derive(Clone, Copy)]
enum Escape {
    /// A JSON escape of a backslash and one character, such as `\n`. The `char` is the character
    /// after decoding.
    Simple(char),
    /// The JSON escape `\uXXXX`, or two such escapes that form one character. The `char` is the
    /// character after decoding.
    Unicode(char),
    LoneSurrogate,
}

impl Escape {
    /// Parses the JSON escape, such as `\n`, at the beginning of `json`. The first byte must be a
    /// backslash.
    fn parse(json: &[u8]) -> Self {
        let Some(first) = utf16_unit(json) else {
            return Self::Simple(match json.get(1) {
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                other => other.map_or('\\', |byte| char::from(*byte)),
            });
        };
        let second = utf16_unit(&json[UNICODE_ESCAPE_BYTES..]).unwrap_or_default();
        match decode_utf16([first, second]).next() {
            Some(Ok(c)) => Self::Unicode(c),
            _ => Self::LoneSurrogate,
        }
    }

    /// Returns the length of the JSON escape in bytes. Two `\uXXXX` that form one character count
    /// as one escape.
    fn bytes(self) -> usize {
        match self {
            Self::Simple(_) => 2,
            Self::Unicode(c) => UNICODE_ESCAPE_BYTES * c.len_utf16(),
            Self::LoneSurrogate => UNICODE_ESCAPE_BYTES,
        }
    }

    fn character(self) -> char {
        match self {
            Self::Simple(c) | Self::Unicode(c) => c,
            Self::LoneSurrogate => REPLACEMENT_CHARACTER,
        }
    }
}

/// Parses the JSON escape `\uXXXX` at the beginning of `json`. Returns `None` if `json` begins with
/// other bytes.
fn utf16_unit(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    let digit = |digit: u8| u16::try_from(char::from(digit).to_digit(16)?).ok();
    digits.iter().try_fold(0, |unit, next| Some((unit << 4) | digit(*next)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile;
    use proptest::prelude::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let mut bytes = json.as_bytes().to_vec();
        replace_lone_surrogates(&mut bytes);
        assert_eq!(str::from_utf8(&bytes), Ok(expected), "{json}");
    }

    #[test]
    fn only_lone_surrogates_are_replaced() {
        check(r#"{"a": "x\ud83d"}"#, r#"{"a": "x\ufffd"}"#);
        check(r#""\ude00 \uD83D\ud83d\uDE00\udbff""#, r#""\ufffd \ufffd\ud83d\uDE00\ufffd""#);
        for json in [
            r#""\ud83d\ude00""#,
            r#""\\ud83d \\\\ud83d""#,
            r#""\u0041\n\"\ue000""#,
            r#""\ud83""#,
            r#""\ud8+d""#,
            r"\",
            r"\u",
            "",
            "\u{1f600}",
        ] {
            check(json, json);
        }
        check(r#""\\\ud83d\\""#, r#""\\\ufffd\\""#);
    }

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).expect("the text must be JSON")
    }

    #[test]
    fn strings_are_decoded_and_other_values_are_not() {
        for (json, expected) in [
            (r#""""#, Some("")),
            (r#""a""#, Some("a")),
            (r#""\"\\\/\b\f\n\r\t\u0041\\u0041\"""#, Some("\"\\/\u{8}\u{c}\n\r\tA\\u0041\"")),
            (r#""\ud83d\ude00\ud83d""#, Some("\u{1f600}\u{fffd}")),
            ("7", None),
            ("{}", None),
        ] {
            let found = decoded(raw(json));
            assert_eq!(found.as_deref(), expected, "{json}");
            if let Some(text) = expected {
                assert_eq!(decoded_len(raw(json)), text.len(), "{json}");
            }
        }
    }

    proptest! {
        #[test]
        fn for_any_string_the_parser_decodes_the_same(text in hostile::text()) {
            let json = Value::from(&*text).to_string();
            let found = decoded(raw(&json));
            prop_assert_eq!(found.as_deref(), Some(&*text));
            prop_assert_eq!(decoded_len(raw(&json)), text.len());
        }

        /// Lone surrogates are halves of escaped characters, such as `\ud83d` without `\ude00`. All
        /// other text must stay unchanged.
        #[test]
        fn for_any_utf16_lone_surrogates_become_replacement_characters(
            units in prop::collection::vec(prop_oneof![0u16..0x80, 0xd7f0u16..0xe010], 0..12),
        ) {
            let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("\"{escapes}\"");
            let expected = String::from_utf16_lossy(&units);
            let found = decoded(raw(&json));
            prop_assert_eq!(found.as_deref(), Some(&*expected));
            prop_assert_eq!(decoded_len(raw(&json)), expected.len());
            let mut json = json.into_bytes();
            replace_lone_surrogates(&mut json);
            let text: String = serde_json::from_slice(&json).expect("the JSON must be valid");
            prop_assert_eq!(text, expected);
        }
    }
}
