//! The configured paths that a search through a JSON file follows.

use crate::message::path::{Path, Step};

/// A path of the setting `SIDEKEY_RESOLVE_PATHS`, such as `ai_config.key`, and how many of its
/// steps the search has followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'p> {
    path: &'p Path,
    /// The number of steps of the path that lead to the current JSON value.
    depth: usize,
}

impl<'p> Target<'p> {
    pub(super) fn new(path: &'p Path) -> Self {
        Self { path, depth: 0 }
    }

    pub(super) fn is_reached(&self) -> bool {
        self.path.step(self.depth).is_none()
    }
}

/// Selects the paths in `targets` whose next step matches the key `key` of the current JSON object.
/// Returns these paths with the position after this step.
pub(super) fn below_key<'p>(targets: &[Target<'p>], key: &str) -> Vec<Target<'p>> {
    below(targets, |target| {
        target.path.step(target.depth).is_some_and(|step| step.matches_key(key))
    })
}

/// Selects the paths in `targets` whose next step is exactly the key `key`, and not a wildcard.
/// Returns these paths with the position after this step.
pub(super) fn below_literal_key<'p>(targets: &[Target<'p>], key: &str) -> Vec<Target<'p>> {
    below(
        targets,
        |target| matches!(target.path.step(target.depth), Some(Step::Key(own)) if **own == *key),
    )
}

/// Selects the paths in `targets` whose next step matches the item `index` of the current JSON
/// array. Returns these paths with the position after this step.
pub(super) fn below_index<'p>(targets: &[Target<'p>], index: usize) -> Vec<Target<'p>> {
    below(targets, |target| {
        target.path.step(target.depth).is_some_and(|step| step.matches_index(index))
    })
}

fn below<'p>(targets: &[Target<'p>], matches: impl Fn(&Target<'p>) -> bool) -> Vec<Target<'p>> {
    let matching = targets.iter().filter(|target| matches(target));
    matching.map(|target| Target { depth: target.depth + 1, ..*target }).collect()
}
