//! What is asked of the simulation: one function for each question.

use crate::fleet::{self, Outcome, Reads, START_MAX, Setup, Usage};
use crate::queue::Micros;
use crate::upstream::Upstream;
use sidekey::cache::freshness::Policy;
use sidekey::cache::prefetch::Mode;
use std::time::Duration;

/// Draws everything.
pub(crate) const SEED: u64 = 20_261_124;

/// Every mode, and how it is written.
pub(crate) const MODES: [(&str, Mode); 3] =
    [("get", Mode::Get), ("batch", Mode::Batch), ("auto", Mode::Auto)];

/// Listed secrets of an environment.
pub(crate) const SECRETS: [usize; 3] = [1, 6, 20];

/// Within this 99 of 100 environments have all their secrets, or starts come too fast.
pub(crate) const READY_SOON: Duration = Duration::from_millis(250);

/// Environments that Lambda adds to a function at most in each ten seconds.
///
/// Source: "Understanding Lambda function scaling" in its developer guide.
const SCALING_STEP: usize = 1_000;
const SCALING_EVERY: Duration = Duration::from_secs(10);

/// How often they are added. The first step meets a service at rest.
const SCALING_STEPS: usize = 3;

/// Dollars for one call: 0.05 for 10,000 of them. How a batch is billed AWS does not say; here it is
/// one call.
pub(crate) const DOLLARS_PER_CALL: f64 = 0.05 / 10_000.0;

fn setup(mode: Mode, secrets: usize, usage: Usage) -> Setup {
    Setup {
        mode,
        secrets,
        policy: Policy::default(),
        is_drawn: true,
        usage,
        starts: Vec::new(),
        until: Micros::default(),
        is_upstream_busy: false,
        seed: SEED,
    }
}

/// When the first of them starts. A service that has just been asked for all it allows has refilled
/// by then what two environments ask for at once.
const REFILL_MICROS: u64 = 20_000;

/// Returns the starts of so many environments a second, evenly, for `span`.
fn evenly(per_second: usize, span: Duration) -> Vec<Micros> {
    let span = u64::try_from(span.as_micros()).expect("the duration fits");
    let gap = 1_000_000 / u64::try_from(per_second.max(1)).expect("the rate fits");
    (0..span / gap.max(1)).map(|n| Micros(REFILL_MICROS + n * gap.max(1))).collect()
}

/// Returns the most starts a second that go on for ever and of which `is_good` holds.
fn most_starts(mode: Mode, secrets: usize, is_good: impl Fn(&Outcome) -> bool) -> usize {
    let holds = |per_second: usize| {
        let span = Duration::from_secs(5);
        let starts = evenly(per_second, span);
        let until = Micros::default().after(span + 2 * READY_SOON);
        let setup = setup(mode, secrets, Usage::StartOnly);
        is_good(&fleet::run(&Setup { starts, until, is_upstream_busy: true, ..setup }))
    };
    let (mut good, mut bad) = (0, 64);
    while holds(bad) {
        (good, bad) = (bad, 2 * bad);
    }
    while bad - good > 1.max(good / 100) {
        let middle = usize::midpoint(good, bad);
        *(if holds(middle) { &mut good } else { &mut bad }) = middle;
    }
    good
}

/// Returns how many environments a second may start before the first call is throttled.
pub(crate) fn starts_before_throttling(mode: Mode, secrets: usize) -> usize {
    most_starts(mode, secrets, |outcome| {
        outcome.upstream.get.throttled + outcome.upstream.batch.throttled == 0
    })
}

/// Returns how many may start before they wait: [`READY_SOON`].
pub(crate) fn starts_before_waiting(mode: Mode, secrets: usize) -> usize {
    most_starts(mode, secrets, |outcome| {
        let soon = outcome.ready.partition_point(|took| *took <= READY_SOON);
        soon * 100 >= outcome.started * 99
    })
}

/// Runs functions that all scale out as fast as Lambda lets them. The environments of a step start
/// within its first second.
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

/// Returns the share of environments that were not ready by the deadline of the prefetch.
pub(crate) fn late(outcome: &Outcome) -> f64 {
    let in_time = outcome.ready.partition_point(|took| *took <= START_MAX);
    ratio(outcome.started - in_time, outcome.started)
}

/// How refreshes went.
#[derive(Debug)]
pub(crate) struct Storm {
    /// Calls of each second.
    pub(crate) per_second: Vec<u32>,
    /// Calls a second on average, from the second half hour.
    pub(crate) mean: f64,
    /// Calls of the busiest second of that half hour.
    pub(crate) peak: u32,
    /// Throttled calls of the whole hour.
    pub(crate) throttled: u64,
    /// What readers got.
    pub(crate) reads: Reads,
}

/// Runs environments that all start within a second and are busy for an hour, each entry with its
/// own jitter or all with the same.
pub(crate) fn storm(environments: usize, secrets: usize, is_drawn: bool) -> Storm {
    let hour = Duration::from_secs(3600);
    let starts = evenly(environments, Duration::from_secs(1));
    let until = Micros::default().after(hour);
    let setup = setup(Mode::Get, secrets, Usage::Busy);
    let outcome = fleet::run(&Setup { is_drawn, starts, until, ..setup });
    let Upstream { mut per_second, get, .. } = outcome.upstream;
    per_second.resize(3600, 0);
    let settled = &per_second[1800..];
    let calls: u64 = settled.iter().map(|calls| u64::from(*calls)).sum();
    Storm {
        mean: float(calls) / 1800.0,
        peak: settled.iter().copied().max().unwrap_or_default(),
        throttled: get.throttled,
        reads: outcome.reads,
        per_second,
    }
}

/// What a thousand environments cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Day {
    /// Calls a day.
    pub(crate) calls: f64,
    /// Calls a day without a cache: one for each read.
    pub(crate) calls_without: f64,
    /// The share of reads that waited for upstream.
    pub(crate) waited: f64,
}

/// How long an environment lives, of those seen in the wild.
const LIFE: Duration = Duration::from_secs(2 * 3600);

/// Runs environments for a day, each invoked so long after the last time on average.
pub(crate) fn day(every: Duration, mode: Mode, secrets: usize) -> Day {
    const ENVIRONMENTS: usize = 100;
    let day = Duration::from_secs(24 * 3600);
    let starts = evenly(ENVIRONMENTS, Duration::from_secs(1));
    let until = Micros::default().after(day);
    let usage = Usage::Invoked { every, life: LIFE };
    let outcome = fleet::run(&Setup { starts, until, ..setup(mode, secrets, usage) });
    let calls = outcome.upstream.get.calls + outcome.upstream.batch.calls;
    let scale = 1000.0 / ratio(ENVIRONMENTS, 1);
    Day {
        calls: float(calls) * scale,
        calls_without: float(outcome.reads.total) * scale,
        waited: float(outcome.reads.waited) / float(outcome.reads.total),
    }
}

/// Returns the figure below which `share` of all lie.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is neither negative nor longer"
    )]
    let at = (ratio(last, 1) * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

/// Returns a count as a float.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

fn ratio(part: usize, whole: usize) -> f64 {
    float(part as u64) / float(whole.max(1) as u64)
}
