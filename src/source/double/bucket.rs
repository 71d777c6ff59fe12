//! How many calls a second are let through.
//!
//! Pure: the time comes in as an argument.

use std::time::SystemTime;

/// A bucket of tokens: one for each call, and as many new ones a second as it holds.
#[derive(Debug)]
pub struct Bucket {
    tokens_per_second: f64,
    tokens: f64,
    filled_at: SystemTime,
}

impl Bucket {
    /// Makes a bucket that holds the tokens of one second.
    pub fn full(tokens_per_second: u32, now: SystemTime) -> Self {
        let tokens = f64::from(tokens_per_second);
        Self { tokens_per_second: tokens, tokens, filled_at: now }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: SystemTime) -> bool {
        // A clock that was set back refills nothing.
        let elapsed = now.duration_since(self.filled_at).unwrap_or_default();
        self.filled_at = now;
        let refilled = self.tokens + elapsed.as_secs_f64() * self.tokens_per_second;
        self.tokens = refilled.min(self.tokens_per_second);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    #[track_caller]
    fn check(bucket: &mut Bucket, after: Duration, calls: usize, expected: usize) {
        let through = (0..calls).filter(|_| bucket.take(START + after)).count();
        assert_eq!(through, expected);
    }

    #[test]
    fn a_second_brings_as_many_tokens_as_the_bucket_holds() {
        let mut bucket = Bucket::full(4, START);
        check(&mut bucket, Duration::ZERO, 10, 4);
        check(&mut bucket, Duration::from_millis(500), 10, 2);
        check(&mut bucket, Duration::from_secs(60), 10, 4);
    }

    #[test]
    fn a_clock_that_runs_backwards_brings_nothing() {
        let mut bucket = Bucket::full(1, START + Duration::from_secs(9));
        check(&mut bucket, Duration::ZERO, 2, 1);
    }

    #[test]
    fn a_bucket_that_holds_nothing_lets_nothing_through() {
        check(&mut Bucket::full(0, START), Duration::from_secs(9), 2, 0);
    }
}
