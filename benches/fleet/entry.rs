//! One secret in one Lambda environment of the simulation.
//!
//! The code of `sidekey::cache` makes all decisions, such as when to refresh the secret.

use crate::queue::Micros;
use sidekey::cache::failure::Failure;
use sidekey::cache::freshness::{self, Freshness, Policy, Standing, Trouble};
use sidekey::cache::plan::{self, Next};
use sidekey::source::{FetchError, FetchErrorKind};
use std::time::Duration;

/// The state of one secret in one Lambda environment.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The time at which the last successful call to AWS was sent. `None` if no value is cached.
    sent: Option<Micros>,
    jitter: f64,
    was_read: bool,
    failure: Option<Box<Failure>>,
    /// Whether a call for the secret is in progress.
    pub(crate) is_in_flight: bool,
    /// Whether a reader waits for the call to AWS that is in progress.
    pub(crate) is_awaited: bool,
}

impl Entry {
    /// Creates the state of a secret whose first call to AWS is in progress.
    pub(crate) fn in_flight() -> Self {
        Self { is_in_flight: true, ..Self::default() }
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.sent.is_some()
    }

    fn standing(&self, sent: Micros, now: Micros) -> Standing {
        let moment = now.moment();
        let trouble = self
            .failure
            .as_ref()
            .map(|failure| Trouble { refused: None, attempted: moment.since(failure.at) });
        let age = moment.since(sent.moment());
        Standing { age, jitter: self.jitter, is_restored: false, trouble }
    }

    fn retry_in(&self, now: Micros) -> Option<Duration> {
        self.failure.as_ref().map(|failure| failure.retry_in(now.moment()))
    }

    /// Returns whether the environment waits for the end of a back-off, the pause after a failed
    /// call.
    pub(crate) fn is_paused(&self, now: Micros) -> bool {
        self.retry_in(now).is_some_and(|left| !left.is_zero())
    }

    /// Returns when the environment should fetch the secret next. If no value is cached, this is
    /// after the back-off (the pause after a failed call).
    pub(crate) fn next(&self, policy: &Policy, now: Micros) -> Next {
        let retry_in = self.retry_in(now);
        match (self.sent, retry_in) {
            (Some(sent), _) => {
                plan::next(policy, &self.standing(sent, now), self.was_read, retry_in)
            }
            (None, Some(left)) if !left.is_zero() => Next::In(left),
            (None, _) => Next::Now,
        }
    }

    /// Returns how fresh the cached value is, or `None` if no value is cached.
    pub(crate) fn freshness(&self, policy: &Policy, now: Micros) -> Option<Freshness> {
        self.sent.map(|sent| freshness::freshness(policy, &self.standing(sent, now)))
    }

    /// Records that the secret was read.
    pub(crate) fn touch(&mut self) {
        self.was_read = true;
    }

    /// Records that a call to AWS succeeded, which was sent at the time `sent`. `draw` is a random
    /// number from 0 to 1, which determines the jitter of the next refresh.
    pub(crate) fn answer(&mut self, sent: Micros, draw: f64) {
        self.sent = Some(sent);
        self.jitter = freshness::jitter(draw);
        self.was_read = false;
        self.failure = None;
    }

    /// Records that AWS throttled a call. `draw` is a random number from 0 to 1, which determines
    /// the jitter of the back-off (the pause after a failed call).
    pub(crate) fn throttle(&mut self, now: Micros, draw: f64) {
        let error = FetchError::new(FetchErrorKind::Throttled, "ThrottlingException", "");
        let most = match self.sent {
            Some(_) => freshness::BACK_OFF_MAX,
            None => freshness::EMPTY_BACK_OFF_MAX,
        };
        let failure = Failure::after(self.failure.as_deref(), error, now.moment(), most, draw);
        self.failure = Some(Box::new(failure));
    }
}
