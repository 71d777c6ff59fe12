//! Secrets Manager as a fleet sees it: quotas, latency, and what is counted.

use crate::queue::Micros;
use fake_aws::TokenBucket;
use std::time::{Duration, SystemTime};

/// Calls of `GetSecretValue` a second, of an account in a region.
///
/// Source: "AWS Secrets Manager quotas" in its user guide; raised in March 2025.
pub(crate) const GETS_PER_SECOND: u32 = 10_000;

/// Calls of `BatchGetSecretValue` a second, from the same page.
pub(crate) const BATCHES_PER_SECOND: u32 = 100;

/// What a call takes at least. The tail above it is exponential, with a quarter of this as its mean.
const LATENCY: Duration = Duration::from_millis(20);

/// What a call takes that is told there are too many.
const THROTTLED_AFTER: Duration = Duration::from_millis(10);

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `GetSecretValue`.
    Get,
    /// `BatchGetSecretValue`.
    Batch,
}

/// What was asked, and how it was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Calls, throttled ones included.
    pub(crate) calls: u64,
    /// Those that were throttled.
    pub(crate) throttled: u64,
}

/// The service. The bucket of each quota holds the calls of one second, as the fake's does: AWS
/// does not say how many it lets through at once.
#[derive(Debug)]
pub(crate) struct Upstream {
    gets: TokenBucket,
    batches: TokenBucket,
    /// What was asked by `GetSecretValue`.
    pub(crate) get: Count,
    /// What was asked by `BatchGetSecretValue`.
    pub(crate) batch: Count,
    /// Calls of each second.
    pub(crate) per_second: Vec<u32>,
}

impl Upstream {
    /// Makes a service at rest.
    pub(crate) fn rested() -> Self {
        let at = SystemTime::UNIX_EPOCH;
        Self {
            gets: TokenBucket::full(GETS_PER_SECOND, at),
            batches: TokenBucket::full(BATCHES_PER_SECOND, at),
            get: Count::default(),
            batch: Count::default(),
            per_second: Vec::new(),
        }
    }

    /// Makes a service that has just been asked for all that a second allows: nothing of what it
    /// lets through comes from before.
    pub(crate) fn busy() -> Self {
        let mut upstream = Self::rested();
        while upstream.gets.take(SystemTime::UNIX_EPOCH) {}
        while upstream.batches.take(SystemTime::UNIX_EPOCH) {}
        upstream
    }

    /// Makes a call, and returns when it ends and whether it is answered.
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
