//! Converts times in responses of AWS.

use aws_smithy_types::DateTime;
use std::time::{Duration, SystemTime};

/// The last millisecond of the year 9999. Later times cannot be written as a date with four digits
/// for the year.
const MILLIS_MAX: u64 = 253_402_300_799_999;

/// Converts seconds since 1970 in a response of AWS to a time, and rounds it to milliseconds.
/// Returns `None` for a time before 1970 or after the year 9999.
pub(super) fn from_seconds(seconds: f64) -> Option<SystemTime> {
    to_system_time(DateTime::from_secs_f64(seconds))
}

/// Converts a time in a response of AWS, and rounds the time to milliseconds. AWS sends times as
/// floating-point numbers with milliseconds, so the parsed times have rounding errors. Returns
/// `None` for a time before 1970 or after the year 9999.
pub(super) fn to_system_time(time: DateTime) -> Option<SystemTime> {
    let millis = (time.as_nanos() + 500_000).div_euclid(1_000_000);
    let millis = u64::try_from(millis).ok().filter(|millis| *millis <= MILLIS_MAX)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
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
        // An emulator of AWS may send milliseconds instead of seconds.
        assert_eq!(to_system_time(DateTime::from_secs(1_600_000_000_000)), None);
        assert!(to_system_time(DateTime::from_secs(253_402_300_799)).is_some());
    }
}
