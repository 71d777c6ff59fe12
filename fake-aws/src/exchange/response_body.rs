//! The body of an HTTP response. The fake AWS server sends it at once, truncated, or byte by byte.

use crate::clock::wait;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// The body of an HTTP response. The `Content-Length` header always states the length of the
/// complete body, even if the fake AWS server sends only a part of the body.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    remaining: Bytes,
    announced: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// The fake AWS server sends the whole body at once.
    Complete,
    /// The fake AWS server sends only the first half of the body, and then closes the connection.
    Truncated { is_flushed: bool },
    /// The fake AWS server waits for `interval` before each byte of the body.
    Drip { interval: Duration, wait: Pin<Box<Sleep>> },
}

impl ResponseBody {
    pub(crate) fn complete(bytes: Bytes) -> Self {
        Self { announced: length(&bytes), remaining: bytes, mode: Mode::Complete }
    }

    pub(crate) fn truncated(bytes: Bytes) -> Self {
        let announced = length(&bytes);
        let half = bytes.slice(..bytes.len() / 2);
        Self { announced, remaining: half, mode: Mode::Truncated { is_flushed: false } }
    }

    pub(crate) fn drip(bytes: Bytes, interval: Duration) -> Self {
        let mode = Mode::Drip { interval, wait: Box::pin(wait(interval)) };
        Self { announced: length(&bytes), remaining: bytes, mode }
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("the length of a response body must fit into 64 bits")
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { remaining, mode, .. } = &mut *self;
        let frame = match mode {
            Mode::Complete => remaining.split_off(0),
            Mode::Truncated { .. } if !remaining.is_empty() => remaining.split_off(0),
            Mode::Truncated { is_flushed: is_flushed @ false } => {
                // Return `Pending` once, because hyper flushes the connection only while the body
                // is pending.
                *is_flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Mode::Truncated { .. } => {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
            Mode::Drip { .. } if remaining.is_empty() => Bytes::new(),
            Mode::Drip { interval, wait: waiting } => {
                ready!(waiting.as_mut().poll(context));
                waiting.set(wait(*interval));
                remaining.split_to(1)
            }
        };
        Poll::Ready((!frame.is_empty()).then(|| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_empty() && !matches!(self.mode, Mode::Truncated { .. })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
