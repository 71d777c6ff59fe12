//! A list of events of which only the newest are kept. Each event has a number, so that the page
//! requests only events that it has not shown yet.

use serde::Serialize;
use std::collections::VecDeque;

/// The maximum number of events in a [`History`]. The page shows the last minute: with 50 secrets
/// that are each read 4 times per second, these are 12,000 reads.
const EVENTS_MAX: usize = 12_000;

/// The newest events, in the order in which they happened.
#[derive(Debug)]
pub(super) struct History<T> {
    events: VecDeque<T>,
    total: u64,
}

/// The events that the page has not shown yet.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct News<'a, T> {
    /// The number of all events so far. The page sends this number with its next request.
    pub(super) total: u64,
    pub(super) events: Vec<&'a T>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { events: VecDeque::new(), total: 0 }
    }
}

impl<T> History<T> {
    pub(super) fn push(&mut self, event: T) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.total += 1;
    }

    /// Returns the events after the first `count` events, except events that were dropped.
    pub(super) fn after(&self, count: u64) -> News<'_, T> {
        let new = usize::try_from(self.total.saturating_sub(count)).unwrap_or(usize::MAX);
        let known = self.events.len().saturating_sub(new);
        News { total: self.total, events: self.events.iter().skip(known).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_events_are_returned_and_old_events_are_dropped() {
        let mut history = History::default();
        assert_eq!(history.after(0), News { total: 0, events: Vec::new() });
        history.push(1);
        history.push(2);
        for (count, expected) in [(0, vec![&1, &2]), (1, vec![&2]), (2, vec![]), (9, vec![])] {
            assert_eq!(history.after(count).events, expected, "{count}");
        }
        for event in 0..EVENTS_MAX {
            history.push(event);
        }
        let all = history.after(0);
        assert_eq!((all.events.len(), all.events[0]), (EVENTS_MAX, &0));
        assert_eq!(all.total, EVENTS_MAX as u64 + 2);
    }
}
