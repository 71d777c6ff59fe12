//! Removes white space and quotes that a shell, a file or a template left around the value of an
//! environment variable.

/// The error message for a setting or a credential in quotes. Sidekey does not remove the quotes
/// around a token, because callers may read the same variable and send the token with the quotes.
pub(super) const QUOTED: &str =
    "the value is in quotes, and the quotes count as a part of the value: remove the quotes";

/// The byte order mark, a character that some editors write at the beginning of a UTF-8 file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns `text` without white space, line breaks and byte order marks at its beginning and end.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == BYTE_ORDER_MARK)
}

/// Returns whether `c` is a Unicode character without a visible form, such as the zero-width space
/// U+200B. Text that is copied from a web page may contain such characters.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | BYTE_ORDER_MARK
    )
}

/// Returns the text between the quotes if `text` begins and ends with the same quote (`"` or `'`).
/// Otherwise returns `None`.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_byte_order_marks_are_removed_at_both_ends() {
        for text in ["a b", " a b\n", "\u{feff}a b\r\n", "\t\u{feff} a b", "\u{a0}a b\u{feff}"] {
            assert_eq!(trimmed(text), "a b", "{text:?}");
        }
        assert_eq!(trimmed(" \u{feff}\r\n"), "");
    }

    #[test]
    fn only_a_pair_of_equal_quotes_is_removed() {
        for (text, expected) in [
            ("\"a\"", Some("a")),
            ("'a b'", Some("a b")),
            ("\"\"", Some("")),
            ("\"'a'\"", Some("'a'")),
            ("\"a'", None),
            ("\"", None),
            ("a\"", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(unquoted(text), expected, "{text}");
        }
    }
}
