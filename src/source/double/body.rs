//! An answer's body: whole, cut short or dripping.

use super::wait;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// A body that announces its full length and sends what its manner lets it.
#[derive(Debug)]
pub(super) struct Body {
    left: Bytes,
    announced: u64,
    manner: Manner,
}

#[derive(Debug)]
enum Manner {
    Whole,
    /// Ends in an error, which closes the connection, once the bytes before it have gone out.
    Cut {
        flushed: bool,
    },
    Drip {
        every: Duration,
        wait: Pin<Box<Sleep>>,
    },
}

impl Body {
    /// Makes a body that is sent at once.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { announced: length(&bytes), left: bytes, manner: Manner::Whole }
    }

    /// Makes a body that stops half way.
    pub(super) fn cut(bytes: Bytes) -> Self {
        let announced = length(&bytes);
        let half = bytes.slice(..bytes.len() / 2);
        Self { announced, left: half, manner: Manner::Cut { flushed: false } }
    }

    /// Makes a body that is sent byte by byte, each after a wait.
    pub(super) fn drip(bytes: Bytes, every: Duration) -> Self {
        let manner = Manner::Drip { every, wait: Box::pin(wait(every)) };
        Self { announced: length(&bytes), left: bytes, manner }
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("a body's length fits 64 bits")
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { left, manner, .. } = &mut *self;
        let frame = match manner {
            Manner::Whole => left.split_off(0),
            Manner::Cut { .. } if !left.is_empty() => left.split_off(0),
            Manner::Cut { flushed: flushed @ false } => {
                // The connection flushes while the body has nothing to give, and only then.
                *flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Manner::Cut { .. } => {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
            Manner::Drip { .. } if left.is_empty() => Bytes::new(),
            Manner::Drip { every, wait: waiting } => {
                ready!(waiting.as_mut().poll(context));
                waiting.set(wait(*every));
                left.split_to(1)
            }
        };
        Poll::Ready((!frame.is_empty()).then(|| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && !matches!(self.manner, Manner::Cut { .. })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
