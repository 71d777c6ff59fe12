//! The time limits of a connection: for its first valid token, for the request line and headers of
//! a request, and for its next request.

use super::connection_end::End;
use super::connection_slots::ConnectionSlot;
use crate::clock::{Clock, Sleep};
use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

/// The maximum time between the first and the last byte of a request line and headers.
pub(super) const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// The maximum lifetime of a connection that has sent no valid token.
///
/// This is long enough for a request, a refresh of the agent's own AWS credentials, and the answer.
/// The agent refreshes its credentials if the token of the request is unknown.
pub(super) const UNTRUSTED_TIME_MAX: Duration = Duration::from_secs(10);

/// The interval at which the server checks whether a connection is idle.
pub(super) const IDLE_TICK: Duration = Duration::from_secs(60);

/// The number of consecutive checks that must find a connection idle before the server closes it.
///
/// The server counts checks instead of time, because Lambda may freeze the process between
/// requests. After a freeze of any length, only one check runs, so a freeze alone does not close
/// the function's connection.
pub(super) const IDLE_TICKS_MAX: u32 = 15;

/// The timers that end a connection. Starting a timer takes time, so a timer starts only when the
/// connection waits.
pub(super) struct Deadlines<'a> {
    clock: &'a dyn Clock,
    slot: &'a ConnectionSlot,
    /// The time limit for the first request with a valid token. `None` after such a request.
    untrusted: Option<Sleep>,
    /// The time limit for a request line and headers. `None` unless their first bytes have arrived.
    head: Option<Sleep>,
    /// The timer of the next check whether the connection is idle. `None` until the first request
    /// with a valid token.
    tick: Option<Sleep>,
    idle_ticks: u32,
    /// The sequence number of the connection's newest event, as the previous idle check saw it. Events
    /// are the accept of the connection and each answer. If the next check finds the same number, the
    /// connection was idle.
    event: u64,
}

impl<'a> Deadlines<'a> {
    pub(super) fn new(clock: &'a dyn Clock, slot: &'a ConnectionSlot) -> Self {
        let event = slot.exchange().last_event();
        Self { clock, slot, untrusted: None, head: None, tick: None, idle_ticks: 0, event }
    }

    /// Returns why the connection ends if one of its time limits has passed. Otherwise a timer
    /// wakes the connection's task at the next time limit.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let exchange = self.slot.exchange();
        if exchange.is_abandoned() {
            return Poll::Ready(End::Closed);
        }
        let is_trusted = self.slot.is_trusted();
        if is_trusted {
            self.untrusted = None;
        } else if self.is_over(cx, |it| &mut it.untrusted, UNTRUSTED_TIME_MAX) {
            return Poll::Ready(End::Idle);
        }
        if !exchange.is_head_arriving() {
            self.head = None;
        } else if self.is_over(cx, |it| &mut it.head, HEAD_TIME_MAX) {
            return Poll::Ready(End::HeadTooSlow);
        }
        while is_trusted && self.is_over(cx, |it| &mut it.tick, IDLE_TICK) {
            self.tick = None;
            let exchange = self.slot.exchange();
            let before = std::mem::replace(&mut self.event, exchange.last_event());
            let has_new_piece = exchange.take_new_piece();
            let was_idle = before == self.event && !exchange.is_answering() && !has_new_piece;
            self.idle_ticks = if was_idle { self.idle_ticks + 1 } else { 0 };
            if self.idle_ticks >= IDLE_TICKS_MAX {
                return Poll::Ready(End::Idle);
            }
        }
        Poll::Pending
    }

    /// Returns whether the time of a timer is over. If the timer is not running, starts it with the
    /// time `span`.
    fn is_over(
        &mut self,
        cx: &mut Context<'_>,
        timer: impl FnOnce(&mut Self) -> &mut Option<Sleep>,
        span: Duration,
    ) -> bool {
        let clock = self.clock;
        timer(self).get_or_insert_with(|| clock.sleep(span)).as_mut().poll(cx).is_ready()
    }
}

impl fmt::Debug for Deadlines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").field("idle_ticks", &self.idle_ticks).finish_non_exhaustive()
    }
}
