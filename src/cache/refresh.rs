//! Refreshes cached secrets before their TTL ends. A loop starts the calls to AWS that are due, and
//! then sleeps until the next call is due.

use super::cached_secret::CachedSecret;
use super::entry::Entry;
use super::plan::Next;
use super::schedule::next_refresh;
use super::snapshot::Snapshot;
use super::state::{Missing, State};
use super::writer::Writer;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use std::sync::Arc;
use std::time::Duration;

/// The longest sleep of the loop that refreshes cached secrets. It limits how late a refresh starts
/// after a clock jumps.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Refreshes cached secrets until the agent stops.
///
/// After a freeze of the process, makes only one call for each secret whose refresh is due.
/// Refreshes unread secrets only if their policy is `always`.
pub(crate) async fn run(writer: Writer) {
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

/// Starts a call to AWS for each cached secret whose refresh is due, and for each secret in
/// `SIDEKEY_SECRETS` that is not cached. Returns the time until the next call is due.
fn start_due_flights(writer: &Writer) -> Option<Duration> {
    let state = writer.state();
    let now = state.clock.now();
    state.detect_restore(now);
    let mut wake_in = None;
    let snapshot = state.snapshot.load();
    for (secret, entry) in snapshot.entries_by_arn() {
        let next = next_refresh(state, secret, entry, now);
        // The path is searched only if the refresh is due, because this loop runs often.
        let path = match next {
            Next::Now => path_of(state, &snapshot, secret, entry),
            Next::In(_) | Next::WhenRead => None,
        };
        match path {
            None => start_or_schedule(writer, &secret.fetch_key(entry), next, &mut wake_in),
            Some((key, list)) => {
                let wait = list.marks.failure().map(|failure| failure.retry_in(now));
                let wait = wait.filter(|wait| !wait.is_zero());
                start_or_schedule(writer, &key, wait.map_or(next, Next::In), &mut wake_in);
            }
        }
    }
    for Missing { key, .. } in state.missing() {
        let next = match state.negative.last(&key, now) {
            Some((_, wait)) if !wait.is_zero() => Next::In(wait),
            // No failure is recorded. If a call for the secret is running, this joins it. Otherwise
            // the secret was evicted, or too many calls were waiting before.
            _ => Next::Now,
        };
        start_or_schedule(writer, &key, next, &mut wake_in);
    }
    wake_in
}

/// Returns the path in `SIDEKEY_SECRETS` that contains the parameter `secret`, and the cached list
/// of this path. One call for the path refreshes all its parameters. Returns `None` if the
/// parameter needs a call of its own: AWS returns a permanent error for the path, such as denied
/// access, or the list does not contain the parameter.
fn path_of(
    state: &State,
    snapshot: &Snapshot,
    secret: &CachedSecret,
    entry: &Entry,
) -> Option<(Key, Arc<Entry>)> {
    let path = secret.path_in(&state.limits.listed, &entry.selector)?;
    let (role, selector) = (entry.role.clone(), entry.selector.clone());
    let key = Key { role, id: SecretId::Path(path.clone()), selector };
    let list = snapshot.exact(&key)?;
    let name = &entry.version.name;
    let in_list = list.version.parameters().binary_search_by(|own| own.name.cmp(name));
    (in_list.is_ok() && !list.marks.is_refused()).then(|| (key, list.clone()))
}

/// Starts a call to AWS for the secret `key` if the call is due now. If the call is due later,
/// limits `wake_in`, the next sleep of the refresh loop, to the time until then.
fn start_or_schedule(writer: &Writer, key: &Key, next: Next, wake_in: &mut Option<Duration>) {
    match next {
        Next::Now => drop(writer.join_or_start(key)),
        Next::In(wait) => *wake_in = Some(wake_in.map_or(wait, |other| other.min(wait))),
        Next::WhenRead => {}
    }
}

#[cfg(test)]
mod tests;
