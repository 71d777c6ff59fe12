//! Decides when Sidekey searches again for the secrets that match a pattern, and remembers the
//! secrets that each search found.
//!
//! All functions are pure: times and random numbers are arguments.

use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::secret_pattern::SecretPattern;
use crate::source::FetchError;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The range of the random factor by which the interval between two searches is multiplied. The
/// factor is at most 1, so that a search with the default interval replaces values before their
/// default TTL ends.
pub const JITTER: std::ops::Range<f64> = 0.8..1.0;

/// The wait after the first failure of a search. Each further failure doubles the wait.
const BACK_OFF_BASE: Duration = Duration::from_secs(5);

/// The longest wait after a transient error, and the shortest wait after any other error, such as
/// denied access.
const BACK_OFF_MAX: Duration = Duration::from_secs(5 * 60);

/// The longest pause between two pages of a search. The first search after the start makes no
/// pauses.
const PAGE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The divisor that limits the pause between two pages of a search: a pause lasts at most the
/// interval between two searches, divided by this number.
const PAUSES_PER_INTERVAL: u32 = 100;

/// The number of secrets on a full page of a search.
const PAGE_SIZE: usize = 20;

/// The number of pages that each search may read in addition to twice the pages that fill the
/// cache. The number is needed because AWS may return pages without secrets.
const PAGES_MIN: usize = 20;

/// The patterns in `SIDEKEY_SECRETS`, and how often Sidekey searches for them.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) patterns: Vec<SecretPattern>,
    /// The time between two searches, from `SIDEKEY_DISCOVER`. Zero means that Sidekey searches
    /// only at its start.
    pub(crate) interval: Duration,
}

impl Config {
    /// Returns the age up to which a list of parameters needs no new search.
    pub(super) fn recent(&self) -> Duration {
        self.interval.mul_f64(JITTER.start / 2.0)
    }
}

/// A search that Sidekey repeats.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// The search for the secrets that match a pattern.
    Pattern(Arc<SecretPattern>),
    /// The list of the parameters under a path in `SIDEKEY_SECRETS`. The prefetch at the start of
    /// the agent makes the first list.
    Path(Key),
}

impl Subject {
    fn as_str(&self) -> &str {
        match self {
            Self::Pattern(pattern) => pattern.as_str(),
            Self::Path(key) => match &key.id {
                SecretId::Path(path) => path.pattern(),
                id => id.as_str(),
            },
        }
    }
}

/// How a search ended. Each variant contains the secrets or parameters that the search found.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    Complete(HashSet<Key>),
    /// The search stopped because it read too many pages.
    Unfinished(HashSet<Key>),
    Failed(HashSet<Key>, FetchError),
}

/// The maximum number of names that a search keeps from earlier searches. Only a search that
/// reaches its last page removes the names of deleted secrets. Without this limit, the names would
/// use more and more memory if all searches stopped early.
const FOUND_MAX: usize = 10_000;

/// All searches of the agent. Only one of them runs at a time.
#[derive(Debug)]
pub(super) struct Discovery {
    interval: Duration,
    searches: Vec<Search>,
}

#[derive(Debug)]
struct Search {
    subject: Subject,
    found: HashSet<Key>,
    last: Option<Last>,
    /// The time at which a search last ended as [`Ended::Complete`].
    completed: Option<Moment>,
    /// Whether a search has ended without an error.
    has_succeeded: bool,
    /// How many searches have failed in a row.
    failures: u32,
    problem: Option<FetchError>,
    /// Whether the size limit of the cache left no room for a secret of the last search.
    is_limited: bool,
}

/// The end of the last search for a pattern.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Moment,
    /// The number of SnapStart restores before the search ended.
    epoch: u64,
    /// How long Sidekey waits until the next search. `None` if there is no next search.
    wait: Option<Duration>,
}

/// The state of a search, for the status page.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) pattern: Box<str>,
    pub(super) found: usize,
    /// The time at which a search last found all secrets that match the pattern.
    pub(super) completed: Option<Moment>,
    pub(super) problem: Option<FetchError>,
}

impl Discovery {
    /// Creates the searches for the patterns in `config`, and for the paths in `listed`, which
    /// contains the secrets and paths of `SIDEKEY_SECRETS`. The prefetch makes the first search for
    /// each path, at the time `start`.
    pub(super) fn new(config: &Config, listed: &[Key], start: Moment) -> Self {
        let interval = config.interval;
        let patterns = config
            .patterns
            .iter()
            .map(|pattern| Search::new(Subject::Pattern(Arc::new(pattern.clone())), None));
        let is_path = |key: &&Key| matches!(key.id, SecretId::Path(_)) && !interval.is_zero();
        let paths = listed.iter().filter(is_path).map(|key| {
            let last = Last { at: start, epoch: 0, wait: Some(interval.mul_f64(JITTER.start)) };
            Search::new(Subject::Path(key.clone()), Some(last))
        });
        Self { interval, searches: patterns.chain(paths).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.searches.is_empty()
    }

    /// Returns the index of the search that is due next, and the time until then. Returns `None` if
    /// all searches are finished. Only a SnapStart restore, which increases `epoch`, then makes
    /// them due again.
    pub(super) fn next(&self, now: Moment, epoch: u64) -> Option<(usize, Duration)> {
        let waits = self.searches.iter().enumerate();
        let waits = waits.filter_map(|(index, search)| Some((index, search.wait(now, epoch)?)));
        waits.min_by_key(|(_, wait)| *wait)
    }

    pub(super) fn subject(&self, index: usize) -> Subject {
        self.searches[index].subject.clone()
    }

    /// Returns the pause between two pages of the search with the index `index`.
    pub(super) fn page_pause(&self, index: usize) -> Duration {
        match self.searches[index].last {
            None => Duration::ZERO,
            Some(_) => (self.interval / PAUSES_PER_INTERVAL).min(PAGE_PAUSE_MAX),
        }
    }

    /// Records that the search with the index `index` ended at `at`, after `epoch` SnapStart
    /// restores. Returns the secrets that earlier searches found, but that no search finds any
    /// more.
    ///
    /// Only a complete search shows that a secret does not match its pattern any more.
    pub(super) fn end(
        &mut self,
        index: usize,
        ended: Ended,
        at: Moment,
        epoch: u64,
        draw: f64,
    ) -> Vec<Key> {
        let interval = self.interval;
        let search = &mut self.searches[index];
        let (wait, gone): (_, Vec<Key>) = match ended {
            Ended::Complete(found) => {
                let before = std::mem::replace(&mut search.found, found);
                search.succeed(Some(at));
                let gone = before.into_iter().filter(|key| !search.found.contains(key));
                (after_success(interval, draw), gone.collect())
            }
            Ended::Unfinished(found) => {
                if search.found.len() + found.len() > FOUND_MAX {
                    search.found.clear();
                }
                search.found.extend(found);
                search.succeed(None);
                (after_success(interval, draw), Vec::new())
            }
            Ended::Failed(found, error) => {
                search.found.extend(found);
                search.failures = search.failures.saturating_add(1);
                let wait = match search.subject {
                    Subject::Pattern(_) => {
                        Some(after_failure(interval, search.failures, &error, draw))
                    }
                    // The refresh loop retries a listed path.
                    Subject::Path(_) => after_success(interval, draw),
                };
                search.problem = Some(error);
                (wait, Vec::new())
            }
        };
        search.last = Some(Last { at, epoch, wait });
        gone.into_iter().filter(|key| !self.finds(key)).collect()
    }

    /// Adds secrets or parameters to those that the search with the index `index` has found.
    pub(super) fn remember(&mut self, index: usize, found: impl Iterator<Item = Key>) {
        self.searches[index].found.extend(found);
    }

    /// Returns whether a search has found the secret or parameter `key`.
    pub(super) fn finds(&self, key: &Key) -> bool {
        self.searches.iter().any(|search| search.found.contains(key))
    }

    /// Returns whether each search for a pattern has ended at least once, successfully or not.
    pub(super) fn is_attempted(&self) -> bool {
        self.searches.iter().all(|search| search.last.is_some())
    }

    /// Returns the number of secrets that match the patterns. A secret that matches two patterns
    /// counts once.
    pub(super) fn count(&self) -> usize {
        let patterns = self.patterns();
        patterns.flat_map(|search| &search.found).collect::<HashSet<_>>().len()
    }

    pub(super) fn standings(&self) -> Vec<Standing> {
        self.patterns()
            .map(|search| Standing {
                pattern: search.subject.as_str().into(),
                found: search.found.len(),
                completed: search.completed,
                problem: search.problem.clone(),
            })
            .collect()
    }

    /// Returns whether the last search with the index `index` failed with an error of the same
    /// category as `error`.
    pub(super) fn has_failed_before(&self, index: usize, error: &FetchError) -> bool {
        self.searches[index].problem.as_ref().is_some_and(|problem| problem.kind == error.kind)
    }

    /// Returns whether a search with the index `index` has ended without an error before.
    pub(super) fn has_succeeded_before(&self, index: usize) -> bool {
        self.searches[index].has_succeeded
    }

    /// Records whether the size limit of the cache left no room for a secret of the last search.
    /// Returns the value that was recorded for the search before the last.
    pub(super) fn set_limited(&mut self, index: usize, is_limited: bool) -> bool {
        std::mem::replace(&mut self.searches[index].is_limited, is_limited)
    }

    fn patterns(&self) -> impl Iterator<Item = &Search> {
        let is_pattern = |search: &&Search| matches!(search.subject, Subject::Pattern(_));
        self.searches.iter().filter(is_pattern)
    }
}

impl Search {
    fn new(subject: Subject, last: Option<Last>) -> Self {
        Self {
            subject,
            found: HashSet::new(),
            last,
            completed: None,
            has_succeeded: false,
            failures: 0,
            problem: None,
            is_limited: false,
        }
    }

    fn succeed(&mut self, completed: Option<Moment>) {
        self.completed = completed;
        self.has_succeeded = true;
        self.failures = 0;
        self.problem = None;
    }

    fn wait(&self, now: Moment, epoch: u64) -> Option<Duration> {
        let Some(last) = self.last else { return Some(Duration::ZERO) };
        // A restored process is like a new process: the names that it has found may be days old.
        if last.epoch != epoch {
            return Some(Duration::ZERO);
        }
        // If the passed time is unknown, the search is due.
        let left = |wait: Duration| now.since(last.at).map(|since| wait.saturating_sub(since));
        last.wait.map(|wait| left(wait).unwrap_or_default())
    }
}

/// Returns the maximum number of pages that one search reads, if the cache may contain
/// `entries_max` secrets. The limit bounds the calls to AWS for a pattern that matches far more
/// secrets.
pub(super) fn pages_max(entries_max: usize) -> usize {
    2 * entries_max.div_ceil(PAGE_SIZE) + PAGES_MIN
}

fn after_success(interval: Duration, draw: f64) -> Option<Duration> {
    (!interval.is_zero()).then(|| interval.mul_f64(spread(&JITTER, draw)))
}

/// Returns how long to wait for the next search after `failures` failed searches in a row.
fn after_failure(interval: Duration, failures: u32, error: &FetchError, draw: f64) -> Duration {
    let wait = match error.kind.is_transient() {
        true => {
            let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
            BACK_OFF_BASE.saturating_mul(doubled).min(BACK_OFF_MAX)
        }
        false => interval.max(BACK_OFF_MAX),
    };
    wait.mul_f64(spread(&JITTER, draw))
}

fn spread(range: &std::ops::Range<f64>, draw: f64) -> f64 {
    range.start + (range.end - range.start) * draw
}

#[cfg(test)]
mod tests;
