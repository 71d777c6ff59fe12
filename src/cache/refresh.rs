//! The loop that refreshes entries before their TTL ends: plan, fetch, sleep.

use super::plan::{self, Next};
use super::state::Missing;
use super::writer::Writer;
use crate::secret::key::Key;
use std::time::Duration;

/// The longest sleep of the loop. Every change of an entry wakes the loop; this limit bounds how
/// much the loop can miss if a clock jumps.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Refreshes entries until the agent stops.
///
/// After a freeze the sleep ends at once. Each due entry is then fetched once, if a reader read the
/// entry or its policy says `always`. Missed ticks do not pile up.
pub async fn run(writer: Writer) {
    loop {
        let changed = writer.state().changed.notified();
        let wake_in = start_due_flights(&writer).unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        tokio::select! {
            biased;
            () = writer.stopped() => return,
            () = changed => {}
            () = writer.grown() => writer.trim(),
            () = writer.state().clock.sleep(wake_in) => {}
        }
    }
}

/// Starts a flight for each entry that is due and for each missing listed secret. Returns the time
/// until the next flight is due.
fn start_due_flights(writer: &Writer) -> Option<Duration> {
    let state = writer.state();
    let now = state.clock.now();
    state.detect_restore(now);
    let mut wake_in = None;
    for (secret, entry) in state.snapshot.load().entries_by_arn() {
        let retry_in = entry.marks.failure().map(|failure| failure.retry_in(now));
        let standing = entry.standing(now, state.epoch());
        // A refused entry is given up after its grace period, unless it is listed: a listed secret
        // is retried for as long as the agent runs.
        let is_given_up = plan::is_given_up(&entry.policy, &standing)
            && !state.limits.is_listed(secret, &entry.selector);
        let was_read = entry.marks.was_read() && !is_given_up;
        let next = plan::next(&entry.policy, &standing, was_read, retry_in);
        start_or_schedule(writer, &secret.fetch_key(entry), next, &mut wake_in);
    }
    for Missing { key, .. } in state.missing() {
        let next = match state.negative.last(&key, now) {
            Some((_, wait)) if !wait.is_zero() => Next::In(wait),
            // Without a failure, the flight is still under way and is joined here. Or there is no
            // flight, because the entry was evicted or too many flights were waiting.
            _ => Next::Now,
        };
        start_or_schedule(writer, &key, next, &mut wake_in);
    }
    wake_in
}

/// Starts the flight for `key` if the flight is due now. If it is due later, `wake_in` becomes at most
/// the time until then.
fn start_or_schedule(writer: &Writer, key: &Key, next: Next, wake_in: &mut Option<Duration>) {
    match next {
        Next::Now => drop(writer.join_or_start(key)),
        Next::In(wait) => *wake_in = Some(wake_in.map_or(wait, |other| other.min(wait))),
        Next::WhenRead => {}
    }
}

#[cfg(test)]
mod tests;
