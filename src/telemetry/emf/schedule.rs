//! Decides when Sidekey writes the next record of metrics for CloudWatch.

use crate::clock::Moment;
use std::time::Duration;

/// The shortest time between two records (log lines with metrics), unless there is trouble, such as
/// a stale read.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// The times at which Sidekey last wrote records (log lines with metrics).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    last: Moment,
    /// When the last record was written earlier than planned, because of trouble.
    last_early: Option<Moment>,
}

/// Why Sidekey writes a record (a log line with metrics).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A minute has passed since the last record.
    Interval,
    /// There was trouble, such as the first stale read of a minute.
    Trouble,
    /// SnapStart is about to take a snapshot of the process.
    Snapshot,
    /// The agent stops.
    Shutdown,
}

impl Reason {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Trouble => "trouble",
            Self::Snapshot => "snapshot",
            Self::Shutdown => "shutdown",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Now(Reason),
    /// No record is due until this time has passed. After a freeze of the process, the time may be
    /// over sooner than a timer shows.
    In(Duration),
}

impl Schedule {
    pub(crate) fn starting(now: Moment) -> Self {
        Self { last: now, last_early: None }
    }

    /// Decides whether a record is due. `is_trouble` says whether there was trouble, such as a
    /// stale read, since the last record.
    ///
    /// If the passed time is unknown, because a SnapStart restore has set a clock back, the record
    /// is due.
    pub(crate) fn next(&self, now: Moment, is_trouble: bool) -> Next {
        let left = |since: Moment| match now.since(since) {
            Some(passed) => INTERVAL.saturating_sub(passed),
            None => Duration::ZERO,
        };
        let wait = left(self.last);
        let until_early = self.last_early.map_or(Duration::ZERO, left);
        if is_trouble && until_early.is_zero() {
            return Next::Now(Reason::Trouble);
        }
        match wait.is_zero() {
            true => Next::Now(Reason::Interval),
            false => Next::In(if is_trouble { until_early } else { wait }),
        }
    }

    /// Notes that a record (a log line with metrics) was written at `now`, or that it was empty and
    /// so was not written.
    pub(crate) fn note(&mut self, now: Moment, reason: Reason) {
        self.last = now;
        if reason == Reason::Trouble {
            self.last_early = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    const START: Moment = Moment { wall: SystemTime::UNIX_EPOCH, steady: Duration::ZERO };

    fn at(seconds: u64) -> Moment {
        START.after(Duration::from_secs(seconds))
    }

    fn wait(seconds: u64) -> Next {
        Next::In(Duration::from_secs(seconds))
    }

    /// Asks at the time of each step whether a record is due. If so, notes that the record was
    /// written.
    #[track_caller]
    fn check(steps: &[(u64, bool, Next)]) {
        let mut schedule = Schedule::starting(START);
        for (seconds, is_trouble, expected) in steps {
            let next = schedule.next(at(*seconds), *is_trouble);
            assert_eq!(next, *expected, "after {seconds} s");
            if let Next::Now(reason) = next {
                schedule.note(at(*seconds), reason);
            }
        }
    }

    #[test]
    fn record_is_due_once_a_minute() {
        check(&[
            (0, false, wait(60)),
            (59, false, wait(1)),
            (60, false, Next::Now(Reason::Interval)),
            (61, false, wait(59)),
            (10_000, false, Next::Now(Reason::Interval)),
            (10_001, false, wait(59)),
        ]);
    }

    #[test]
    fn first_trouble_of_a_minute_is_reported_at_once() {
        check(&[
            (10, true, Next::Now(Reason::Trouble)),
            (11, true, wait(59)),
            (12, false, wait(58)),
            (70, true, Next::Now(Reason::Trouble)),
            (75, true, wait(55)),
            (130, false, Next::Now(Reason::Interval)),
            (131, true, Next::Now(Reason::Trouble)),
            (132, true, wait(59)),
        ]);
    }

    #[test]
    fn freeze_or_restore_makes_a_record_due() {
        let mut schedule = Schedule::starting(at(100));
        let only_wall = Moment { steady: at(101).steady, ..at(200) };
        assert_eq!(schedule.next(only_wall, false), Next::Now(Reason::Interval));
        assert_eq!(schedule.next(at(0), false), Next::Now(Reason::Interval));
        schedule.note(at(0), Reason::Interval);
        assert_eq!(schedule.next(at(0), false), wait(60));
    }
}
