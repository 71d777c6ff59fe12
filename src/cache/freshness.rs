//! Decides how fresh an entry is.
//!
//! Pure: the ages and the random draw come in as arguments. The words are RFC 5861's.

use std::time::Duration;

/// The least and the most that [`Policy::ttl`] is brought forward by, so that environments which
/// started together drift apart.
pub const JITTER: std::ops::Range<f64> = 0.1..0.3;

/// The longest wait between two attempts after failures.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// The same where nothing is held that could be served meanwhile.
///
/// Source: the simulation of a fleet. Of ten functions that scale out at once, past the quota, the last
/// environment is ready after 8 s so, and after 47 s with the longer wait (`docs/fleet.md`).
pub const EMPTY_BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// How long after a failed attempt upstream counts as failing: the longest wait, and what the attempt
/// after it may take.
pub const FAILING_MAX: Duration = BACK_OFF_MAX.saturating_add(Duration::from_secs(5));

/// The first wait after a failure, before jitter.
pub const BACK_OFF_BASE: Duration = Duration::from_millis(200);

/// The least wait after a failure, whatever the draw: a loop of readers must not hammer AWS.
pub const BACK_OFF_MIN: Duration = Duration::from_millis(50);

/// How long a refusal is remembered before the service is asked again.
pub const REFUSAL_MEMORY: Duration = Duration::from_secs(3);

/// The longest that readers get the refusal of a value that is withheld before the service is asked
/// again: whoever has mended the secret must not wait for long, and one that nobody mends costs a call
/// in this time at most.
pub const WITHHELD_TTL: Duration = Duration::from_secs(5);

/// What holds for one secret: how old its value may get, what is served when upstream fails, and
/// whether it is refreshed and waited for without a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a value is served without a second thought.
    pub ttl: Duration,
    /// How much longer it is served while it is being refreshed.
    pub stale_while_revalidate: Duration,
    /// How much longer it is served while upstream fails transiently.
    pub stale_if_error: Duration,
    /// How long it is served after upstream first refused.
    pub denied_grace: Duration,
    /// Whether it is refreshed ahead of its TTL though nobody reads it.
    pub refresh: Refresh,
    /// Whether the agent is ready only once it is held, if it is listed.
    pub is_required: bool,
}

/// Which entries timers refresh ahead of their TTL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Those that somebody read since they were fetched: cost follows use.
    #[default]
    WhenRead,
    /// All: a secret that is read rarely is warm when it is.
    Always,
}

impl Refresh {
    /// Both.
    pub const ALL: [Self; 2] = [Self::WhenRead, Self::Always];

    /// Returns how it is written.
    pub fn label(self) -> &'static str {
        match self {
            Self::WhenRead => "when-read",
            Self::Always => "always",
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::from_secs(3600),
            denied_grace: Duration::from_secs(60),
            refresh: Refresh::WhenRead,
            is_required: true,
        }
    }
}

impl Policy {
    /// Returns the policy of a value that is withheld: it is asked for again in seconds, by a reader
    /// who waits for the answer, and only where somebody reads it.
    #[must_use]
    pub fn of_withheld(self) -> Self {
        Self {
            ttl: self.ttl.min(WITHHELD_TTL),
            stale_while_revalidate: Duration::ZERO,
            refresh: Refresh::WhenRead,
            ..self
        }
    }
}

/// How an entry stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Time since the call that fetched it was sent; `None` where the clocks cannot say.
    pub age: Option<Duration>,
    /// This entry's share of [`JITTER`].
    pub jitter: f64,
    /// Whether it was fetched before the process was restored from a snapshot: then it is not fresh,
    /// whatever its age.
    pub is_restored: bool,
    /// What has gone wrong since, if anything.
    pub trouble: Option<Trouble>,
}

/// What has gone wrong since an entry was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Time since upstream first refused, if it has since the last success.
    pub refused: Option<Duration>,
    /// Time since the last failed attempt ended; `None` where the clocks cannot say.
    pub attempted: Option<Duration>,
}

/// How fresh an entry is, and so what a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The entry.
    Fresh,
    /// The entry, and a refresh in the background.
    Due,
    /// The entry, marked stale, and a refresh in the background.
    Stale(Reason),
    /// What upstream answers, or an error.
    Expired,
}

/// Why an entry is served past its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is being refreshed.
    Revalidating,
    /// Upstream fails transiently.
    Failing,
    /// Upstream refuses, and the grace lasts.
    Refused,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Revalidating, Self::Failing, Self::Refused];

    /// Returns the reason's name as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Revalidating => "revalidating",
            Self::Failing => "failing",
            Self::Refused => "refused",
        }
    }
}

/// Returns how fresh an entry is.
pub fn freshness(policy: &Policy, standing: &Standing) -> Freshness {
    // Nothing is cached, and so nothing can be stale: every reader waits for a call.
    if policy.ttl.is_zero() {
        return Freshness::Expired;
    }
    if let Some(refused) = standing.trouble.and_then(|trouble| trouble.refused) {
        let in_grace = refused < policy.denied_grace;
        return if in_grace { Freshness::Stale(Reason::Refused) } else { Freshness::Expired };
    }
    let Some(age) = standing.age else {
        return Freshness::Expired;
    };
    if !standing.is_restored {
        if age < due(policy, standing.jitter) {
            return Freshness::Fresh;
        }
        if age < policy.ttl {
            return Freshness::Due;
        }
        if age < policy.ttl + policy.stale_while_revalidate {
            return Freshness::Stale(Reason::Revalidating);
        }
    }
    // Where no attempt has ended for longer than timers ever take, the process stood still: the reader
    // finds out for itself whether upstream still fails.
    let is_failing = standing
        .trouble
        .and_then(|trouble| trouble.attempted)
        .is_some_and(|attempted| attempted < FAILING_MAX);
    if is_failing && age < policy.ttl + policy.stale_if_error {
        return Freshness::Stale(Reason::Failing);
    }
    Freshness::Expired
}

/// Returns the age from which an entry is refreshed ahead of its TTL.
pub fn due(policy: &Policy, jitter: f64) -> Duration {
    debug_assert!(JITTER.contains(&jitter), "jitter comes from its range");
    policy.ttl.mul_f64(1.0 - jitter)
}

/// Returns this entry's share of [`JITTER`] for a `draw` from `[0, 1)`.
pub fn jitter(draw: f64) -> f64 {
    debug_assert!((0.0..1.0).contains(&draw), "draw comes from [0, 1)");
    JITTER.start + draw * (JITTER.end - JITTER.start)
}

/// Returns how long to wait after `failures` failures in a row: full jitter below a bound that doubles
/// up to `most`.
///
/// Source: "Exponential Backoff And Jitter" on AWS's architecture blog.
pub fn back_off(failures: u32, most: Duration, draw: f64) -> Duration {
    debug_assert!((0.0..1.0).contains(&draw), "draw comes from [0, 1)");
    let doublings = failures.saturating_sub(1).min(16);
    let bound = BACK_OFF_BASE.saturating_mul(2_u32.pow(doublings)).min(most);
    bound.mul_f64(draw).max(BACK_OFF_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withheld_is_old_in_seconds_and_refreshed_for_readers_only() {
        let policy = Policy {
            ttl: Duration::from_secs(300),
            stale_while_revalidate: Duration::from_secs(10),
            refresh: Refresh::Always,
            ..Policy::default()
        };
        let expected = Policy {
            ttl: WITHHELD_TTL,
            stale_while_revalidate: Duration::ZERO,
            refresh: Refresh::WhenRead,
            ..policy
        };
        assert_eq!(policy.of_withheld(), expected);
        for ttl in [Duration::ZERO, Duration::from_secs(1)] {
            assert_eq!(Policy { ttl, ..policy }.of_withheld().ttl, ttl);
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> Policy {
        Policy {
            ttl: 100 * SECOND,
            stale_while_revalidate: 10 * SECOND,
            stale_if_error: 1000 * SECOND,
            denied_grace: 60 * SECOND,
            ..Policy::default()
        }
    }

    /// Checks an entry of `age` seconds (none: unknown) with 20 % jitter under [`policy`].
    #[track_caller]
    fn check(age: Option<f64>, trouble: Option<Trouble>, expected: Freshness) {
        let age = age.map(Duration::from_secs_f64);
        let standing = Standing { age, jitter: 0.2, is_restored: false, trouble };
        assert_eq!(freshness(&policy(), &standing), expected, "{standing:?}");
    }

    #[test]
    fn nothing_from_before_a_restore_is_fresh() {
        for (age, trouble, expected) in [
            (0, None, Freshness::Expired),
            (105, None, Freshness::Expired),
            (0, failed(Some(0)), Freshness::Stale(Reason::Failing)),
            (1100, failed(Some(0)), Freshness::Expired),
        ] {
            let age = Some(Duration::from_secs(age));
            let standing = Standing { age, jitter: 0.2, is_restored: true, trouble };
            assert_eq!(freshness(&policy(), &standing), expected, "{standing:?}");
        }
    }

    fn failed(attempted: Option<u64>) -> Option<Trouble> {
        Some(Trouble { refused: None, attempted: attempted.map(Duration::from_secs) })
    }

    fn refused(since: f64) -> Option<Trouble> {
        Some(Trouble { refused: Some(Duration::from_secs_f64(since)), attempted: None })
    }

    #[test]
    fn age_alone() {
        check(Some(0.0), None, Freshness::Fresh);
        check(Some(79.999), None, Freshness::Fresh);
        check(Some(80.0), None, Freshness::Due);
        check(Some(99.999), None, Freshness::Due);
        check(Some(100.0), None, Freshness::Stale(Reason::Revalidating));
        check(Some(109.999), None, Freshness::Stale(Reason::Revalidating));
        check(Some(110.0), None, Freshness::Expired);
        check(None, None, Freshness::Expired);
    }

    #[test]
    fn a_transient_failure_stretches_the_life() {
        check(Some(79.0), failed(Some(0)), Freshness::Fresh);
        check(Some(99.0), failed(Some(0)), Freshness::Due);
        check(Some(110.0), failed(Some(0)), Freshness::Stale(Reason::Failing));
        check(Some(1099.999), failed(Some(29)), Freshness::Stale(Reason::Failing));
        check(Some(1100.0), failed(Some(0)), Freshness::Expired);
        check(None, failed(Some(0)), Freshness::Expired);
    }

    #[test]
    fn a_failure_of_long_ago_says_nothing() {
        check(Some(200.0), failed(Some(34)), Freshness::Stale(Reason::Failing));
        check(Some(200.0), failed(Some(35)), Freshness::Expired);
        check(Some(200.0), failed(None), Freshness::Expired);
    }

    #[test]
    fn a_refusal_counts_also_within_the_ttl() {
        check(Some(1.0), refused(0.0), Freshness::Stale(Reason::Refused));
        check(Some(1.0), refused(59.999), Freshness::Stale(Reason::Refused));
        check(Some(1.0), refused(60.0), Freshness::Expired);
    }

    #[test]
    fn a_ttl_of_zero_is_no_cache() {
        let none = Policy { ttl: Duration::ZERO, ..policy() };
        for trouble in [None, failed(Some(0)), refused(0.0)] {
            let age = Some(Duration::ZERO);
            let standing = Standing { age, jitter: 0.2, is_restored: false, trouble };
            assert_eq!(freshness(&none, &standing), Freshness::Expired);
        }
    }

    #[test]
    fn back_off_doubles_up_to_its_bound_and_never_vanishes() {
        let almost = 0.999_999;
        for most in [EMPTY_BACK_OFF_MAX, BACK_OFF_MAX] {
            assert!(back_off(1, most, almost) > BACK_OFF_BASE.mul_f64(0.99));
            assert!(back_off(3, most, almost) > BACK_OFF_BASE.mul_f64(3.99));
            assert!(back_off(u32::MAX, most, almost) <= most);
            assert!(back_off(u32::MAX, most, almost) > most.mul_f64(0.99));
            assert_eq!(back_off(1, most, 0.0), BACK_OFF_MIN);
            assert_eq!(back_off(9, most, 0.0), BACK_OFF_MIN);
        }
    }

    #[test]
    fn jitter_spans_its_range() {
        assert!((jitter(0.0) - 0.1).abs() < 1e-9);
        assert!((jitter(0.5) - 0.2).abs() < 1e-9);
        assert!(JITTER.contains(&jitter(0.999_999)));
    }

    #[test]
    fn each_reason_has_the_label_that_metrics_document() {
        let labels = Reason::ALL.map(Reason::label);
        assert_eq!(labels, ["revalidating", "failing", "refused"]);
    }
}
