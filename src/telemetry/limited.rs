//! Limits how often something that a caller can trigger is logged.

use crate::clock::Moment;
use std::sync::Mutex;
use std::time::Duration;

/// The least time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line of its kind through a second, and counts the others.
#[derive(Debug, Default)]
pub struct Limited {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Moment>,
    dropped: u64,
}

impl Limited {
    /// Returns how many lines were left out since the last one, or `None` where this one is to be
    /// left out too.
    pub fn pass(&self, now: Moment) -> Option<u64> {
        let mut state = self.state.lock().expect("no holder panics");
        let is_due =
            state.last.and_then(|last| now.since(last)).is_none_or(|since| since >= INTERVAL);
        if !is_due {
            state.dropped += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn one_line_a_second_passes_and_tells_of_the_others() {
        let limited = Limited::default();
        let start = Moment { wall: SystemTime::UNIX_EPOCH, steady: Duration::ZERO };
        let at = |millis| start.after(Duration::from_millis(millis));
        let passed = [0, 10, 999, 1000, 1001, 2500].map(|millis| limited.pass(at(millis)));
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
