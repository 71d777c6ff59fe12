//! The loop that fetches ahead of the TTL: plan, fetch, sleep.

use super::Cache;
use std::time::Duration;

/// The longest sleep between two looks at the entries. They announce what changes; this bounds what
/// a clock that jumped could make the loop miss.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Refreshes until the agent stops.
///
/// After a freeze the sleep ends at once, and only what is due *and was read*, or is always to be
/// refreshed, is fetched, once: there is no backlog of missed ticks.
pub async fn run(cache: Cache) {
    loop {
        let changed = cache.changed();
        let wake_in = cache.start_due_flights().unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        tokio::select! {
            biased;
            () = cache.stopped() => return,
            () = changed => {}
            () = cache.grown() => cache.trim(),
            () = cache.clock().sleep(wake_in) => {}
        }
    }
}
