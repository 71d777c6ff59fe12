//! The body of the answer to a call, which is streamed from the server of a route to the caller.

use crate::broker::redact::{Needles, Redactor};
use crate::broker::route::Route;
use crate::clock::{Clock, Sleep};
use crate::http1::Streamed;
use crate::server::response::BrokenAnswer;
use crate::telemetry::metrics::Metrics;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub(super) struct AnswerBody {
    body: Streamed,
    /// Replaces confidential texts in the body. `None` if the body passes unchanged.
    redactor: Option<Redactor>,
    is_ended: bool,
    /// The maximum time for which no bytes of the body arrive.
    idle_max: Duration,
    /// The timer that limits the wait for the next bytes of the body. `None` if the agent is not
    /// waiting for bytes.
    idle: Option<Sleep>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    route: Box<str>,
}

impl AnswerBody {
    /// Creates the body of the answer for the caller. If `needles` (confidential texts) are given,
    /// replaces these texts in the body.
    pub(super) fn new(
        body: Streamed,
        needles: Option<Needles>,
        route: &Route,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            body,
            redactor: needles.map(Redactor::new),
            is_ended: false,
            idle_max: route.limits.idle,
            idle: None,
            clock,
            metrics,
            route: route.name.clone(),
        }
    }

    /// Replaces confidential texts in `piece`, the next bytes of the body. `None` means the end of
    /// the body. The result can be empty.
    fn redacted(&mut self, piece: Option<Bytes>) -> Bytes {
        let Some(redactor) = &mut self.redactor else { return piece.unwrap_or_default() };
        let before = redactor.replaced;
        let passed = match piece {
            Some(piece) => redactor.push(piece),
            None => redactor.finish(),
        };
        if redactor.replaced > before {
            self.metrics.calls().redacted(&self.route, redactor.replaced - before);
        }
        passed
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { idle, clock, idle_max, .. } = self;
        idle.get_or_insert_with(|| clock.sleep(*idle_max)).as_mut().poll(context)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        while !self.is_ended {
            let piece = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => {
                    if self.poll_idle(context).is_pending() {
                        return Poll::Pending;
                    }
                    self.is_ended = true;
                    return Poll::Ready(Some(Err(BrokenAnswer)));
                }
                Poll::Ready(Some(Err(_))) => {
                    self.is_ended = true;
                    return Poll::Ready(Some(Err(BrokenAnswer)));
                }
                Poll::Ready(None) => {
                    self.is_ended = true;
                    None
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are omitted, because they are headers of one connection.
                    let Ok(piece) = frame.into_data() else { continue };
                    Some(piece)
                }
            };
            self.idle = None;
            let passed = self.redacted(piece);
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended || (self.redactor.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.redactor {
            None => self.body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}
