//! Converts times in responses of AWS.

use aws_smithy_types::DateTime;
use std::time::{Duration, SystemTime};

/// Converts a time in a response of AWS, and rounds the time to milliseconds. AWS sends times as
/// floating-point numbers with milliseconds, so the parsed times have rounding errors.
pub(super) fn to_system_time(time: DateTime) -> Option<SystemTime> {
    let millis = (time.as_nanos() + 500_000).div_euclid(1_000_000);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_rounded_to_milliseconds() {
        let date = DateTime::from_secs_f64(1_569_534_789.046);
        let expected = SystemTime::UNIX_EPOCH + Duration::from_millis(1_569_534_789_046);
        assert_eq!(to_system_time(date), Some(expected));
        assert_eq!(to_system_time(DateTime::from_secs(-5)), None);
    }
}
