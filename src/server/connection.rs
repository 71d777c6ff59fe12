//! Serves one connection: answers its requests one after the other, and enforces its deadlines.

use super::connection_slots::ConnectionSlot;
use super::direct::{DirectReads, Left};
use super::gate::ListenerKind;
use super::handler::Server;
use super::head::Head;
use super::problem::Problem;
use super::request::Target;
use super::response::Response;
use super::streamed::observed;
use super::wire::Wire;
use crate::clock::{Clock, Sleep};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http_body_util::Either;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// The maximum size of a request's head (the request line and headers), in bytes. The longest
/// expected header is a session token, which takes up to 4 KiB.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The maximum number of headers of a request.
pub(crate) const HEADERS_MAX: usize = 128;

/// The number of headers that hyper (the HTTP library) can parse without an allocation. Almost all
/// requests have fewer headers.
const HEADERS_WITHOUT_ALLOCATION: usize = 100;

/// The maximum time between the first and the last byte of a request's head (the request line and
/// headers).
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// The maximum lifetime of a connection that has sent no valid token.
///
/// In this time, a client must be able to send a request and receive the answer. If its token is
/// unknown, the agent first refreshes its own AWS credentials, because the token may be the session
/// token of new credentials.
const UNTRUSTED_TIME_MAX: Duration = Duration::from_secs(10);

/// The interval at which the server checks whether a connection is idle.
const IDLE_TICK: Duration = Duration::from_secs(60);

/// The number of consecutive checks that must find a trusted connection idle before the server
/// closes it. A trusted connection is one that has sent a valid token.
///
/// The server counts checks instead of time, because Lambda may freeze the process between
/// requests. After a freeze of any length, only one check runs. So a freeze alone does not close
/// the function's connection.
const IDLE_TICKS_MAX: u32 = 15;

/// Which parts of the server answer the requests of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ways {
    /// [`DirectReads`] answers cached reads, and hyper (the HTTP library) answers other requests.
    DirectAndHyper,
    /// hyper (the HTTP library) answers all requests. Tests compare both ways.
    #[cfg(test)]
    HyperOnly,
}

/// Serves a connection until the peer closes it, a deadline passes, or an answer contains
/// `Connection: close`. If `stop` is cancelled, the connection ends after the answer to its current
/// request.
pub(super) async fn serve<S>(
    server: Arc<Server>,
    listener: ListenerKind,
    socket: S,
    slot: ConnectionSlot,
    stop: CancellationToken,
    ways: Ways,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _gauge = (listener != ListenerKind::Metrics).then(|| ConnectionGauge::increment(&server));
    let mut serving = Serving {
        server: &server,
        listener,
        slot: &slot,
        ways,
        accepted: slot.exchange().last_event(),
        deadlines: Deadlines::new(server.context.cache.clock(), &slot),
        stop: &stop,
        stopped: [stop.cancelled()].into_iter().collect(),
    };
    let mut direct = DirectReads::new(&server, listener, &slot);
    let (mut socket, mut unread) = (socket, Bytes::new());
    let mut headers_max = HEADERS_WITHOUT_ALLOCATION;
    let problem = loop {
        if unread.is_empty() && ways == Ways::DirectAndHyper {
            match serving.answer_directly(&mut direct, &mut socket).await {
                Left::Closed => return,
                Left::ToHyper(bytes) => unread = bytes,
            }
        }
        let by_hyper = serving.answer_by_hyper(socket, unread, headers_max).await;
        (socket, unread) = (by_hyper.socket, by_hyper.unread);
        break match by_hyper.end {
            End::Closed | End::Idle => return,
            End::ReadAnswered => continue,
            End::HeadTooSlow => Problem::HeadTooSlow(HEAD_TIME_MAX),
            // The peer has an answer of hyper, or is gone.
            _ if !by_hyper.has_hidden_answer => return,
            End::HeadUnreadable => Problem::HeadUnreadable,
            End::HeadTooLarge => match problem_of_large_head(&unread, headers_max) {
                Some(problem) => problem,
                None => {
                    headers_max = HEADERS_MAX;
                    continue;
                }
            },
        };
    };
    let answer = last_answer(server.context.dialect.problem(Target::Unknown, &problem));
    // One attempt to write the answer is enough. If the socket does not accept the answer at once,
    // the peer has not even read the earlier answers.
    if poll_once(|cx| Pin::new(&mut socket).poll_write(cx, &answer)).await.is_ready() {
        let _ = socket.shutdown().await;
    }
}

/// What the server needs while it serves one connection, except the socket.
struct Serving<'a> {
    server: &'a Server,
    listener: ListenerKind,
    slot: &'a ConnectionSlot,
    ways: Ways,
    /// The sequence number of the event at which the connection was accepted.
    accepted: u64,
    deadlines: Deadlines<'a>,
    stop: &'a CancellationToken,
    /// The cancellation of `stop`. `FuturesUnordered` polls its future only after a wake-up. If the
    /// server polled the cancellation token directly, each poll would take a lock.
    stopped: FuturesUnordered<WaitForCancellationFuture<'a>>,
}

/// The state of a connection after hyper (the HTTP library) has served it.
struct ByHyper<S> {
    socket: S,
    /// The bytes of the client that hyper has received but not interpreted.
    unread: Bytes,
    end: End,
    /// Whether hyper answered a request itself, and this answer was not sent.
    has_hidden_answer: bool,
}

impl Serving<'_> {
    /// Answers cached reads without hyper (the HTTP library), until the connection ends or hyper
    /// is needed.
    async fn answer_directly<S>(&mut self, direct: &mut DirectReads<'_>, socket: &mut S) -> Left
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        poll_fn(|cx| {
            if self.poll_stopped(cx) && direct.stop() {
                // A client that connected before the stop may still send one request.
                let to_hyper = Left::ToHyper(Bytes::new());
                return Poll::Ready(if self.has_answered() { Left::Closed } else { to_hyper });
            }
            match direct.poll(socket, cx) {
                Poll::Pending => self.deadlines.poll(cx).map(|_| Left::Closed),
                left => left,
            }
        })
        .await
    }

    /// Lets hyper (the HTTP library) answer requests, until the connection ends, or until hyper has
    /// answered a read and the next read may be answered directly. hyper first reads the bytes
    /// `unread`, and then the bytes from the socket.
    async fn answer_by_hyper<S>(
        &mut self,
        socket: S,
        unread: Bytes,
        headers_max: usize,
    ) -> ByHyper<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { server, listener, slot, ways, .. } = *self;
        // Whether hyper has parsed a request, and whether the last request was a read.
        let (has_request, is_read) = (AtomicBool::new(false), AtomicBool::new(false));
        let service = service_fn(|request: Request<Incoming>| {
            slot.exchange().note_request();
            has_request.store(true, Ordering::Relaxed);
            let is_direct = ways == Ways::DirectAndHyper && may_be_answered_directly(&request);
            is_read.store(is_direct, Ordering::Relaxed);
            answer(server, slot, listener, request)
        });
        let wire = Wire::new(socket, unread, slot.exchange().clone());
        let mut connection = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(headers_max)
            // hyper's own timeout is not used, because it would also run while an open connection
            // waits for its next request.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(wire), &service);
        if self.stop.is_cancelled() {
            Pin::new(&mut connection).graceful_shutdown();
        }
        let end = poll_fn(|cx| {
            if self.poll_stopped(cx) {
                if self.has_answered() && !has_request.load(Ordering::Relaxed) {
                    return Poll::Ready(End::Closed);
                }
                Pin::new(&mut connection).graceful_shutdown();
            }
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(result) => Poll::Ready(End::of(result)),
                Poll::Pending if is_read.load(Ordering::Relaxed) && !slot.exchange().is_busy() => {
                    Poll::Ready(End::ReadAnswered)
                }
                Poll::Pending => self.deadlines.poll(cx),
            }
        })
        .await;
        let Parts { io, read_buf, .. } = connection.into_parts();
        let wire = io.into_inner();
        let has_hidden_answer = wire.has_hidden_answer();
        ByHyper { socket: wire.into_socket(), unread: read_buf, end, has_hidden_answer }
    }

    /// Returns `true` once, when the agent stops.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> bool {
        matches!(self.stopped.poll_next_unpin(cx), Poll::Ready(Some(())))
    }

    /// Returns whether the server has answered a request of this connection.
    fn has_answered(&self) -> bool {
        self.slot.exchange().last_event() != self.accepted
    }
}

/// Returns the error for a request that hyper (the HTTP library) refused as too large. `head` is
/// the part of the request line and headers that has arrived. `headers_max` is the number of
/// headers that hyper allowed.
///
/// Returns `None` if the server must let hyper parse the request again, and allow [`HEADERS_MAX`]
/// headers.
fn problem_of_large_head(head: &[u8], headers_max: usize) -> Option<Problem> {
    // The request line is a line too, so a head with more lines has at least `headers_max` headers.
    let lines = head.iter().filter(|byte| **byte == b'\n').count();
    if lines <= headers_max {
        Some(Problem::HeadTooLarge(HEAD_BYTES_MAX))
    } else {
        (headers_max == HEADERS_MAX).then_some(Problem::TooManyHeaders(HEADERS_MAX))
    }
}

/// Calls `poll` once, instead of waiting until its result is ready.
async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}

/// Returns whether a request is a read that Sidekey may answer without hyper (the HTTP library) if
/// the secret is cached.
///
/// A request with a body is not such a read. After its answer, hyper may still have to read the
/// body, or to close the connection.
fn may_be_answered_directly(request: &Request<Incoming>) -> bool {
    let target = Target::of(request.method(), request.uri().path());
    *request.method() == Method::GET
        && target.is_read_of_one_secret()
        && request.body().is_end_stream()
}

async fn answer(
    server: &Server,
    slot: &ConnectionSlot,
    listener: ListenerKind,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let response = server.handle(listener, slot, &Head::of(&head), body).await;
    let response = observed(response, slot.exchange());
    slot.note_answered();
    Ok(response)
}

/// Counts one open connection in the metrics. The count decreases when this value is dropped, even
/// if the task of the connection was cancelled.
struct ConnectionGauge<'a>(&'a Server);

impl<'a> ConnectionGauge<'a> {
    fn increment(server: &'a Server) -> Self {
        server.context.metrics.connections.inc();
        Self(server)
    }
}

impl Drop for ConnectionGauge<'_> {
    fn drop(&mut self) {
        self.0.context.metrics.connections.dec();
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer closed the connection, an answer contained `Connection: close`, or the agent stops.
    Closed,
    /// hyper (the HTTP library) has answered a read, and the client has sent no further request. The
    /// connection stays open, and the next read may be answered without hyper.
    ReadAnswered,
    /// A request line and its headers are too large, or there are too many headers.
    HeadTooLarge,
    /// A request line or a header is not valid HTTP/1.1.
    HeadUnreadable,
    /// A request line and its headers did not arrive completely in time.
    HeadTooSlow,
    /// The connection was idle for too long, or it sent no request with a valid token in time.
    Idle,
}

impl End {
    /// Returns why hyper (the HTTP library) has ended a connection.
    fn of(result: hyper::Result<()>) -> Self {
        match result {
            Err(error) if error.is_parse_too_large() => Self::HeadTooLarge,
            Err(error) if error.is_parse() => Self::HeadUnreadable,
            _ => Self::Closed,
        }
    }
}

/// The timers that end a connection.
///
/// Starting a timer takes time. So no timer starts for a request that arrives in one piece on a
/// trusted connection (one that has sent a valid token).
struct Deadlines<'a> {
    clock: &'a dyn Clock,
    slot: &'a ConnectionSlot,
    /// The deadline for the first request with a valid token. This is `None` after such a request.
    untrusted: Option<Sleep>,
    /// The deadline for the rest of a request's head (the request line and headers). This is `None`
    /// unless the first part of a head has arrived.
    head: Option<Sleep>,
    /// The timer of the next check whether the connection is idle.
    tick: Sleep,
    idle_ticks: u32,
    /// The sequence number that the connection's last event had at the last idle check. If the
    /// number is still the same at the next check, the connection was idle.
    ///
    /// An event is an answer, or the acceptance of the connection.
    event: u64,
}

impl<'a> Deadlines<'a> {
    fn new(clock: &'a dyn Clock, slot: &'a ConnectionSlot) -> Self {
        let untrusted = Some(clock.sleep(UNTRUSTED_TIME_MAX));
        let (tick, event) = (clock.sleep(IDLE_TICK), slot.exchange().last_event());
        Self { clock, slot, untrusted, head: None, tick, idle_ticks: 0, event }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let exchange = self.slot.exchange();
        if exchange.is_abandoned() {
            return Poll::Ready(End::Closed);
        }
        if let Some(untrusted) = &mut self.untrusted {
            if self.slot.is_trusted() {
                self.untrusted = None;
            } else if untrusted.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Idle);
            }
        }
        if !exchange.is_head_arriving() {
            self.head = None;
        } else if self
            .head
            .get_or_insert_with(|| self.clock.sleep(HEAD_TIME_MAX))
            .as_mut()
            .poll(cx)
            .is_ready()
        {
            return Poll::Ready(End::HeadTooSlow);
        }
        while self.tick.as_mut().poll(cx).is_ready() {
            self.tick = self.clock.sleep(IDLE_TICK);
            let before = std::mem::replace(&mut self.event, exchange.last_event());
            let was_idle = before == self.event && !exchange.is_answering();
            self.idle_ticks = if was_idle { self.idle_ticks + 1 } else { 0 };
            if self.idle_ticks >= IDLE_TICKS_MAX {
                return Poll::Ready(End::Idle);
            }
        }
        Poll::Pending
    }
}

/// Converts a response to the bytes of an HTTP/1.1 answer, so that Sidekey can send it without
/// hyper (the HTTP library). The answer contains `connection: close`.
fn last_answer(response: Response) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = match body {
        Either::Left(complete) => complete.into_inner().unwrap_or_default(),
        Either::Right(_) => unreachable!("the body of an error is complete in memory"),
    };
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut bytes =
        format!("HTTP/1.1 {} {reason}\r\nconnection: close\r\n", head.status.as_u16()).into_bytes();
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod differential_tests;
#[cfg(test)]
pub(super) mod tests;
