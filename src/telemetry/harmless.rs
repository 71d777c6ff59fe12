//! Removes control characters from text that a caller sent, before the text reaches the log.

use std::fmt;

/// The maximum number of characters of a caller's text in a log line.
const SHOWN_MAX: usize = 80;

/// Text of a caller, to be displayed in a log line. It is displayed without control characters and cut
/// to 80 characters, so that the text can neither forge a log line nor control a terminal.
#[derive(Debug)]
pub struct Harmless<'a>(pub &'a str);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(SHOWN_MAX) {
            f.write_char(if c.is_ascii_graphic() || c == ' ' { c } else { '?' })?;
        }
        match chars.count() {
            0 => Ok(()),
            more => write!(f, "… ({more} more)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text;
    use proptest::prelude::*;

    #[test]
    fn control_characters_are_replaced_and_long_text_is_cut() {
        assert_eq!(Harmless("app/db").to_string(), "app/db");
        assert_eq!(
            Harmless("a\r\nlevel=ERROR \u{1b}[31m\u{202e}").to_string(),
            "a??level=ERROR ?[31m?"
        );
        let long = Harmless(&"x".repeat(100)).to_string();
        assert_eq!(long, format!("{}… (20 more)", "x".repeat(80)));
    }

    proptest! {
        #[test]
        fn for_any_text_the_output_is_one_short_line(text in text()) {
            let shown = Harmless(&text).to_string();
            let is_harmless = |c: char| c.is_ascii_graphic() || c == ' ' || c == '…';
            prop_assert!(shown.chars().all(is_harmless), "{shown}");
            let count = text.chars().count();
            let expected = match count > SHOWN_MAX {
                true => SHOWN_MAX + format!("… ({} more)", count - SHOWN_MAX).chars().count(),
                false => count,
            };
            prop_assert_eq!(shown.chars().count(), expected);
        }
    }
}
