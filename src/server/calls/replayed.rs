//! The body of a call, which can be sent a second time if it is small enough.

use crate::broker::retry::{Kept, KeptBytes};
use crate::http1::IncompleteBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

/// The request body of a call. The agent reads the body from the caller while it sends the body to
/// the external API.
#[derive(Clone)]
pub(super) struct Replayable {
    source: Arc<Mutex<Source>>,
    /// The declared length of the body in bytes. `None` if the body is chunked.
    length: Option<u64>,
}

struct Source {
    body: Incoming,
    kept: Kept,
    /// The number of pieces in which the body has arrived from the caller so far.
    pieces: u64,
    is_ended: bool,
    is_broken: bool,
}

impl Replayable {
    /// Wraps the body of a call. `kept` counts the bytes of all bodies that the agent keeps to send
    /// them again.
    pub(super) fn new(body: Incoming, kept: Arc<KeptBytes>) -> Self {
        let length = body.size_hint().exact();
        let (kept, pieces) = (Kept::new(kept), 0);
        let source = Source { body, kept, pieces, is_ended: false, is_broken: false };
        Self { source: Arc::new(Mutex::new(source)), length }
    }

    /// Returns the body from its beginning. If the body is too large to be kept, only the first
    /// result of this function contains the complete body.
    pub(super) fn replay(&self) -> Replay {
        Replay { body: self.clone(), position: 0, sent: 0 }
    }

    /// Returns the declared length of the body in bytes, or `None` if the body is chunked.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns whether the body can be sent once more.
    pub(super) fn can_replay(&self) -> bool {
        let source = self.source();
        source.kept.is_complete() && !source.is_broken
    }

    /// Returns whether the agent failed to read the complete body from the caller.
    pub(super) fn is_broken(&self) -> bool {
        self.source().is_broken
    }

    /// Returns the number of pieces in which the body has arrived from the caller so far.
    pub(super) fn pieces(&self) -> u64 {
        self.source().pieces
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().expect("no thread may panic while it holds the lock")
    }
}

impl fmt::Debug for Replayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayable").field("length", &self.length).finish_non_exhaustive()
    }
}

/// The body of a call while the agent sends the body to the external API. If the API rejects the
/// credential, the agent can send the same body again with a new credential.
#[derive(Debug)]
pub(super) struct Replay {
    body: Replayable,
    /// The number of pieces of the body that were sent.
    position: usize,
    /// The number of bytes of the body that were sent.
    sent: u64,
}

impl Replay {
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, IncompleteBody>>> {
        let mut source = self.body.source();
        if let Some(kept) = source.kept.piece(self.position) {
            return Poll::Ready(Some(Ok(kept.clone())));
        }
        loop {
            if source.is_ended {
                return Poll::Ready(None);
            }
            if source.is_broken {
                return Poll::Ready(Some(Err(IncompleteBody)));
            }
            match ready!(Pin::new(&mut source.body).poll_frame(context)) {
                None => source.is_ended = true,
                Some(Err(_)) => source.is_broken = true,
                // Trailers are omitted, because they are headers of one connection.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        source.pieces += 1;
                        source.kept.add(&data);
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

impl Body for Replay {
    type Data = Bytes;
    type Error = IncompleteBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncompleteBody>>> {
        let next = ready!(self.next(context));
        if let Some(Ok(piece)) = &next {
            self.position += 1;
            self.sent += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        let source = self.body.source();
        source.kept.piece(self.position).is_none()
            && (source.is_ended || source.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.sent)),
            None => SizeHint::default(),
        }
    }
}
