//! Answers reads of cached secrets without hyper (the HTTP library), if the request has a simple
//! form.
//!
//! Almost all requests are such reads, and hyper's work takes longer than the read itself. Every
//! other request goes to hyper.

use super::connection_slots::ConnectionSlot;
use super::gate::ListenerKind;
use super::handler::Server;
use super::plain_request::{HeaderSpace, PlainRequest};
use bytes::Bytes;
use std::cell::Cell;
use std::fmt;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, take};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

/// The maximum size of a request that is answered without hyper (the HTTP library), in bytes. The
/// longest header is usually a session token, which takes up to 4 KiB.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// The initial capacity, in bytes, of the buffer for an answer's status line and headers, which
/// usually take less than 300 bytes.
const HEAD_CAPACITY: usize = 384;

/// The maximum size, in bytes, of a body that is copied to the buffer for the status line and
/// headers. A larger body is written from its own memory, because the copy would take longer.
const COPIED_BODY_BYTES_MAX: usize = 4 * 1024;

thread_local! {
    /// The empty buffer for the next answer, which all connections of the thread share. A
    /// connection returns the buffer as soon as its socket has accepted the complete answer.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Why Sidekey's own code stops answering the requests of a connection. This code answers requests
/// without hyper (the HTTP library).
pub(super) enum Left {
    /// The connection has ended.
    Closed,
    /// hyper (the HTTP library) must serve the connection from now on. These bytes of the client
    /// were already read from the socket.
    ToHyper(Bytes),
}

/// Answers simple reads of cached secrets on one connection. An idle connection has no buffers.
pub(super) struct DirectReads<'a> {
    server: &'a Server,
    listener: ListenerKind,
    slot: &'a ConnectionSlot,
    /// The status line and headers of the answer that is being written. A small body follows them
    /// in the same buffer.
    answer: Zeroizing<Vec<u8>>,
    /// The body of the answer that is being written, if the body is too large for the buffer
    /// `answer`.
    large_body: Bytes,
    /// The number of bytes of the answer that the socket has accepted.
    written: usize,
    /// Whether the server must close the connection after the answer.
    closes: bool,
}

impl<'a> DirectReads<'a> {
    pub(super) fn new(
        server: &'a Server,
        listener: ListenerKind,
        slot: &'a ConnectionSlot,
    ) -> Self {
        let (answer, large_body) = (Zeroizing::default(), Bytes::new());
        Self { server, listener, slot, answer, large_body, written: 0, closes: false }
    }

    /// Closes the connection after the current answer, because the agent stops. Returns `true` if
    /// no answer is being written.
    pub(super) fn stop(&mut self) -> bool {
        self.closes = true;
        self.answer.is_empty()
    }

    /// Answers requests, until the connection ends or a request is not a simple read of a cached
    /// secret.
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

    /// Prepares the answer to `request`. Returns `None`, and prepares nothing, if the request is
    /// not a simple read of a cached secret.
    fn answer(&mut self, request: &[u8]) -> Option<()> {
        let mut space: HeaderSpace<'_> = [const { MaybeUninit::uninit() }; _];
        let request = PlainRequest::parse(request, &mut space)?;
        let (answer, now) = self.server.answer_from_cache(
            self.listener,
            self.slot,
            &request.head(),
            request.body,
        )?;
        self.answer = SPARE.take().into();
        self.answer.reserve(HEAD_CAPACITY);
        answer.write_head(&mut self.answer, request.closes, now);
        let body = answer.into_body();
        if body.len() <= COPIED_BODY_BYTES_MAX {
            self.answer.extend_from_slice(&body);
        } else {
            self.large_body = body;
        }
        self.closes = request.closes;
        self.slot.note_answered();
        Some(())
    }

    /// Writes the rest of the current answer to the socket, if there is one.
    fn poll_write<S>(&mut self, socket: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        if self.answer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let length = self.answer.len();
        while self.written < length + self.large_body.len() {
            let socket = Pin::new(&mut *socket);
            let unwritten = self.answer.get(self.written..).unwrap_or_default();
            let body = &self.large_body[self.written.saturating_sub(length)..];
            let accepted = match (unwritten, body) {
                ([], bytes) | (bytes, []) => socket.poll_write(cx, bytes),
                _ => {
                    let slices = [IoSlice::new(unwritten), IoSlice::new(body)];
                    socket.poll_write_vectored(cx, &slices)
                }
            };
            match ready!(accepted)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                accepted => self.written += accepted,
            }
        }
        (self.large_body, self.written) = (Bytes::new(), 0);
        wipe(&mut self.answer);
        self.answer.clear();
        SPARE.set(take(&mut self.answer));
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for DirectReads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectReads").field("written", &self.written).finish_non_exhaustive()
    }
}

/// Overwrites bytes in memory, because requests contain a token, and answers contain a secret.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Without this call, the compiler could omit the writes, because nothing reads the bytes again.
    black_box(bytes);
}
