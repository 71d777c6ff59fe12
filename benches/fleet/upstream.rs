//! A simulated Secrets Manager with quotas, latency and counters.

use crate::queue::Micros;
use fake_aws::TokenBucket;
use std::time::{Duration, SystemTime};

/// AWS's quota of `GetSecretValue` calls per second, for one account and region.
///
/// Source: "AWS Secrets Manager quotas" in its user guide; raised in March 2025.
pub(crate) const GETS_PER_SECOND: u32 = 10_000;

/// AWS's quota of `BatchGetSecretValue` calls per second, from the same page.
pub(crate) const BATCHES_PER_SECOND: u32 = 100;

/// The minimum latency of a call. An exponentially distributed part is added, with a quarter of
/// this minimum as its mean.
const LATENCY: Duration = Duration::from_millis(20);

/// The latency of a call that is throttled.
const THROTTLED_AFTER: Duration = Duration::from_millis(10);

/// The operation of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A call of `GetSecretValue`.
    Get,
    /// A call of `BatchGetSecretValue`.
    Batch,
}

/// Counts of the calls of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// The number of calls, including throttled calls.
    pub(crate) calls: u64,
    /// The number of throttled calls.
    pub(crate) throttled: u64,
}

/// The simulated service. The token bucket of each quota holds the calls of one second, as the
/// fake's does, because AWS does not document its burst size.
#[derive(Debug)]
pub(crate) struct Upstream {
    gets: TokenBucket,
    batches: TokenBucket,
    /// Counts of `GetSecretValue`.
    pub(crate) get: Count,
    /// Counts of `BatchGetSecretValue`.
    pub(crate) batch: Count,
    /// The number of calls in each second.
    pub(crate) per_second: Vec<u32>,
}

impl Upstream {
    /// Creates a service with unused quotas.
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

    /// Creates a service whose quotas are used up.
    pub(crate) fn busy() -> Self {
        let mut upstream = Self::idle();
        while upstream.gets.take(SystemTime::UNIX_EPOCH) {}
        while upstream.batches.take(SystemTime::UNIX_EPOCH) {}
        upstream
    }

    /// Makes a call. Returns the time at which the call ends, and whether it succeeds.
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
