//! Decides whether Lambda froze the process during a call to AWS.
//!
//! All functions are pure: the elapsed time is an argument.

use std::time::Duration;

/// If a call to AWS ends this long after its deadline, Lambda froze the process during the call.
/// The timers of a running process are never so late.
pub(crate) const FREEZE_SLACK: Duration = Duration::from_secs(1);

/// The maximum number of times that the agent repeats a call to AWS because a freeze of the process
/// seems to have interrupted the call. More interruptions in a row come from changes of the clock,
/// not from freezes.
pub(crate) const INTERRUPTIONS_MAX: usize = 8;

/// Returns whether a freeze of the process interrupted an operation that took `took` and should
/// have ended within `deadline`. `took` is `None` if a SnapStart restore set the steady (monotonic)
/// clock back, which also counts as an interruption.
pub fn was_interrupted(took: Option<Duration>, deadline: Duration) -> bool {
    took.is_none_or(|took| took >= deadline + FREEZE_SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_that_ends_a_second_after_its_deadline_was_interrupted() {
        let deadline = Duration::from_secs(4);
        for (millis, expected) in [(0, false), (4000, false), (4999, false), (5000, true)] {
            let took = Some(Duration::from_millis(millis));
            assert_eq!(was_interrupted(took, deadline), expected, "{millis}");
        }
        assert!(was_interrupted(None, deadline));
    }
}
