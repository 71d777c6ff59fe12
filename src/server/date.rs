//! The value of the HTTP header `Date`.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a date in an HTTP header, in bytes. An example is `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_BYTES: usize = 29;

/// The last second that an HTTP date can express, in seconds since 1970: the end of the year 9999.
const SECOND_MAX: u64 = 253_402_300_799;

thread_local! {
    /// The last date that this thread has formatted, with its second since 1970. Formatting a date
    /// takes longer than reading a cached secret, and many answers have the same date.
    static LAST: Cell<(u64, [u8; DATE_BYTES])> = const { Cell::new((u64::MAX, [0; DATE_BYTES])) };
}

/// Returns a time in the format of the HTTP header `Date`.
pub(super) fn http_date(time: SystemTime) -> [u8; DATE_BYTES] {
    let second = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(SECOND_MAX);
    let (last, date) = LAST.get();
    if last == second {
        return date;
    }
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    let date = text.as_bytes().try_into().expect("a date in an HTTP header must have 29 bytes");
    LAST.set((second, date));
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_clock_in_both_directions() {
        for (second, expected) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (SECOND_MAX + 1, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let date = http_date(UNIX_EPOCH + Duration::from_secs(second));
            assert_eq!(str::from_utf8(&date), Ok(expected));
        }
        assert!(http_date(UNIX_EPOCH - Duration::from_secs(1)).starts_with(b"Thu, 01 Jan 1970"));
    }
}
