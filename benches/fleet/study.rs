//! Runs the simulations that `docs/fleet.md` describes. Each function answers one question.

use crate::fetching::Fetching;
use crate::fleet::{self, Outcome, Reads, START_MAX, Setup, Usage};
use crate::queue::Micros;
use crate::upstream::{Count, Quotas, Upstream};
use sidekey::cache::freshness::Policy;
use sidekey::cache::prefetch::Mode;
use std::time::Duration;

/// The seed for all random numbers of the simulations.
pub(crate) const SEED: u64 = 20_261_124;

/// All modes of the prefetch, with their names in the configuration.
pub(crate) const MODES: [(&str, Mode); 3] =
    [("get", Mode::Get), ("batch", Mode::Batch), ("auto", Mode::Auto)];

/// The numbers of secrets per environment for which the tables have rows.
pub(crate) const SECRETS: [usize; 3] = [1, 6, 20];

/// The goal for the start of a Lambda environment: 99 of 100 environments have cached all their
/// secrets within this time.
pub(crate) const READY_GOAL: Duration = Duration::from_millis(250);

/// The maximum number of environments that Lambda adds to one function at a time.
///
/// Source: "Understanding Lambda function scaling" in AWS's Lambda developer guide.
const SCALING_STEP: usize = 1_000;
const SCALING_EVERY: Duration = Duration::from_secs(10);

/// The number of times that Lambda adds environments in a simulation.
const SCALING_STEPS: usize = 3;

/// The price of one call to AWS in dollars: 0.05 for 10,000 calls. AWS does not document the price
/// of `BatchGetSecretValue`, so this call is counted as one call.
pub(crate) const DOLLARS_PER_CALL: f64 = 0.05 / 10_000.0;

fn setup(mode: Mode, secrets: usize, usage: Usage) -> Setup {
    Setup {
        fetching: Fetching::Secrets(mode),
        secrets,
        quotas: Quotas::DEFAULT,
        policy: Policy::default(),
        has_own_jitter: true,
        usage,
        starts: Vec::new(),
        until: Micros::default(),
        is_upstream_busy: false,
        seed: SEED,
    }
}

/// The start time of the first environment. Until then, used-up quotas of AWS recover enough for two
/// environments.
const REFILL: Duration = Duration::from_millis(20);

/// Returns start times at equal intervals: `per_second` start times in each second, for the
/// duration `span`, beginning at the time `first`.
fn evenly(per_second: usize, first: Duration, span: Duration) -> Vec<Micros> {
    let span = u64::try_from(span.as_micros()).expect("the duration fits");
    let gap = 1_000_000 / u64::try_from(per_second.max(1)).expect("the rate fits");
    let first = Micros::default().after(first).0;
    (0..span / gap.max(1)).map(|n| Micros(first + n * gap.max(1))).collect()
}

/// Returns the highest number of environments that can start per second, without end, so that
/// `is_good` accepts the results. A quota of few calls per second needs a simulation that is longer by
/// the factor `slowness`.
fn most_starts(setup: &Setup, slowness: u32, is_good: impl Fn(&Outcome) -> bool) -> usize {
    let holds = |per_second: usize| {
        let span = Duration::from_secs(5) * slowness;
        let starts = evenly(per_second, REFILL * slowness, span);
        let until = Micros::default().after(span + 2 * READY_GOAL);
        is_good(&fleet::run(&Setup { starts, until, is_upstream_busy: true, ..setup.clone() }))
    };
    let (mut good, mut bad) = (0, 64 / slowness as usize);
    while holds(bad) {
        (good, bad) = (bad, 2 * bad);
    }
    while bad - good > 1.max(good / 100) {
        let middle = usize::midpoint(good, bad);
        *(if holds(middle) { &mut good } else { &mut bad }) = middle;
    }
    good
}

/// Returns how many environments can start per second before AWS throttles a call.
pub(crate) fn starts_before_throttling(mode: Mode, secrets: usize) -> usize {
    most_starts_unthrottled(&setup(mode, secrets, Usage::StartOnly), 1)
}

fn most_starts_unthrottled(setup: &Setup, slowness: u32) -> usize {
    most_starts(setup, slowness, |outcome| outcome.upstream.total().throttled == 0)
}

/// Returns how many environments can start per second if 99 of 100 must reach the goal
/// [`READY_GOAL`].
pub(crate) fn starts_before_waiting(mode: Mode, secrets: usize) -> usize {
    most_starts(&setup(mode, secrets, Usage::StartOnly), 1, |outcome| {
        let soon = outcome.ready.partition_point(|took| *took <= READY_GOAL);
        soon * 100 >= outcome.started * 99
    })
}

/// Simulates several functions to which Lambda adds environments at its maximum rate.
pub(crate) fn scale_out(functions: usize, mode: Mode, secrets: usize) -> Outcome {
    let mut random = fastrand::Rng::with_seed(SEED);
    let count = functions * SCALING_STEP * SCALING_STEPS;
    let mut starts: Vec<Micros> = (0..count)
        .map(|n| {
            let step =
                u32::try_from(n / (functions * SCALING_STEP)).expect("the number of steps fits");
            Micros(1).after(SCALING_EVERY * step + Duration::from_secs(1).mul_f64(random.f64()))
        })
        .collect();
    starts.sort_unstable();
    let until = Micros::default().after(Duration::from_secs(3600));
    fleet::run(&Setup { starts, until, ..setup(mode, secrets, Usage::StartOnly) })
}

/// Returns the share of environments that had not cached all their secrets at the deadline of the
/// prefetch.
pub(crate) fn late(outcome: &Outcome) -> f64 {
    let in_time = outcome.ready.partition_point(|took| *took <= START_MAX);
    ratio(outcome.started - in_time, outcome.started)
}

/// The results of a simulated hour of refreshes.
#[derive(Debug)]
pub(crate) struct Storm {
    /// The number of calls to AWS in each second.
    pub(crate) per_second: Vec<u32>,
    /// The average number of calls to AWS per second in the second half-hour.
    pub(crate) mean: f64,
    /// The number of calls to AWS in the busiest second of the second half-hour.
    pub(crate) peak: u32,
    /// The number of throttled calls to AWS in the whole hour.
    pub(crate) throttled: u64,
    pub(crate) reads: Reads,
}

/// Simulates environments that all start within one second and are busy for an hour. If
/// `has_own_jitter` is set, each cached secret has its own random jitter.
pub(crate) fn storm(environments: usize, secrets: usize, has_own_jitter: bool) -> Storm {
    let hour = Duration::from_secs(3600);
    let starts = evenly(environments, REFILL, Duration::from_secs(1));
    let until = Micros::default().after(hour);
    let setup = setup(Mode::Get, secrets, Usage::Busy);
    let outcome = fleet::run(&Setup { has_own_jitter, starts, until, ..setup });
    let Count { throttled, .. } = outcome.upstream.total();
    let Upstream { mut per_second, .. } = outcome.upstream;
    per_second.resize(3600, 0);
    let settled = &per_second[1800..];
    let calls: u64 = settled.iter().map(|calls| u64::from(*calls)).sum();
    Storm {
        mean: float(calls) / 1800.0,
        peak: settled.iter().copied().max().unwrap_or_default(),
        throttled,
        reads: outcome.reads,
        per_second,
    }
}

/// The calls to AWS of a thousand environments in one day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Day {
    pub(crate) calls: f64,
    /// The number of calls to AWS per day without a cache, which makes one call for each read.
    pub(crate) calls_without: f64,
    /// The share of reads that waited for a call to AWS.
    pub(crate) waited: f64,
}

/// The lifetime of a Lambda environment in the simulations. Environments in practice have similar
/// lifetimes.
const LIFE: Duration = Duration::from_secs(2 * 3600);

/// Simulates a day. `every` is the average time between two invocations in one environment.
pub(crate) fn day(every: Duration, mode: Mode, secrets: usize) -> Day {
    const ENVIRONMENTS: usize = 100;
    let day = Duration::from_secs(24 * 3600);
    let starts = evenly(ENVIRONMENTS, REFILL, Duration::from_secs(1));
    let until = Micros::default().after(day);
    let usage = Usage::Invoked { every, life: LIFE };
    let outcome = fleet::run(&Setup { starts, until, ..setup(mode, secrets, usage) });
    let Count { calls, .. } = outcome.upstream.total();
    let scale = 1000.0 / ratio(ENVIRONMENTS, 1);
    Day {
        calls: float(calls) * scale,
        calls_without: float(outcome.reads.total) * scale,
        waited: float(outcome.reads.waited) / float(outcome.reads.total),
    }
}

/// The number of parameters that each environment lists in the simulations of Parameter Store.
pub(crate) const PARAMETERS: usize = 20;

/// The ways to fetch the parameters, each with its name in the tables. A page of a path has ten
/// parameters.
pub(crate) const FETCHINGS: [(&str, Fetching); 3] = [
    ("`GetParameter`", Fetching::Parameter),
    ("`GetParameters`", Fetching::Parameters),
    ("`GetParametersByPath`", Fetching::Path { pages: 2 }),
];

/// The quotas of Parameter Store. For each, two numbers of environments that start within one
/// second.
pub(crate) const QUOTAS: [(Quotas, [usize; 2]); 2] =
    [(Quotas::DEFAULT, [10, 100]), (Quotas::HIGHER, [100, 1_000])];

fn parameters(fetching: Fetching, quotas: Quotas, usage: Usage) -> Setup {
    let entries = if matches!(fetching, Fetching::Path { .. }) { 1 } else { PARAMETERS };
    Setup { fetching, quotas, ..setup(Mode::Get, entries, usage) }
}

/// Returns how many environments can start per second before Parameter Store throttles a call.
pub(crate) fn parameter_starts(fetching: Fetching, quotas: Quotas) -> usize {
    // Quotas of 40 calls recover in half a second as far as an environment with 20 calls needs.
    let slowness = if quotas.parameters < 100 { 25 } else { 1 };
    most_starts_unthrottled(&parameters(fetching, quotas, Usage::StartOnly), slowness)
}

/// Simulates environments that start within one second.
pub(crate) fn burst(environments: usize, fetching: Fetching, quotas: Quotas) -> Outcome {
    let starts = evenly(environments, REFILL, Duration::from_secs(1));
    let until = Micros::default().after(Duration::from_secs(24 * 3600));
    fleet::run(&Setup { starts, until, ..parameters(fetching, quotas, Usage::StartOnly) })
}

/// Returns the average number of calls that one busy environment makes in an hour, its start
/// included.
pub(crate) fn calls_per_hour(fetching: Fetching) -> f64 {
    const ENVIRONMENTS: usize = 10;
    let starts = evenly(ENVIRONMENTS, REFILL, Duration::from_secs(1));
    let until = Micros::default().after(Duration::from_secs(3600));
    let setup = parameters(fetching, Quotas::HIGHER, Usage::Busy);
    let outcome = fleet::run(&Setup { starts, until, ..setup });
    float(outcome.upstream.total().calls) / ratio(ENVIRONMENTS, 1)
}

/// Returns a percentile of the sorted values. If `share` is 0.99, 99 % of the values do not exceed
/// the result.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a list's length is neither negative nor larger than the length"
    )]
    let at = (ratio(last, 1) * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the count is below 2^53, so the conversion is exact"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

fn ratio(part: usize, total: usize) -> f64 {
    float(part as u64) / float(total.max(1) as u64)
}
