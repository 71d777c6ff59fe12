//! Checks the cached versions of the simulated secrets: no older version may replace a newer
//! version without a reason, and versions that are read must be refreshed in time.

use super::SECOND;
use super::identity::{key, secret};
use super::log::{Call, State, number};
use super::world::World;
use crate::cache::entry::Entry;
use crate::cache::flight::FLIGHTS_MAX;
use crate::cache::freshness::{JITTER, Refresh};
use std::collections::HashMap;
use std::sync::Arc;

impl World {
    pub(super) fn cached(&self, id: &str) -> Option<Arc<Entry>> {
        let snapshot = self.cache()?.snapshot();
        snapshot.entry(&key(id)).cloned()
    }

    /// Checks how the cached versions have changed since the last call of this function.
    pub(super) fn observe(&self) {
        let Some(cache) = self.cache() else { return };
        let snapshot = cache.snapshot();
        let mut problem = None;
        {
            let mut state = self.state();
            let seen = std::mem::take(&mut state.seen);
            for (_, entry) in snapshot.entries_by_arn() {
                let older = seen.get(&entry.version.arn);
                let older = older.filter(|older| !Arc::ptr_eq(older, entry));
                problem = problem
                    .or_else(|| self.went_back(&state, older?, entry))
                    .or_else(|| self.was_neglected(&state, entry));
                problem = problem.or_else(|| self.outlived_home(&state, entry));
            }
            let now = self.now().steady;
            let lost = seen.values().filter(|entry| {
                snapshot.entries().all(|(secret, _)| *secret.arn != *entry.version.arn)
            });
            problem = problem
                .or_else(|| lost.into_iter().find_map(|entry| self.was_pushed_out(&state, entry)));
            let is_cached = |name: &&String| snapshot.secret(&key(name)).is_some();
            let listed: Vec<String> = self.setup.listed.iter().filter(is_cached).cloned().collect();
            let lost = state.listed.iter().find(|name| !listed.contains(name));
            problem = problem.or_else(|| self.was_forgotten(lost?));
            state.listed = listed;
            state.observed = now;
            for arn in seen.keys().filter(|arn| snapshot.secret(&key(arn)).is_none()) {
                state.lost.insert(secret(arn), now);
            }
            state.seen = snapshot
                .entries()
                .map(|(_, entry)| (entry.version.arn.clone(), entry.clone()))
                .collect::<HashMap<_, _>>();
        }
        self.require(problem.is_none(), || problem.unwrap_or_default());
    }

    /// Returns an error text if the cache replaced the version in the entry `older` by an earlier
    /// version, in `entry`, without a reason.
    fn went_back(&self, state: &State, older: &Entry, entry: &Entry) -> Option<String> {
        let (from, to) = (&older.version.id, &entry.version.id);
        if !self.is_ordered(&entry.version.arn) || number(to) >= number(from) {
            return None;
        }
        if entry.replica_region.is_some() {
            return Some(format!(
                "the cache replaced version {from} of {} by the older version {to} of a replica",
                entry.version.arn
            ));
        }
        let answer = state.fetched(entry).and_then(Call::version);
        let is_right = answer.is_some_and(|(_, id, at)| {
            let is_needed = self.may_be_served(state, older, true, at) != Some(true);
            is_needed || state.is_agreed(older, id, at)
        });
        (!is_right).then(|| {
            format!(
                "the cache replaced version {from} of {} by the older version {to}",
                entry.version.arn
            )
        })
    }

    /// Returns an error text if `entry` comes from a replica, although the home region has returned
    /// the secret since.
    fn outlived_home(&self, state: &State, entry: &Entry) -> Option<String> {
        entry.replica_region.as_ref()?;
        let now = self.now().steady;
        let is_newer = |call: &Call| {
            // A search may ignore a secret, because it fills only free room.
            !call.is_replica
                && !call.is_search
                && !call.is_held_back
                && call.version().is_some_and(|(arn, _, at)| {
                    let is_since = at.steady > entry.sent.steady && at.steady < now;
                    *arn == *entry.version.arn && is_since
                })
        };
        state.calls.iter().rev().any(is_newer).then(|| {
            let arn = &entry.version.arn;
            format!(
                "the cache has kept the replica's version of {arn}, although the home region has \
                 answered"
            )
        })
    }

    /// Returns whether the cache can tell which of two versions with this ARN is older: by the
    /// numbers of a parameter's versions, or by the dates of a secret's versions.
    pub(super) fn is_ordered(&self, arn: &str) -> bool {
        self.setup.is_dated || arn.contains(":ssm:")
    }

    /// Returns an error text if the cache removed the secret `name`, which `SIDEKEY_SECRETS` lists.
    fn was_forgotten(&self, name: &str) -> Option<String> {
        let is_cacheable = !self.setup.policies[secret(name)].ttl.is_zero();
        is_cacheable.then(|| format!("the cache removed {name}, which SIDEKEY_SECRETS lists"))
    }

    /// Returns an error text if only a search can have removed `entry`, although AWS has the
    /// secret.
    fn was_pushed_out(&self, state: &State, entry: &Entry) -> Option<String> {
        let number = secret(&entry.version.arn);
        let (truth, policy) = (&state.truths[number], &self.setup.policies[number]);
        if policy.ttl.is_zero() || truth.generation > 0 || truth.is_deleted {
            return None;
        }
        // Only the answer to another call evicts a secret.
        let mut calls = state.calls.iter().filter(|call| !call.is_search);
        let is_evicted = calls
            .any(|call| call.ended.as_ref().is_some_and(|(at, _)| at.steady >= state.observed));
        (!is_evicted).then(|| format!("a search removed {}", entry.version.arn))
    }

    /// Returns an error text if the cache should have refreshed `entry` by now. After a failed
    /// call, a freeze or a change of the wall clock, no refresh is required.
    fn was_neglected(&self, state: &State, entry: &Arc<Entry>) -> Option<String> {
        let policy = &self.setup.policies[secret(&entry.version.arn)];
        let call = state.fetched(entry)?;
        let is_calm = call.epoch == state.epoch
            && call.disturbed == state.disturbed
            && self.setup.names.len() <= FLIGHTS_MAX
            && state.failures(entry).next().is_none();
        if !is_calm {
            return None;
        }
        let due = entry.sent.steady + policy.ttl.mul_f64(1.0 - JITTER.start);
        let is_only_found = entry.role.is_none() && self.setup.is_only_found(&entry.version.name);
        let since = match policy.refresh {
            Refresh::Always if !is_only_found => due,
            Refresh::Always | Refresh::WhenRead => due.max(state.first_read(entry)?),
        };
        // Allow half a second, because timers are imprecise.
        let is_late = self.now().steady > since + SECOND / 2;
        let mut later = state.calls.iter().rev().take_while(|other| other.sent != entry.sent);
        let is_asked = later.any(|other| other.secret == call.secret);
        // The refresh may share a call by name or ARN that was sent earlier and has not ended.
        let is_joined = state.calls.iter().any(|other| {
            let is_over = other.ended.as_ref().is_some_and(|(at, _)| at.steady <= since);
            other.secret == call.secret && !is_over
        });
        (is_late && !is_asked && !is_joined).then(|| {
            format!("a refresh of {} is due, but the cache made no call to AWS", entry.version.arn)
        })
    }
}
