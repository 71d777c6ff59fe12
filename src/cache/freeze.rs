//! Tells a call that a freeze cut from one that failed.
//!
//! Pure: the time that passed comes in as an argument.

use std::time::Duration;

/// How far past its own deadline a call must end to have been cut. Both clocks run on through a
/// freeze, and no timer of a running process is that late.
pub const FREEZE_SLACK: Duration = Duration::from_secs(1);

/// How often one call is made again because a freeze cut it. Each freeze is the end of an invocation,
/// and so of whoever waited: more than a few in a row are clocks that are being set.
pub const INTERRUPTIONS_MAX: usize = 8;

/// Returns whether something that should have ended by `deadline` stood still in between. Where the
/// clocks cannot say how long it took, it did.
pub fn was_interrupted(took: Option<Duration>, deadline: Duration) -> bool {
    took.is_none_or(|took| took >= deadline + FREEZE_SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_past_its_deadline_a_call_was_interrupted() {
        let deadline = Duration::from_secs(4);
        for (millis, expected) in [(0, false), (4000, false), (4999, false), (5000, true)] {
            let took = Some(Duration::from_millis(millis));
            assert_eq!(was_interrupted(took, deadline), expected, "{millis}");
        }
        assert!(was_interrupted(None, deadline));
    }
}
