//! The calls by which the simulated environments fetch secrets and parameters.

use sidekey::cache::prefetch::Mode;
use sidekey::source::PARAMETERS_BATCH_MAX;
use std::ops::Range;

/// By which calls the environments fetch what they list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetching {
    /// Secrets, by the calls that the setting `SIDEKEY_PREFETCH` selects.
    Secrets(Mode),
    /// Parameters, by one `GetParameter` call for each.
    Parameter,
    /// Parameters, by `GetParameters` calls. All parameters that an environment needs at the same
    /// moment share calls.
    Parameters,
    /// The parameters of one path, by one `GetParametersByPath` call for each page.
    Path {
        /// The number of pages that the path has.
        pages: u8,
    },
}

impl Fetching {
    /// Returns whether an environment fetches its `listed` secrets at start by calls of
    /// `BatchGetSecretValue`.
    pub(crate) fn tries_batches(self, listed: usize) -> bool {
        matches!(self, Self::Secrets(mode) if mode.tries_batches(listed))
    }

    /// Returns whether an environment makes another call of `BatchGetSecretValue`. `was_answered`
    /// is `false` if the last such call failed.
    pub(crate) fn goes_on_with_batches(self, was_answered: bool) -> bool {
        matches!(self, Self::Secrets(mode) if mode.goes_on_with_batches(was_answered))
    }
}

/// The indexes of some secrets or parameters of one environment, in ascending order. Each bit
/// stands for one index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Indexes(u32);

impl Indexes {
    pub(crate) fn one(index: usize) -> Self {
        Self(1 << index)
    }

    pub(crate) fn range(indexes: Range<usize>) -> Self {
        let mut range = Self::default();
        indexes.for_each(|index| range.add(index));
        range
    }

    pub(crate) fn add(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    /// Returns the indexes in ascending order.
    pub(crate) fn each(self) -> impl Iterator<Item = usize> {
        (0..u32::BITS as usize).filter(move |index| self.0 & (1 << index) != 0)
    }

    /// Divides the parameters between calls of `GetParameters`, each with as many parameters as AWS
    /// allows.
    pub(crate) fn batches(self) -> Vec<Self> {
        let indexes: Vec<usize> = self.each().collect();
        let batches = indexes.chunks(PARAMETERS_BATCH_MAX);
        batches.map(|batch| Self(batch.iter().fold(0, |bits, index| bits | 1 << index))).collect()
    }
}
