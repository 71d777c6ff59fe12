//! A token bucket: limits the number of calls per second. Callers pass the current time as an
//! argument.

use std::time::SystemTime;

/// A token bucket, which limits the number of calls per second. Each call takes a token. The bucket
/// gains a fixed number of tokens per second, and holds at most the tokens of one second.
#[derive(Debug)]
pub struct TokenBucket {
    tokens_per_second: f64,
    tokens: f64,
    filled_at: SystemTime,
}

impl TokenBucket {
    /// Creates a full token bucket, so that the first `tokens_per_second` calls can pass at once.
    pub fn full(tokens_per_second: u32, now: SystemTime) -> Self {
        let tokens = f64::from(tokens_per_second);
        Self { tokens_per_second: tokens, tokens, filled_at: now }
    }

    /// Takes a token for one call. Returns `false` if there is no token, so that the call must be
    /// throttled.
    pub fn take(&mut self, now: SystemTime) -> bool {
        // If the clock was set back, the elapsed time counts as zero and no tokens are added.
        let elapsed = now.duration_since(self.filled_at).unwrap_or_default();
        self.filled_at = now;
        let refilled = self.tokens + elapsed.as_secs_f64() * self.tokens_per_second;
        self.tokens = refilled.min(self.tokens_per_second);
        let has_token = self.tokens >= 1.0;
        if has_token {
            self.tokens -= 1.0;
        }
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    #[track_caller]
    fn check(bucket: &mut TokenBucket, after: Duration, calls: usize, expected: usize) {
        let passed = (0..calls).filter(|_| bucket.take(START + after)).count();
        assert_eq!(passed, expected);
    }

    #[test]
    fn one_second_refills_the_whole_bucket() {
        let mut bucket = TokenBucket::full(4, START);
        check(&mut bucket, Duration::ZERO, 10, 4);
        check(&mut bucket, Duration::from_millis(500), 10, 2);
        check(&mut bucket, Duration::from_secs(60), 10, 4);
    }

    #[test]
    fn clock_set_back_adds_no_tokens() {
        let mut bucket = TokenBucket::full(1, START + Duration::from_secs(9));
        check(&mut bucket, Duration::ZERO, 2, 1);
    }

    #[test]
    fn bucket_of_size_zero_passes_no_call() {
        check(&mut TokenBucket::full(0, START), Duration::from_secs(9), 2, 0);
    }
}
