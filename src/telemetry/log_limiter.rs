//! Limits log lines that callers can cause, for example by requests with wrong tokens. Without this
//! limit, a caller could fill the log.

use crate::clock::Moment;
use std::sync::Mutex;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// Allows one log line per second, and counts the log lines that it suppresses. Each kind of log
/// line needs its own limiter, so that different kinds do not suppress each other.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Moment>,
    dropped: u64,
}

impl LogLimiter {
    /// If a log line may be written now, returns how many log lines were suppressed since the last
    /// written line. Otherwise returns `None`, and counts the line as suppressed.
    pub(crate) fn pass(&self, now: Moment) -> Option<u64> {
        let mut state = self.state.lock().expect("no thread may panic while it holds the lock");
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
    fn one_line_a_second_is_allowed_and_reports_how_many_were_left_out() {
        let limiter = LogLimiter::default();
        let start = Moment { wall: SystemTime::UNIX_EPOCH, steady: Duration::ZERO };
        let at = |millis| start.after(Duration::from_millis(millis));
        let passed = [0, 10, 999, 1000, 1001, 2500].map(|millis| limiter.pass(at(millis)));
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
