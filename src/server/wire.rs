//! Observes the bytes between the socket of a connection and hyper (the HTTP library).
//!
//! - Records when a request line and headers begin to arrive, because hyper does not report this.
//! - Hides the answers without a body that hyper sends when it cannot parse a request. The server
//!   then sends an answer of its own.
//! - Hides the end of the client's data until the client has its answer. Otherwise hyper would give
//!   up the request of a client that closes its sending direction after its request.

use bytes::{Buf, Bytes};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The statuses of the answers that hyper (the HTTP library) sends itself, because it cannot parse
/// a request. A status follows the version in the first line of an answer.
const HYPER_STATUSES: [&[u8]; 3] = [b" 400 ", b" 414 ", b" 431 "];

/// The HTTP versions in answers that hyper (the HTTP library) sends itself. hyper answers in the
/// version of the last valid request.
const VERSIONS: [&[u8]; 2] = [b"HTTP/1.1", b"HTTP/1.0"];

/// The header by which Sidekey recognises an answer that hyper (the HTTP library) sends itself.
/// Sidekey's own answers with a status from 400 to 499 always have a body.
const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// The state of one connection: whether a request is arriving, is being handled, or is being
/// answered. The time limits of the connection depend on this state.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Whether a request line and headers have begun to arrive, and are not complete.
    is_head_arriving: AtomicBool,
    is_answering: AtomicBool,
    /// Whether the answer is streamed, and its last piece has not been created yet.
    is_streaming: AtomicBool,
    /// The sequence number of the last event on the connection: the last answer, or the acceptance
    /// of the connection. The connection has been idle since this event.
    last_event: AtomicU64,
    /// Whether a part of an answer has been written, but the socket has not yet accepted the rest.
    is_writing: AtomicBool,
    /// Whether bytes of the next request may have arrived while the server handles a request. hyper
    /// (the HTTP library) has such bytes in its buffer.
    may_have_buffered: AtomicBool,
    /// Whether the client closed its sending direction while the server handled a request. The
    /// client may still wait for its answer, or it may be gone: the server cannot see the
    /// difference.
    is_half_closed: AtomicBool,
    /// Whether the current request ends if the client closes its sending direction: a long poll,
    /// which waits until a secret changes, or a call to another server.
    is_abandonable: AtomicBool,
    /// Whether a piece of an answer was created since the last check whether the connection is idle.
    has_new_piece: AtomicBool,
}

impl Exchange {
    /// Records that a complete request line and headers have arrived. The body and the next request
    /// may have arrived together with them.
    pub(crate) fn note_request(&self) {
        self.is_head_arriving.store(false, Ordering::Relaxed);
        self.may_have_buffered.store(true, Ordering::Relaxed);
        self.is_abandonable.store(false, Ordering::Relaxed);
        self.is_answering.store(true, Ordering::Relaxed);
    }

    /// Records that the current request ends if the client closes its sending direction, because it
    /// is a long poll (a request that waits until a secret changes) or a call to another server.
    pub(crate) fn note_abandonable(&self) {
        self.is_abandonable.store(true, Ordering::Relaxed);
    }

    /// Returns whether a piece of an answer was created since the last call of this function.
    pub(crate) fn take_new_piece(&self) -> bool {
        self.has_new_piece.swap(false, Ordering::Relaxed)
    }

    /// Returns whether the client closed its sending direction while the server handled a request.
    pub(crate) fn is_half_closed(&self) -> bool {
        self.is_half_closed.load(Ordering::Relaxed)
    }

    /// Returns whether the server must end the connection because its client is probably gone: the
    /// client has closed its sending direction during a long poll (a request that waits until a
    /// secret changes) or a call to another server.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_half_closed() && self.is_incomplete() && self.is_abandonable.load(Ordering::Relaxed)
    }

    /// Returns whether the server is handling a request, or still writes its answer.
    pub(super) fn is_busy(&self) -> bool {
        self.is_incomplete() || self.is_writing.load(Ordering::Relaxed)
    }

    /// Returns whether the server is handling a request, or has not created the complete answer.
    fn is_incomplete(&self) -> bool {
        self.is_answering() || self.is_streaming.load(Ordering::Relaxed)
    }

    /// Records that the server has answered a request. `event` is the sequence number of the
    /// answer.
    pub(crate) fn note_answer(&self, event: u64) {
        self.is_answering.store(false, Ordering::Relaxed);
        self.set_last_event(event);
    }

    pub(crate) fn set_last_event(&self, event: u64) {
        self.last_event.store(event, Ordering::Relaxed);
    }

    pub(crate) fn last_event(&self) -> u64 {
        self.last_event.load(Ordering::Relaxed)
    }

    pub(crate) fn is_head_arriving(&self) -> bool {
        self.is_head_arriving.load(Ordering::Relaxed)
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    /// Records that bytes have arrived from the client. If the server is handling no request, these
    /// are the first bytes of the next request.
    pub(super) fn note_received(&self) {
        let flag = if self.is_busy() { &self.may_have_buffered } else { &self.is_head_arriving };
        flag.store(true, Ordering::Relaxed);
    }

    /// Records that hyper (the HTTP library) tried to read from the socket, but no bytes had
    /// arrived. hyper's buffer is then empty, so no part of the next request has arrived, and its
    /// time limit need not start.
    fn note_waiting_for_bytes(&self) {
        if self.is_incomplete() {
            self.may_have_buffered.store(false, Ordering::Relaxed);
        }
    }

    fn note_writing(&self) {
        self.is_writing.store(true, Ordering::Relaxed);
    }

    /// Records that the socket has accepted all bytes of the answer that were created so far. If
    /// the answer is complete, and a part of the next request has already arrived, the time limit
    /// for the next request starts.
    fn note_written(&self) {
        self.is_writing.store(false, Ordering::Relaxed);
        if self.may_have_buffered.load(Ordering::Relaxed) && !self.is_incomplete() {
            self.may_have_buffered.store(false, Ordering::Relaxed);
            self.is_head_arriving.store(true, Ordering::Relaxed);
        }
    }
}

/// Marks the answer on a connection as incomplete until this value is dropped. Meanwhile, the time
/// limit for the next request does not run.
pub(crate) struct Streaming(Arc<Exchange>);

impl Streaming {
    pub(crate) fn begin(exchange: Arc<Exchange>) -> Self {
        exchange.is_streaming.store(true, Ordering::Relaxed);
        Self(exchange)
    }

    /// Records that a piece of the answer was created, so the connection is not idle.
    pub(crate) fn note_piece(&self) {
        self.0.has_new_piece.store(true, Ordering::Relaxed);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.is_streaming.store(false, Ordering::Relaxed);
    }
}

/// A wrapper around the socket of a connection. hyper (the HTTP library) reads and writes through
/// the wrapper, which observes all bytes.
pub(crate) struct Wire<S> {
    socket: S,
    exchange: Arc<Exchange>,
    /// The bytes that hyper (the HTTP library) reads before it reads from the socket.
    unread: Bytes,
    /// Whether hyper (the HTTP library) answered an invalid request, and the wrapper did not send
    /// this answer.
    has_hidden_answer: bool,
    /// Whether the client has closed its sending direction, and hyper (the HTTP library) does not
    /// know this yet.
    has_hidden_end: bool,
}

impl<S> Wire<S> {
    /// Wraps a socket. hyper (the HTTP library) first reads the bytes `unread`, and then the bytes
    /// from the socket. The wrapper records the state of the connection in `exchange`.
    pub(crate) fn new(socket: S, unread: Bytes, exchange: Arc<Exchange>) -> Self {
        Self { socket, exchange, unread, has_hidden_answer: false, has_hidden_end: false }
    }

    /// Returns whether hyper (the HTTP library) answered an invalid request, and this answer was
    /// not sent. The server must then send an answer of its own.
    pub(crate) fn has_hidden_answer(&self) -> bool {
        self.has_hidden_answer
    }

    pub(crate) fn into_socket(self) -> S {
        self.socket
    }

    /// Returns whether `bytes` are an answer that hyper (the HTTP library) sends itself because it
    /// cannot parse a request. Such an answer must not be sent.
    fn hides(&mut self, bytes: &[u8]) -> bool {
        let status = VERSIONS.iter().find_map(|version| bytes.strip_prefix(*version));
        let is_own_of_hyper = status.is_some_and(|status| {
            HYPER_STATUSES.iter().any(|start| status.starts_with(start)) && contains(bytes, NO_BODY)
        });
        self.has_hidden_answer |= is_own_of_hyper;
        is_own_of_hyper
    }
}

impl<S> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..length]);
            self.unread.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, buf) else {
            self.exchange.note_waiting_for_bytes();
            return Poll::Pending;
        };
        read?;
        if buf.filled().len() > before {
            self.exchange.note_received();
        } else if self.exchange.is_busy() {
            // The client has closed its sending direction, and waits for the answer. hyper sees the
            // end when it reads again, after the answer. If the body is incomplete, the time limit
            // for bodies ends the request.
            self.has_hidden_end = true;
            self.exchange.is_half_closed.store(true, Ordering::Relaxed);
            self.exchange.note_waiting_for_bytes();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.hides(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.exchange.note_writing();
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // If hyper sends its own answer, the answer is the first slice that is not empty.
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        if self.hides(first) {
            return Poll::Ready(Ok(first.len()));
        }
        self.exchange.note_writing();
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.exchange.note_written();
        if self.has_hidden_end && !self.exchange.is_busy() {
            self.has_hidden_end = false;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_hidden_answer {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
