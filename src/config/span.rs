//! Spans of time as people write them.

use std::time::Duration;

/// The longest span that is taken: longer than any environment lives.
pub const SPAN_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why a text is no span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSpan {
    /// It is not a number with a unit.
    #[error("a span like 250ms, 30s, 5m or 1h expected; a bare number means seconds")]
    Unreadable,
    /// It is longer than [`SPAN_MAX`].
    #[error("longer than 30 days")]
    TooLong,
}

/// Parses `250ms`, `30s`, `5m` or `1h`; a bare number means seconds.
///
/// # Errors
///
/// Where it is none of these, or too long.
pub fn parse(text: &str) -> Result<Duration, BadSpan> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| BadSpan::Unreadable)?;
    let millis: u64 = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(BadSpan::Unreadable),
    };
    let span = number.checked_mul(millis).map(Duration::from_millis).ok_or(BadSpan::TooLong)?;
    if span > SPAN_MAX { Err(BadSpan::TooLong) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use proptest::prelude::*;

    #[test]
    fn units() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("90", 90_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span() {
        for text in ["", "s", "1.5s", "-1", "1 s", "5min", "1d", "ten"] {
            assert_eq!(parse(text), Err(BadSpan::Unreadable), "{text}");
        }
        for text in ["800h", "18446744073709551615"] {
            assert_eq!(parse(text), Err(BadSpan::TooLong), "{text}");
        }
    }

    proptest! {
        #[test]
        fn for_any_text_a_span_is_bounded(text in text_of(&["1", "0", "9", "ms", "s", "m", "h", "."])) {
            if let Ok(span) = parse(&text) {
                prop_assert!(span <= SPAN_MAX && text.starts_with(|c: char| c.is_ascii_digit()));
            }
        }

        #[test]
        fn for_any_number_a_span_is_that_many_of_its_unit(number: u64) {
            for (unit, millis) in [("ms", 1), ("", 1000), ("s", 1000), ("m", 60_000), ("h", 3_600_000)] {
                let expected = u128::from(number) * millis;
                let read = parse(&format!("{number}{unit}"));
                match expected <= SPAN_MAX.as_millis() {
                    true => prop_assert_eq!(read.map(|span| span.as_millis()), Ok(expected)),
                    false => prop_assert_eq!(read, Err(BadSpan::TooLong)),
                }
            }
        }
    }
}
