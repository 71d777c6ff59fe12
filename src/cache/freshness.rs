//! Decides how fresh a cached secret is: whether the agent may return it, and whether the agent
//! must refresh it.
//!
//! All functions are pure: ages and random numbers are arguments. The terms
//! `stale-while-revalidate` and `stale-if-error` come from RFC 5861.

use std::time::Duration;

/// How long before the end of a secret's TTL its refresh starts, as a share of the TTL: 10 to 30 %.
/// Each secret gets a random share, so that Lambda environments that started together do not all
/// refresh at once.
pub(crate) const JITTER: std::ops::Range<f64> = 0.1..0.3;

/// The longest time that the agent waits after a failed refresh of a cached secret before it tries
/// again by itself.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// The longest wait between two attempts to fetch a secret that is not cached, after transient
/// failures.
///
/// In the simulation in `docs/fleet.md`, ten functions scale out at once and exceed the quota of
/// AWS. With this limit, the last environment is ready after 8 s; with [`BACK_OFF_MAX`], it is
/// ready after 47 s.
pub const EMPTY_BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// How long after a failed call the agent assumes that AWS still fails: the longest wait before the
/// next call ([`BACK_OFF_MAX`]), plus 5 s for that call.
pub const FAILING_MAX: Duration = BACK_OFF_MAX.saturating_add(Duration::from_secs(5));

/// The upper bound of the random wait after the first failed call to AWS. Each further failure
/// doubles this bound.
pub(crate) const BACK_OFF_BASE: Duration = Duration::from_millis(200);

/// The shortest wait after a failed call to AWS. It protects AWS from clients that retry in a loop.
pub(crate) const BACK_OFF_MIN: Duration = Duration::from_millis(50);

/// How long the agent remembers a permanent error of AWS for a secret, such as denied access.
/// During this time, requests for the secret get the same error without a new call to AWS.
pub(crate) const REFUSAL_MEMORY: Duration = Duration::from_secs(3);

/// The TTL of a value that Sidekey refuses to return, because the value breaks the rules for
/// secrets of its name. The TTL is short, so that requests soon get a corrected value.
pub(crate) const WITHHELD_TTL: Duration = Duration::from_secs(5);

/// The refresh policy of a secret: how old its cached value may get, and how long the agent returns
/// an old value while AWS fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The age up to which the cached value of a secret counts as fresh.
    pub ttl: Duration,
    /// How long after the end of the TTL the agent still returns the old value of a secret while it
    /// fetches a new value.
    pub stale_while_revalidate: Duration,
    /// How long after the end of the TTL the agent still returns the old value of a secret while
    /// calls to AWS fail with transient errors.
    pub stale_if_error: Duration,
    /// How long the agent still returns the cached value of a secret after AWS first returned a
    /// permanent error for the secret, such as denied access.
    pub denied_grace: Duration,
    /// Whether the agent refreshes the secret even if no request reads it.
    pub refresh: Refresh,
    /// Whether the agent is ready only after it has fetched this secret. Applies only to the
    /// secrets in `SIDEKEY_SECRETS`.
    pub is_required: bool,
}

/// Which cached secrets the agent refreshes before their TTL ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// The agent refreshes a secret only if a request has read it since the last fetch. Unread
    /// secrets then cost no calls to AWS.
    #[default]
    WhenRead,
    /// The agent refreshes a secret even if no request reads it, so that rarely read secrets stay
    /// fresh.
    Always,
}

impl Refresh {
    pub(crate) const ALL: [Self; 2] = [Self::WhenRead, Self::Always];

    pub(crate) fn label(self) -> &'static str {
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
    /// Returns the changed policy for a secret whose value Sidekey refuses to return. The TTL is at
    /// most [`WITHHELD_TTL`], and the agent refreshes the secret only if requests read it.
    #[must_use]
    pub(crate) fn of_withheld(self) -> Self {
        Self {
            ttl: self.ttl.min(WITHHELD_TTL),
            stale_while_revalidate: Duration::ZERO,
            refresh: Refresh::WhenRead,
            ..self
        }
    }
}

/// The facts about a cached secret that decide how fresh it is at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The time since Sidekey sent the call that fetched the cached secret. `None` if this time is
    /// unknown, because a clock went back at a SnapStart restore.
    pub age: Option<Duration>,
    /// How long before the end of its TTL the cached secret is refreshed, as a share of the TTL: a
    /// random number from 0.1 to 0.3.
    pub jitter: f64,
    /// Whether SnapStart has restored the process since the secret was fetched. If so, the cached
    /// secret is not fresh.
    pub is_restored: bool,
    /// The failures since the cached secret was fetched, or `None` if no refresh has failed.
    pub trouble: Option<Trouble>,
}

/// How long AWS has returned permanent errors for a cached secret, and how long ago the last
/// refresh of the secret failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How long ago AWS first returned a permanent error for the secret, such as denied access.
    /// `None` if AWS has returned no such error since the last successful fetch of the secret.
    pub refused: Option<Duration>,
    /// How long ago the last refresh of the cached secret failed. `None` if this time is unknown,
    /// because a SnapStart restore set the steady (monotonic) clock back.
    pub attempted: Option<Duration>,
}

/// How fresh a cached secret is. This decides whether the agent returns the secret, and whether the
/// agent calls AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The TTL of the cached secret does not end soon. The agent returns the secret, and needs no
    /// refresh.
    Fresh,
    /// The TTL of the cached secret ends soon. The agent returns the secret, and refreshes it in
    /// the background.
    Due,
    /// The TTL of the cached secret is over, or AWS returns a permanent error for the secret, such
    /// as denied access. The agent returns the old value, marked as stale, and refreshes the secret
    /// in the background.
    Stale(Reason),
    /// The cached secret is too old to return, so a request must wait for AWS.
    Expired,
}

/// Why the agent returns a stale value. A cached value is stale if its TTL is over, or if AWS
/// returns a permanent error for the secret, such as denied access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The TTL of the cached value is over. The agent returns the old value while a refresh is
    /// running, as `stale_while_revalidate` in the policy allows.
    Revalidating,
    /// The agent returns a stale value because the TTL is over and calls to AWS fail with transient
    /// errors.
    Failing,
    /// The agent returns a stale value because AWS returns a permanent error for the secret, such
    /// as denied access, and the configured grace period is not over.
    Refused,
}

impl Reason {
    /// All reasons why the agent returns a stale value.
    pub const ALL: [Self; 3] = [Self::Revalidating, Self::Failing, Self::Refused];

    /// Returns the name of this reason for a stale value, as used in the labels of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Revalidating => "revalidating",
            Self::Failing => "failing",
            Self::Refused => "refused",
        }
    }
}

/// Decides how fresh a cached secret is, from its refresh policy and the facts in `standing`.
pub fn freshness(policy: &Policy, standing: &Standing) -> Freshness {
    // A TTL of 0 turns the cache off for this secret, so every request waits for a call to AWS.
    if policy.ttl.is_zero() {
        return Freshness::Expired;
    }
    let Some(age) = standing.age else {
        return Freshness::Expired;
    };
    if let Some(refused) = standing.trouble.and_then(|trouble| trouble.refused) {
        let in_grace = refused < policy.denied_grace;
        return if in_grace { Freshness::Stale(Reason::Refused) } else { Freshness::Expired };
    }
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
    // Only a recent failure counts. After a longer time, the process was frozen, and a new call
    // must show whether AWS still fails.
    let is_failing = standing
        .trouble
        .and_then(|trouble| trouble.attempted)
        .is_some_and(|attempted| attempted < FAILING_MAX);
    if is_failing && age < policy.ttl + policy.stale_if_error {
        return Freshness::Stale(Reason::Failing);
    }
    Freshness::Expired
}

/// Returns the age at which the agent refreshes a cached secret: the TTL times `1 - jitter`.
pub(crate) fn due(policy: &Policy, jitter: f64) -> Duration {
    debug_assert!(
        JITTER.contains(&jitter),
        "the jitter, a share of the TTL, must be between 0.1 and 0.3"
    );
    policy.ttl.mul_f64(1.0 - jitter)
}

/// Converts `draw`, a random number from `[0, 1)`, to the share of the TTL by which the agent
/// refreshes a secret before the TTL ends: 0.1 to 0.3.
pub fn jitter(draw: f64) -> f64 {
    debug_assert!((0.0..1.0).contains(&draw), "the random number must lie in the range [0, 1)");
    JITTER.start + draw * (JITTER.end - JITTER.start)
}

/// Returns a random time to wait after `failures` consecutive failed calls. Its upper bound doubles
/// with each failure, up to `most`. `draw` is the random number, from `[0, 1)`.
///
/// Source: the article *Exponential Backoff And Jitter* on AWS's architecture blog.
pub(crate) fn back_off(failures: u32, most: Duration, draw: f64) -> Duration {
    debug_assert!((0.0..1.0).contains(&draw), "the random number must lie in the range [0, 1)");
    let doublings = failures.saturating_sub(1).min(16);
    let bound = BACK_OFF_BASE.saturating_mul(2_u32.pow(doublings)).min(most);
    bound.mul_f64(draw).max(BACK_OFF_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withheld_value_has_a_short_ttl_and_is_refreshed_only_for_readers() {
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

    #[track_caller]
    fn check(age: Option<f64>, trouble: Option<Trouble>, expected: Freshness) {
        let age = age.map(Duration::from_secs_f64);
        let standing = Standing { age, jitter: 0.2, is_restored: false, trouble };
        assert_eq!(freshness(&policy(), &standing), expected, "{standing:?}");
    }

    #[test]
    fn no_entry_from_before_a_restore_is_fresh() {
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
    fn age_decides_if_no_attempt_failed() {
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
    fn transient_failure_extends_the_time_of_serving() {
        check(Some(79.0), failed(Some(0)), Freshness::Fresh);
        check(Some(99.0), failed(Some(0)), Freshness::Due);
        check(Some(110.0), failed(Some(0)), Freshness::Stale(Reason::Failing));
        check(Some(1099.999), failed(Some(29)), Freshness::Stale(Reason::Failing));
        check(Some(1100.0), failed(Some(0)), Freshness::Expired);
        check(None, failed(Some(0)), Freshness::Expired);
    }

    #[test]
    fn failure_of_long_ago_does_not_count() {
        check(Some(200.0), failed(Some(34)), Freshness::Stale(Reason::Failing));
        check(Some(200.0), failed(Some(35)), Freshness::Expired);
        check(Some(200.0), failed(None), Freshness::Expired);
    }

    #[test]
    fn refusal_counts_even_within_the_ttl() {
        check(Some(1.0), refused(0.0), Freshness::Stale(Reason::Refused));
        check(Some(1.0), refused(59.999), Freshness::Stale(Reason::Refused));
        check(Some(1.0), refused(60.0), Freshness::Expired);
        check(None, refused(0.0), Freshness::Expired);
    }

    #[test]
    fn ttl_of_zero_means_no_cache() {
        let none = Policy { ttl: Duration::ZERO, ..policy() };
        for trouble in [None, failed(Some(0)), refused(0.0)] {
            let age = Some(Duration::ZERO);
            let standing = Standing { age, jitter: 0.2, is_restored: false, trouble };
            assert_eq!(freshness(&none, &standing), Freshness::Expired);
        }
    }

    #[test]
    fn back_off_doubles_up_to_its_limit_and_is_never_zero() {
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
    fn each_reason_has_its_documented_label() {
        let labels = Reason::ALL.map(Reason::label);
        assert_eq!(labels, ["revalidating", "failing", "refused"]);
    }
}
