//! One secret in one environment, and what Sidekey's own planning says of it.
//!
//! Nothing is decided here: ages, plans and back-offs are those of `sidekey::cache`.

use crate::queue::Micros;
use sidekey::cache::failure::Failure;
use sidekey::cache::freshness::{self, Freshness, Policy, Standing, Trouble};
use sidekey::cache::plan::{self, Next};
use sidekey::source::{FetchError, FetchErrorKind};
use std::time::Duration;

/// A listed secret.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// When the call that fetched it was sent; `None` where nothing is held.
    sent: Option<Micros>,
    jitter: f64,
    was_read: bool,
    failure: Option<Box<Failure>>,
    /// Whether a call for it is under way.
    pub(crate) is_in_flight: bool,
    /// Whether a reader waits for that.
    pub(crate) is_awaited: bool,
}

impl Held {
    /// Makes one of which nothing is held yet, and for which a call is under way.
    pub(crate) fn in_flight() -> Self {
        Self { is_in_flight: true, ..Self::default() }
    }

    /// Returns whether a value is held.
    pub(crate) fn is_held(&self) -> bool {
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

    /// Returns whether timers wait for a failure's back-off to end.
    pub(crate) fn is_paused(&self, now: Micros) -> bool {
        self.retry_in(now).is_some_and(|left| !left.is_zero())
    }

    /// Returns when timers fetch it next. What is not held is made up for once its back-off is over.
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

    /// Returns how fresh it is, if it is held.
    pub(crate) fn freshness(&self, policy: &Policy, now: Micros) -> Option<Freshness> {
        self.sent.map(|sent| freshness::freshness(policy, &self.standing(sent, now)))
    }

    /// Notes a read.
    pub(crate) fn touch(&mut self) {
        self.was_read = true;
    }

    /// Notes an answer to a call sent at `sent`, for a `draw` from `[0, 1)`.
    pub(crate) fn answer(&mut self, sent: Micros, draw: f64) {
        self.sent = Some(sent);
        self.jitter = freshness::jitter(draw);
        self.was_read = false;
        self.failure = None;
    }

    /// Notes that a call was throttled, for a `draw` from `[0, 1)`.
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
