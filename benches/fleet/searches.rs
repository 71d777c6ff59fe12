//! Computes how many calls the searches for a pattern of `SIDEKEY_SECRETS` make.

use sidekey::cache::discovery::JITTER;
use std::time::Duration;

/// The number of secrets on one page of a search for a pattern of names. The page has their values.
const VALUES_PER_PAGE: u64 = 20;

/// The number of secrets on one page of a search for a tag. The page has only their names.
const NAMES_PER_PAGE: u64 = 100;

/// The calls of the searches for one pattern or tag, by all environments together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Searches {
    pub(crate) environments: u32,
    /// The number of secrets that match.
    pub(crate) secrets: u64,
    pub(crate) interval: Duration,
}

impl Searches {
    /// Returns the calls per second of searches for a pattern of names, as a mean.
    pub(crate) fn of_pattern(self) -> f64 {
        self.per_second(self.secrets.div_ceil(VALUES_PER_PAGE))
    }

    /// Returns the calls per second of searches for a tag, as a mean. A secret that is already cached
    /// causes no further call.
    pub(crate) fn of_tag(self) -> f64 {
        self.per_second(self.secrets.div_ceil(NAMES_PER_PAGE))
    }

    fn per_second(self, pages: u64) -> f64 {
        let mean = self.interval.mul_f64((JITTER.start + JITTER.end) / 2.0);
        let pages = u32::try_from(pages).expect("the number of pages must be small");
        f64::from(self.environments) * f64::from(pages) / mean.as_secs_f64()
    }
}
