//! Decides when the agent refreshes a cached secret by itself.
//!
//! All functions are pure: ages are arguments.

use super::freshness::{self, Policy, Refresh, Standing};
use std::time::Duration;

/// The minimum time between two calls to AWS for the same secret, if requests with
/// `refreshNow=true` cause the calls. It protects AWS from clients that always send
/// `refreshNow=true`.
pub(crate) const REFRESH_NOW_INTERVAL: Duration = Duration::from_secs(1);

/// When the agent next fetches a cached secret by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The agent fetches the cached secret now.
    Now,
    /// The agent waits for this duration, and then decides again whether to fetch the cached
    /// secret.
    In(Duration),
    /// The agent does not fetch the cached secret until a request reads it.
    WhenRead,
}

/// Returns when the agent next fetches a cached secret by itself. `was_read` says whether a request
/// has read the secret since its last fetch. `retry_in` is the remaining wait after a failed
/// refresh.
pub fn next(
    policy: &Policy,
    standing: &Standing,
    was_read: bool,
    retry_in: Option<Duration>,
) -> Next {
    if policy.ttl.is_zero() {
        return Next::WhenRead;
    }
    let wait = match (retry_in, standing.age) {
        (Some(retry_in), _) => retry_in,
        (None, _) if standing.is_restored => Duration::ZERO,
        (None, Some(age)) => freshness::due(policy, standing.jitter).saturating_sub(age),
        (None, None) => Duration::ZERO,
    };
    match (wait.is_zero(), is_wanted(policy, was_read)) {
        (false, _) => Next::In(wait),
        (true, true) => Next::Now,
        (true, false) => Next::WhenRead,
    }
}

/// Returns whether the agent should already have refreshed a cached secret: the secret is older
/// than its time to live, and requests have read it since its last fetch or its policy is `always`.
/// A secret of unknown age counts as too old.
pub(crate) fn is_overdue(policy: &Policy, age: Option<Duration>, was_read: bool) -> bool {
    let is_old = age.is_none_or(|age| age > policy.ttl);
    !policy.ttl.is_zero() && is_wanted(policy, was_read) && is_old
}

/// Returns whether the agent refreshes a cached secret by itself when its refresh is due.
fn is_wanted(policy: &Policy, was_read: bool) -> bool {
    was_read || policy.refresh == Refresh::Always
}

/// Returns whether AWS has returned permanent errors for a cached secret, such as denied access,
/// for longer than the grace period. The agent then calls AWS for this secret only if a request
/// needs it.
pub(crate) fn is_given_up(policy: &Policy, standing: &Standing) -> bool {
    let refused = standing.trouble.and_then(|trouble| trouble.refused);
    refused.is_some_and(|refused| refused >= policy.denied_grace)
}

/// Returns how long a request with `refreshNow=true` must wait before Sidekey may call AWS.
/// `since_last` is the time since the last call for the secret, if there was a call.
pub(crate) fn next_refresh_now(since_last: Option<Duration>) -> Duration {
    since_last.map_or(Duration::ZERO, |since| REFRESH_NOW_INTERVAL.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::freshness::Trouble;

    #[test]
    fn entry_refused_for_longer_than_its_grace_period_is_given_up() {
        let policy = Policy { denied_grace: Duration::from_secs(60), ..Policy::default() };
        for (refused, expected) in [(None, false), (Some(59), false), (Some(60), true)] {
            let refused = refused.map(Duration::from_secs);
            let trouble = Some(Trouble { refused, attempted: Some(Duration::ZERO) });
            let age = Some(Duration::ZERO);
            let standing = Standing { age, jitter: 0.2, is_restored: false, trouble };
            assert_eq!(is_given_up(&policy, &standing), expected, "{refused:?}");
        }
    }

    #[test]
    fn calls_of_refresh_now_are_a_second_apart() {
        for (since_ms, expected_ms) in
            [(None, 0), (Some(0), 1000), (Some(999), 1), (Some(1000), 0), (Some(5000), 0)]
        {
            let wait = next_refresh_now(since_ms.map(Duration::from_millis));
            assert_eq!(wait, Duration::from_millis(expected_ms), "{since_ms:?}");
        }
    }

    #[track_caller]
    fn check(age: Option<u64>, was_read: bool, retry_in: Option<u64>, expected: Next) {
        check_under(Refresh::WhenRead, age, was_read, retry_in, expected);
    }

    #[track_caller]
    fn check_under(
        refresh: Refresh,
        age: Option<u64>,
        was_read: bool,
        retry_in: Option<u64>,
        expected: Next,
    ) {
        let policy = Policy { ttl: Duration::from_secs(100), refresh, ..Policy::default() };
        let standing = Standing {
            age: age.map(Duration::from_secs),
            jitter: 0.2,
            is_restored: false,
            trouble: None,
        };
        let retry_in = retry_in.map(Duration::from_secs);
        assert_eq!(next(&policy, &standing, was_read, retry_in), expected);
    }

    #[test]
    fn fresh_entry_is_checked_again_when_it_is_due() {
        check(Some(0), false, None, Next::In(Duration::from_secs(80)));
        check(Some(30), true, None, Next::In(Duration::from_secs(50)));
    }

    #[test]
    fn due_entry_is_fetched_only_if_it_was_read() {
        check(Some(80), true, None, Next::Now);
        check(Some(500), true, None, Next::Now);
        check(None, true, None, Next::Now);
        check(Some(80), false, None, Next::WhenRead);
        check(None, false, None, Next::WhenRead);
    }

    #[test]
    fn back_off_decides_after_a_failure() {
        check(Some(80), true, Some(3), Next::In(Duration::from_secs(3)));
        check(Some(80), true, Some(0), Next::Now);
        check(Some(80), false, Some(0), Next::WhenRead);
    }

    #[test]
    fn entry_that_is_always_refreshed_needs_no_reader() {
        let check = |age, retry_in, expected| {
            for was_read in [false, true] {
                check_under(Refresh::Always, age, was_read, retry_in, expected);
            }
        };
        check(Some(0), None, Next::In(Duration::from_secs(80)));
        check(Some(80), None, Next::Now);
        check(Some(500), None, Next::Now);
        check(None, None, Next::Now);
        check(Some(80), Some(3), Next::In(Duration::from_secs(3)));
        check(Some(80), Some(0), Next::Now);
    }

    #[test]
    fn entry_read_before_a_restore_is_fetched_at_once() {
        let policy = Policy { ttl: Duration::from_secs(100), ..Policy::default() };
        let age = Some(Duration::ZERO);
        let standing = Standing { age, jitter: 0.2, is_restored: true, trouble: None };
        assert_eq!(next(&policy, &standing, true, None), Next::Now);
        assert_eq!(next(&policy, &standing, false, None), Next::WhenRead);
        let always = Policy { refresh: Refresh::Always, ..policy };
        assert_eq!(next(&always, &standing, false, None), Next::Now);
    }

    #[test]
    fn value_beyond_its_ttl_is_overdue_if_it_is_wanted() {
        let when_read = Policy { ttl: Duration::from_secs(100), ..Policy::default() };
        let always = Policy { refresh: Refresh::Always, ..when_read };
        let uncached = Policy { ttl: Duration::ZERO, ..always };
        for (policy, age, was_read, expected) in [
            (when_read, Some(100), true, false),
            (when_read, Some(101), true, true),
            (when_read, Some(101), false, false),
            (when_read, None, true, true),
            (always, Some(101), false, true),
            (always, Some(100), false, false),
            (uncached, Some(101), true, false),
        ] {
            let age = age.map(Duration::from_secs);
            assert_eq!(is_overdue(&policy, age, was_read), expected, "{policy:?} {age:?}");
        }
    }

    #[test]
    fn timers_fetch_nothing_with_a_ttl_of_zero() {
        let standing = Standing { age: None, jitter: 0.2, is_restored: false, trouble: None };
        for refresh in Refresh::ALL {
            let policy = Policy { ttl: Duration::ZERO, refresh, ..Policy::default() };
            assert_eq!(next(&policy, &standing, true, None), Next::WhenRead);
        }
    }
}
