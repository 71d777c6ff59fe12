//! Decides whether a call to AWS failed by itself, or because Lambda froze the process during the
//! call.
//!
//! All functions are pure: the elapsed time is an argument.

use std::time::Duration;

/// If a call to AWS ends this much later than its deadline, Lambda froze the process during the
/// call. The timers of a running process are never so late.
pub(crate) const FREEZE_SLACK: Duration = Duration::from_secs(1);

/// How many times the agent repeats a call to AWS that a freeze of the process seems to interrupt.
/// More interruptions in a row mean that the clock is being adjusted: a real freeze also ends the
/// Lambda invocation that waits for the call.
pub(crate) const INTERRUPTIONS_MAX: usize = 8;

/// Returns whether a freeze of the process interrupted an operation. `took` is how long the
/// operation took, and `deadline` is how long the operation may take. If `took` is `None` because a
/// SnapStart restore set the steady (monotonic) clock back, returns `true`.
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
