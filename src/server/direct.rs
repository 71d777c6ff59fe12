//! Answers plain reads of cached secrets without hyper (the HTTP library).
//!
//! Almost all requests are such reads. For them, the general work of an HTTP library takes longer
//! than the read itself. This module only carries bytes: it makes no decision of its own about a
//! request. Every other request goes to hyper, together with the bytes that were read.

use super::connection_slots::ConnectionSlot;
use super::gate::ListenerKind;
use super::handler::Server;
use super::plain_request::{HeaderSpace, PlainRequest};
use bytes::Bytes;
use std::fmt;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The maximum size of a request that is answered without hyper (the HTTP library), in bytes. The
/// longest header is usually a session token, which takes up to 4 KiB.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// The capacity of the buffer for the status line and headers of an answer, in bytes. They
/// usually take less than 300 bytes.
const HEAD_CAPACITY: usize = 384;

/// Why no more reads are answered without hyper (the HTTP library).
pub(super) enum Left {
    /// The connection is over.
    Closed,
    /// hyper must serve the connection from now on, beginning with these bytes of the client.
    ToHyper(Bytes),
}

/// Answers plain reads of cached secrets on one connection.
///
/// An idle connection has no buffer for requests. An answer is not copied: its body is written from
/// the cache entry.
pub(super) struct DirectReads<'a> {
    server: &'a Server,
    listener: ListenerKind,
    slot: &'a ConnectionSlot,
    /// The status line and headers of the answer that is being written.
    head: Vec<u8>,
    /// The body of the answer that is being written.
    body: Bytes,
    /// The number of bytes of the answer that the socket has accepted.
    written: usize,
    /// Whether the connection must be closed after the answer.
    closes: bool,
}

impl<'a> DirectReads<'a> {
    pub(super) fn new(
        server: &'a Server,
        listener: ListenerKind,
        slot: &'a ConnectionSlot,
    ) -> Self {
        let (head, body) = (Vec::new(), Bytes::new());
        Self { server, listener, slot, head, body, written: 0, closes: false }
    }

    /// Lets the connection end after the current answer, because the agent stops. Returns `true` if
    /// no answer is being written.
    pub(super) fn stop(&mut self) -> bool {
        self.closes = true;
        self.head.is_empty()
    }

    /// Answers requests until a request is not a plain read of a cached secret, or the connection
    /// ends.
    pub(super) fn poll<S>(&mut self, socket: &mut S, cx: &mut Context<'_>) -> Poll<Left>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if ready!(self.poll_write(socket, cx)).is_err() || self.closes {
                return Poll::Ready(Left::Closed);
            }
            let mut space = [MaybeUninit::uninit(); REQUEST_BYTES_MAX];
            let mut received = ReadBuf::uninit(&mut space);
            if ready!(Pin::new(&mut *socket).poll_read(cx, &mut received)).is_err()
                || received.filled().is_empty()
            {
                return Poll::Ready(Left::Closed);
            }
            let is_answered = self.answer(received.filled()).is_some();
            let unread = (!is_answered).then(|| Bytes::copy_from_slice(received.filled()));
            wipe(received.filled_mut());
            if let Some(unread) = unread {
                self.slot.exchange().note_received();
                return Poll::Ready(Left::ToHyper(unread));
            }
        }
    }

    /// Prepares the answer to `request`. Returns `None`, and does nothing, if the request is not a
    /// plain read of a cached secret.
    fn answer(&mut self, request: &[u8]) -> Option<()> {
        let mut space: HeaderSpace<'_> = [const { MaybeUninit::uninit() }; _];
        let request = PlainRequest::parse(request, &mut space)?;
        let (answer, now) =
            self.server.answer_from_cache(self.listener, self.slot, &request.head())?;
        self.head.reserve(HEAD_CAPACITY);
        answer.write_head(&mut self.head, request.closes, now.wall);
        (self.body, self.closes) = (answer.into_body(), request.closes);
        self.slot.note_answered();
        Some(())
    }

    /// Writes the rest of the current answer, if there is one.
    fn poll_write<S>(&mut self, socket: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while self.written < self.head.len() + self.body.len() {
            let head = self.head.get(self.written..).unwrap_or_default();
            let body = &self.body[self.written.saturating_sub(self.head.len())..];
            let slices = [IoSlice::new(head), IoSlice::new(body)];
            let slices = if head.is_empty() { &slices[1..] } else { &slices };
            match ready!(Pin::new(&mut *socket).poll_write_vectored(cx, slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                accepted => self.written += accepted,
            }
        }
        self.head.clear();
        (self.body, self.written) = (Bytes::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for DirectReads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectReads").field("written", &self.written).finish_non_exhaustive()
    }
}

/// Overwrites the bytes of a request, which contain the token of the caller.
fn wipe(request: &mut [u8]) {
    request.fill(0);
    // Without this call, the compiler could omit the writes, because nothing reads the bytes again.
    black_box(request);
}
