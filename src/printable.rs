//! Makes strings from callers, files and AWS safe to print on a terminal or in the log.

use std::fmt;

const LOG_CHARS_MAX: usize = 80;

/// A string that is safe to print, because each control character is printed as `?`. So the output
/// stays on one line and cannot control the terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self.0.chars(), |c| !c.is_control(), f)
    }
}

/// The beginning of a string from a caller, in a form that is safe for the log.
///
/// At most 80 characters are printed, and then the number of omitted characters. All characters
/// except printable ASCII are printed as `?`, so that a caller cannot forge a log line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogExcerpt<'a>(pub(crate) &'a str);

impl fmt::Display for LogExcerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        print(chars.by_ref().take(LOG_CHARS_MAX), |c| c.is_ascii_graphic() || c == ' ', f)?;
        match chars.count() {
            0 => Ok(()),
            more => write!(f, "… ({more} more)"),
        }
    }
}

fn print(
    chars: impl Iterator<Item = char>,
    is_allowed: fn(char) -> bool,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    use fmt::Write;
    for c in chars {
        f.write_char(if is_allowed(c) { c } else { '?' })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text;
    use proptest::prelude::*;

    #[test]
    fn control_characters_are_replaced_and_other_characters_kept() {
        assert_eq!(Printable("a\r\nb \u{1b}[31m é").to_string(), "a??b ?[31m é");
    }

    #[test]
    fn log_excerpt_is_short_and_printable_ascii() {
        assert_eq!(LogExcerpt("app/db").to_string(), "app/db");
        assert_eq!(
            LogExcerpt("a\r\nlevel=ERROR \u{1b}[31m\u{202e}").to_string(),
            "a??level=ERROR ?[31m?"
        );
        let long = LogExcerpt(&"x".repeat(100)).to_string();
        assert_eq!(long, format!("{}… (20 more)", "x".repeat(80)));
    }

    proptest! {
        #[test]
        fn for_any_text_no_control_character_is_printed(text in text()) {
            let printed = Printable(&text).to_string();
            prop_assert!(!printed.contains(char::is_control), "{printed}");
            prop_assert_eq!(printed.chars().count(), text.chars().count());
        }

        #[test]
        fn for_any_text_a_log_excerpt_is_one_short_line(text in text()) {
            let printed = LogExcerpt(&text).to_string();
            let is_allowed = |c: char| c.is_ascii_graphic() || c == ' ' || c == '…';
            prop_assert!(printed.chars().all(is_allowed), "{printed}");
            let count = text.chars().count();
            let expected = match count > LOG_CHARS_MAX {
                true => LOG_CHARS_MAX + format!("… ({} more)", count - LOG_CHARS_MAX).chars().count(),
                false => count,
            };
            prop_assert_eq!(printed.chars().count(), expected);
        }
    }
}
