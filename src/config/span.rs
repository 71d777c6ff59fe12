//! Parses durations, such as `5m`.

use std::time::Duration;

/// The maximum duration in a setting: 30 days, which is longer than the lifetime of any Lambda
/// environment.
pub(crate) const SPAN_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSpan {
    #[error(
        "the value must be a duration like 250ms, 30s, 5m or 1h; a number without a unit means seconds"
    )]
    Unreadable,
    #[error("the duration must not be longer than 30 days")]
    TooLong,
}

/// Parses a duration, such as `250ms`, `30s`, `5m` or `1h`. A number without a unit means seconds.
///
/// # Errors
///
/// Returns an error if `text` is not a duration, or if the duration exceeds [`SPAN_MAX`].
pub(crate) fn parse(text: &str) -> Result<Duration, BadSpan> {
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
    fn units_are_milliseconds_to_hours() {
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
    fn invalid_and_too_long_spans_are_refused() {
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
