//! What must hold of what is held: it does not go back to an older version unasked.

use super::log::{Call, number};
use super::world::{World, key, secret};
use crate::cache::entry::Entry;
use std::sync::Arc;

impl World {
    /// Returns what is held for `id`.
    pub(super) fn held(&self, id: &str) -> Option<Arc<Entry>> {
        let snapshot = self.cache()?.snapshot();
        snapshot.held(id)?.select(&key(id).selector).cloned()
    }

    /// Looks at what is held, and judges what has changed since the last look.
    pub(super) fn observe(&self) {
        let Some(cache) = self.cache() else { return };
        let snapshot = cache.snapshot();
        let mut problem = None;
        {
            let mut state = self.state();
            let mut seen = std::mem::take(&mut state.seen);
            for (_, entry) in snapshot.entries() {
                let older = seen.get(&entry.version.arn);
                let older = older.filter(|older| !Arc::ptr_eq(older, entry));
                if let Some(older) = older
                    && self.setup.is_dated
                    && number(&entry.version.id) < number(&older.version.id)
                    && !state.fetched(entry).and_then(Call::version).is_some_and(|(_, id, at)| {
                        let is_needed = self.may_be_served(&state, older, true, at) != Some(true);
                        is_needed || state.is_agreed(older, id, at)
                    })
                {
                    let (from, to) = (&older.version.id, &entry.version.id);
                    problem = Some(format!("{} went back from {from} to {to}", entry.version.arn));
                }
            }
            let now = self.now().steady;
            for arn in seen.keys().filter(|arn| snapshot.held(arn).is_none()) {
                state.lost.insert(secret(arn), now);
            }
            seen.clear();
            seen.extend(
                snapshot.entries().map(|(_, entry)| (entry.version.arn.clone(), entry.clone())),
            );
            state.seen = seen;
        }
        self.hold(problem.is_none(), || problem.unwrap_or_default());
    }
}
