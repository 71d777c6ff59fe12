//! Simulates Secrets Manager and Parameter Store with their quotas and their latency, and counts the
//! calls.

use crate::queue::Micros;
use fake_aws::TokenBucket;
use std::time::{Duration, SystemTime};

/// AWS's quotas for one account and region, in calls per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotas {
    /// The quota of `GetSecretValue` calls.
    gets: u32,
    /// The quota of `BatchGetSecretValue` calls.
    batches: u32,
    /// The quota that `GetParameter` and `GetParameters` calls share.
    pub(crate) parameters: u32,
    /// The quota of `GetParametersByPath` calls. Each page of an answer needs its own call.
    pub(crate) pages: u32,
}

impl Quotas {
    /// The quotas of an account that has not changed the throughput of Parameter Store.
    ///
    /// Source: "AWS Secrets Manager quotas" in AWS's user guide, as raised in March 2025, and "AWS
    /// Systems Manager endpoints and quotas" in AWS's general reference.
    pub(crate) const DEFAULT: Self = Self { gets: 10_000, batches: 100, parameters: 40, pages: 40 };

    /// The quotas of an account that pays for a higher throughput of Parameter Store.
    pub(crate) const HIGHER: Self = Self { parameters: 10_000, pages: 100, ..Self::DEFAULT };
}

/// The minimum latency of a call to AWS. A random part is added to each call, on average a quarter
/// of this minimum.
const LATENCY: Duration = Duration::from_millis(20);

/// The latency of a call to AWS that is throttled.
const THROTTLED_AFTER: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Batch,
    /// A call of `GetParameter` or `GetParameters`.
    Parameters,
    /// A call of `GetParametersByPath`, which returns one page.
    Page,
}

/// The numbers of calls of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) calls: u64,
    pub(crate) throttled: u64,
}

/// The calls that share one quota of AWS.
#[derive(Debug)]
struct Limited {
    bucket: TokenBucket,
    count: Count,
}

/// The simulated AWS. After a second without calls, the calls of a whole second can pass at once.
/// This is an assumption, because AWS does not document it.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// The calls of each kind, in the order of [`Call`].
    limited: [Limited; 4],
    /// The number of calls to AWS in each second.
    pub(crate) per_second: Vec<u32>,
}

impl Upstream {
    /// Creates an AWS account whose quotas are unused.
    pub(crate) fn idle(quotas: &Quotas) -> Self {
        let Quotas { gets, batches, parameters, pages } = *quotas;
        let limited = [gets, batches, parameters, pages].map(|quota| Limited {
            bucket: TokenBucket::full(quota, SystemTime::UNIX_EPOCH),
            count: Count::default(),
        });
        Self { limited, per_second: Vec::new() }
    }

    /// Creates an AWS account whose quotas other callers have used up.
    pub(crate) fn busy(quotas: &Quotas) -> Self {
        let mut upstream = Self::idle(quotas);
        for Limited { bucket, .. } in &mut upstream.limited {
            while bucket.take(SystemTime::UNIX_EPOCH) {}
        }
        upstream
    }

    /// Returns the numbers of calls of all operations.
    pub(crate) fn total(&self) -> Count {
        self.limited.iter().fold(Count::default(), |sum, Limited { count, .. }| Count {
            calls: sum.calls + count.calls,
            throttled: sum.throttled + count.throttled,
        })
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
        let Limited { bucket, count } = &mut self.limited[call as usize];
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
