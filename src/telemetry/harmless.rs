//! Makes what a caller wrote harmless before it reaches a log.

use std::fmt;

/// How many characters of a caller's text are shown.
const SHOWN_MAX: usize = 80;

/// A caller's text for a log: bounded, and without control characters, so that it can neither forge
/// a line nor steer a terminal.
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
    fn control_characters_and_length_are_tamed() {
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
        fn for_any_text_what_is_shown_is_one_short_line(text in text()) {
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
