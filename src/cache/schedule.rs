//! Decides when the agent refreshes a cached entry by itself, with the settings of the whole cache.

use super::cached_secret::CachedSecret;
use super::entry::Entry;
use super::freshness::{Policy, Refresh};
use super::plan::{self, Next};
use super::state::State;
use crate::clock::Moment;
use crate::secret::version::OTHER_LABELS;

/// Returns when the agent next fetches `entry`, a cached version of `secret`, by itself.
pub(super) fn next_refresh(
    state: &State,
    secret: &CachedSecret,
    entry: &Entry,
    now: Moment,
) -> Next {
    let standing = entry.standing(now, state.epoch());
    // After the grace period, the agent stops refreshing a secret that AWS refuses, unless the
    // secret is in `SIDEKEY_SECRETS`.
    let is_listed = secret.is_listed(&state.limits.listed, &entry.selector);
    if plan::is_given_up(&entry.policy, &standing) && !is_listed {
        return Next::WhenRead;
    }
    let retry_in = entry.marks.failure().map(|failure| failure.retry_in(now));
    let policy = own_policy(state, secret, entry, is_listed);
    plan::next(&policy, &standing, entry.marks.was_read(), retry_in)
}

/// Counts the cached values that the agent should already have refreshed: the values that are older
/// than their time to live, and that callers have read since the last refresh. Values with the
/// policy `always` count even if no caller has read them.
pub(super) fn overdue(state: &State, now: Moment) -> usize {
    let epoch = state.epoch();
    let snapshot = state.snapshot.load();
    let overdue = snapshot.entries().filter(|(secret, entry)| {
        let is_listed = secret.is_listed(&state.limits.listed, &entry.selector);
        let policy = own_policy(state, secret, entry, is_listed);
        plan::is_overdue(&policy, entry.age(now, epoch), entry.marks.was_read())
    });
    overdue.count()
}

/// Returns the refresh policy of an entry. For two kinds of entries that `SIDEKEY_SECRETS` does not
/// list by name, `WhenRead` replaces the policy `always`: secrets that only match one of its
/// patterns or tags, and versions with the label `AWSPREVIOUS` or `AWSPENDING`. The agent may have
/// fetched such secrets and versions without a request to read them.
fn own_policy(state: &State, secret: &CachedSecret, entry: &Entry, is_listed: bool) -> Policy {
    let is_always = entry.policy.refresh == Refresh::Always && !is_listed;
    let is_other = || entry.selector.stage().is_some_and(|label| OTHER_LABELS.contains(&label));
    let is_found = || state.discovery().finds(&secret.fetch_key(entry));
    match is_always && (is_other() || is_found()) {
        true => Policy { refresh: Refresh::WhenRead, ..entry.policy },
        false => entry.policy,
    }
}
