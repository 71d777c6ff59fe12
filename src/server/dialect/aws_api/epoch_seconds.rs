//! Formats times as the AWS API does, as seconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the seconds since 1970 as a number, with up to three digits after the decimal point.
pub(super) fn epoch_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() as f64 + f64::from(since.subsec_millis()) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_seconds_with_milliseconds() {
        for (millis, expected) in [
            (0, "0.0"),
            (1_569_534_789_046, "1569534789.046"),
            (1_999_999_999_999, "1999999999.999"),
            (4_102_444_800_001, "4102444800.001"),
        ] {
            let seconds = epoch_seconds(UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(
                serde_json::to_string(&seconds)
                    .expect("a finite number must be serializable as JSON"),
                expected
            );
        }
    }
}
