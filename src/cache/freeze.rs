//! Decides whether a call failed by itself, or because the process was frozen during the call.
//!
//! All functions are pure: the elapsed time is an argument.

use std::time::Duration;

/// If a call ends this much later than its deadline, the process was frozen during the call. The
/// timers of a running process are never so late.
pub(crate) const FREEZE_SLACK: Duration = Duration::from_secs(1);

/// How many times a call to AWS is repeated if a freeze of the process seems to interrupt it each
/// time. More interruptions in a row mean that the clock is being adjusted: a real freeze also ends
/// the invocation of the waiting reader.
pub(crate) const INTERRUPTIONS_MAX: usize = 8;

/// Returns whether a freeze of the process interrupted an operation. `took` is how long the
/// operation took, and `deadline` is how long it may take. If `took` is `None` because a SnapStart
/// restore set the steady clock back, returns `true`.
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
