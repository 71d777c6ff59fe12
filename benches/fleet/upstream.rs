//! Simulates Secrets Manager with its quotas and its latency, and counts the calls.

use crate::queue::Micros;
use fake_aws::TokenBucket;
use std::time::{Duration, SystemTime};

/// AWS's quota of `GetSecretValue` calls per second, for one account and region.
///
/// Source: "AWS Secrets Manager quotas" in AWS's user guide, as raised in March 2025.
pub(crate) const GETS_PER_SECOND: u32 = 10_000;

/// AWS's quota of `BatchGetSecretValue` calls per second, for one account and region.
///
/// Source: "AWS Secrets Manager quotas" in AWS's user guide.
pub(crate) const BATCHES_PER_SECOND: u32 = 100;

/// The minimum latency of a call to AWS. A random part is added to each call, on average a quarter
/// of this minimum.
const LATENCY: Duration = Duration::from_millis(20);

/// The latency of a call to AWS that is throttled.
const THROTTLED_AFTER: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Batch,
}

/// The numbers of calls of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) calls: u64,
    pub(crate) throttled: u64,
}

/// The simulated Secrets Manager. After a second without calls, the calls of a whole second can
/// pass at once. This is an assumption, because AWS does not document it.
#[derive(Debug)]
pub(crate) struct Upstream {
    gets: TokenBucket,
    batches: TokenBucket,
    pub(crate) get: Count,
    pub(crate) batch: Count,
    /// The number of calls to AWS in each second.
    pub(crate) per_second: Vec<u32>,
}

impl Upstream {
    /// Creates a Secrets Manager whose quotas are unused.
    pub(crate) fn idle() -> Self {
        let at = SystemTime::UNIX_EPOCH;
        Self {
            gets: TokenBucket::full(GETS_PER_SECOND, at),
            batches: TokenBucket::full(BATCHES_PER_SECOND, at),
            get: Count::default(),
            batch: Count::default(),
            per_second: Vec::new(),
        }
    }

    /// Creates a Secrets Manager whose quotas other callers have used up.
    pub(crate) fn busy() -> Self {
        let mut upstream = Self::idle();
        while upstream.gets.take(SystemTime::UNIX_EPOCH) {}
        while upstream.batches.take(SystemTime::UNIX_EPOCH) {}
        upstream
    }

    /// Simulates a call. Returns the time at which the call ends, and whether it succeeds.
    pub(crate) fn call(
        &mut self,
        call: Call,
        now: Micros,
        random: &mut fastrand::Rng,
    ) -> (Micros, bool) {
        let second = usize::try_from(now.0 / 1_000_000).unwrap_or(usize::MAX);
        if self.per_second.len() <= second {
            self.per_second.resize(second + 1, 0);
        }
        self.per_second[second] += 1;
        let (bucket, count) = match call {
            Call::Get => (&mut self.gets, &mut self.get),
            Call::Batch => (&mut self.batches, &mut self.batch),
        };
        count.calls += 1;
        let is_answered = bucket.take(now.moment().wall);
        count.throttled += u64::from(!is_answered);
        let took = if is_answered {
            let tail = -(1.0 - random.f64()).ln();
            LATENCY + LATENCY.mul_f64(0.25 * tail)
        } else {
            THROTTLED_AFTER
        };
        (now.after(took), is_answered)
    }
}
