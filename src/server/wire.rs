//! The bytes of one connection, between the socket and hyper.
//!
//! It notes when the head of a request begins to arrive, which hyper does not tell, and gives a
//! body to the answers that hyper makes by itself when it cannot read a head.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How every answer that hyper makes by itself begins.
const OWN_ANSWER: &[u8] = b"HTTP/1.1 4";

/// What hyper makes by itself has no body; every answer of ours with such a status has one.
const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// Where a connection stands in its exchange, shared with the task that watches its deadlines and with
/// the places that choose which connection is closed.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Bytes of a head have arrived that make no request yet.
    head_begun: AtomicBool,
    /// A request is being answered.
    in_flight: AtomicBool,
    /// The event since which the connection is idle: its last answer, or that it was accepted.
    last_event: AtomicU64,
    /// An answer has begun to be written, and the socket has not taken all of it.
    is_writing: AtomicBool,
    /// hyper may have bytes in its buffer that came behind the request that is being answered.
    is_ahead: AtomicBool,
}

impl Exchange {
    /// Notes that a whole request has arrived. Bytes may have come with it.
    pub fn begin(&self) {
        self.head_begun.store(false, Ordering::Relaxed);
        self.is_ahead.store(true, Ordering::Relaxed);
        self.in_flight.store(true, Ordering::Relaxed);
    }

    /// Notes that the request has been answered, as event number `event`.
    pub fn end(&self, event: u64) {
        self.in_flight.store(false, Ordering::Relaxed);
        self.idle_since(event);
    }

    /// Notes the event since which the connection is idle.
    pub fn idle_since(&self, event: u64) {
        self.last_event.store(event, Ordering::Relaxed);
    }

    /// Returns the event since which the connection is idle.
    pub fn last_event(&self) -> u64 {
        self.last_event.load(Ordering::Relaxed)
    }

    /// Returns whether the head of a request has begun to arrive and is not complete.
    pub fn is_head_begun(&self) -> bool {
        self.head_begun.load(Ordering::Relaxed)
    }

    /// Returns whether a request is being answered.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn received(&self) {
        let is_ahead = self.is_in_flight() || self.is_writing.load(Ordering::Relaxed);
        let begun = if is_ahead { &self.is_ahead } else { &self.head_begun };
        begun.store(true, Ordering::Relaxed);
    }

    /// Notes that hyper waits for more bytes. While it answers a request, it reads only if its buffer
    /// is empty.
    fn awaits_bytes(&self) {
        if self.is_in_flight() {
            self.is_ahead.store(false, Ordering::Relaxed);
        }
    }

    fn writes(&self) {
        self.is_writing.store(true, Ordering::Relaxed);
    }

    /// Notes that everything has been written: the time of a head that has begun to arrive meanwhile
    /// counts from here.
    fn has_written(&self) {
        self.is_writing.store(false, Ordering::Relaxed);
        if self.is_ahead.load(Ordering::Relaxed) && !self.is_in_flight() {
            self.is_ahead.store(false, Ordering::Relaxed);
            self.head_begun.store(true, Ordering::Relaxed);
        }
    }
}

/// Makes the whole answer, head and body, that takes the place of hyper's own with a status.
pub type Replace = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send>;

/// A socket as hyper sees it.
pub struct Wire<S> {
    socket: S,
    exchange: Arc<Exchange>,
    replace: Replace,
    /// What is being written in place of an answer of hyper's, and how far it has got.
    replacing: Option<(Vec<u8>, usize)>,
}

impl<S> Wire<S> {
    /// Wraps `socket`.
    pub fn new(socket: S, exchange: Arc<Exchange>, replace: Replace) -> Self {
        Self { socket, exchange, replace, replacing: None }
    }

    /// Returns the socket.
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
            self.exchange.awaits_bytes();
            return Poll::Pending;
        };
        read?;
        if buf.filled().len() > before {
            self.exchange.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes what takes the place of `bytes`, if they are an answer of hyper's own.
    fn poll_replace(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Option<io::Result<usize>>> {
        if self.replacing.is_none() && bytes.starts_with(OWN_ANSWER) && contains(bytes, NO_BODY) {
            let status = bytes.split(|b| *b == b' ').nth(1).unwrap_or_default();
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
        self.exchange.writes();
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
        self.exchange.writes();
        // A head stands at the start of the first slice.
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
        self.exchange.has_written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
