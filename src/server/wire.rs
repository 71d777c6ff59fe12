//! A socket wrapper that observes the bytes of one connection between the socket and hyper.
//!
//! The wrapper has two tasks. It notes when the head of a request (its request line and headers) begins
//! to arrive, because hyper does not report this. And it replaces the answers without a body that hyper
//! sends when it cannot parse a head.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first bytes of each answer that hyper sends by itself, without calling Sidekey's handler. Its
/// status is from 400 to 499.
const HYPER_ANSWER: &[u8] = b"HTTP/1.1 4";

/// The header that tells an answer of hyper from an answer of Sidekey: hyper's answers have no body,
/// and all answers of Sidekey with a status of 400 to 499 have a body.
const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// The state of a connection's exchange of requests and answers.
///
/// The state is shared with the task that watches the deadlines of the connection, and with the
/// connection slots, which choose the connection to close.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Whether a part of a head has arrived, and the rest has not.
    is_head_arriving: AtomicBool,
    /// Whether a request is being answered.
    is_answering: AtomicBool,
    /// The sequence number of the connection's last event, which is its last answer or its acceptance.
    /// The connection has been idle since this event.
    last_event: AtomicU64,
    /// Whether a part of an answer has been written, and the socket has not accepted the rest.
    is_writing: AtomicBool,
    /// Whether hyper may have buffered bytes that arrived after the request that is being answered.
    may_have_buffered: AtomicBool,
}

impl Exchange {
    /// Notes that a complete request has arrived. Bytes of the next request may have arrived with it.
    pub fn note_request(&self) {
        self.is_head_arriving.store(false, Ordering::Relaxed);
        self.may_have_buffered.store(true, Ordering::Relaxed);
        self.is_answering.store(true, Ordering::Relaxed);
    }

    /// Notes that the request has been answered. The answer is the event with the sequence number
    /// `event`.
    pub fn note_answer(&self, event: u64) {
        self.is_answering.store(false, Ordering::Relaxed);
        self.set_last_event(event);
    }

    /// Sets the sequence number of the connection's last event, since which the connection is idle.
    pub fn set_last_event(&self, event: u64) {
        self.last_event.store(event, Ordering::Relaxed);
    }

    /// Returns the sequence number of the connection's last event: its last answer, or its acceptance.
    pub fn last_event(&self) -> u64 {
        self.last_event.load(Ordering::Relaxed)
    }

    /// Returns whether a part of a request's head has arrived, and the rest has not.
    pub fn is_head_arriving(&self) -> bool {
        self.is_head_arriving.load(Ordering::Relaxed)
    }

    /// Returns whether a request is being answered.
    pub fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    /// Notes that bytes have arrived. They belong to the next head, or to the request that is being
    /// answered.
    fn note_received(&self) {
        let is_busy = self.is_answering() || self.is_writing.load(Ordering::Relaxed);
        let flag = if is_busy { &self.may_have_buffered } else { &self.is_head_arriving };
        flag.store(true, Ordering::Relaxed);
    }

    /// Notes that hyper waits for more bytes. So its buffer is empty: while hyper answers a request, it
    /// reads from the socket only if the buffer is empty.
    fn note_waiting_for_bytes(&self) {
        if self.is_answering() {
            self.may_have_buffered.store(false, Ordering::Relaxed);
        }
    }

    /// Notes that hyper writes a part of an answer.
    fn note_writing(&self) {
        self.is_writing.store(true, Ordering::Relaxed);
    }

    /// Notes that the socket has accepted the complete answer. If the next head began to arrive before,
    /// the deadline of this head starts now.
    fn note_written(&self) {
        self.is_writing.store(false, Ordering::Relaxed);
        if self.may_have_buffered.load(Ordering::Relaxed) && !self.is_answering() {
            self.may_have_buffered.store(false, Ordering::Relaxed);
            self.is_head_arriving.store(true, Ordering::Relaxed);
        }
    }
}

/// A function from the status of an answer of hyper to the bytes of the answer that replaces it.
/// Returns `None` to send hyper's answer.
pub type ReplaceAnswer = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send>;

/// A wrapper around a socket that observes its bytes. hyper gets the wrapper instead of the socket.
pub struct Wire<S> {
    socket: S,
    exchange: Arc<Exchange>,
    replace: ReplaceAnswer,
    /// The answer that is being written instead of an answer of hyper, and the number of bytes written.
    replacing: Option<(Vec<u8>, usize)>,
}

impl<S> Wire<S> {
    /// Wraps a socket. The wrapper keeps `exchange` up to date.
    pub fn new(socket: S, exchange: Arc<Exchange>, replace: ReplaceAnswer) -> Self {
        Self { socket, exchange, replace, replacing: None }
    }

    /// Returns the wrapped socket.
    pub fn into_socket(self) -> S {
        self.socket
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
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, buf) else {
            self.exchange.note_waiting_for_bytes();
            return Poll::Pending;
        };
        read?;
        if buf.filled().len() > before {
            self.exchange.note_received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// If `bytes` are an answer of hyper, writes the answer that replaces it. Returns `None` for other
    /// bytes.
    fn poll_replace(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Option<io::Result<usize>>> {
        if self.replacing.is_none() && bytes.starts_with(HYPER_ANSWER) && contains(bytes, NO_BODY) {
            let status = bytes.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            self.replacing = (self.replace)(status).map(|answer| (answer, 0));
        }
        while let Some((answer, written)) = &mut self.replacing {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &answer[*written..])) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(n) => *written += n,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if *written == answer.len() {
                self.replacing = None;
                return Poll::Ready(Some(Ok(bytes.len())));
            }
        }
        Poll::Ready(None)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.exchange.note_writing();
        if let Some(replaced) = ready!(self.poll_replace(cx, bytes)) {
            return Poll::Ready(replaced);
        }
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.exchange.note_writing();
        // An answer of hyper begins at the start of the first slice that is not empty.
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        if let Some(replaced) = ready!(self.poll_replace(cx, first)) {
            return Poll::Ready(replaced);
        }
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.exchange.note_written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
