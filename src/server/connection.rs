//! Serves one connection: answers its requests one after the other, and enforces its deadlines.

use super::connection_slots::ConnectionSlot;
use super::gate::ListenerKind;
use super::handler::Server;
use super::problem::Problem;
use super::request::Target;
use super::response::Response;
use super::wire::Wire;
use crate::clock::{Clock, Sleep};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// The maximum size of a request's head (the request line and headers), in bytes. A session token
/// in a header takes up to 4 KiB.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;

pub(crate) const HEADERS_MAX: usize = 64;

/// The maximum time between the first and the last byte of a request's head (the request line and
/// headers).
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// The maximum lifetime of an untrusted connection (one that has not sent a valid token).
///
/// This time is enough for a request line and headers, a refresh of the agent's AWS credentials, a
/// body, and the answer.
const UNTRUSTED_TIME_MAX: Duration = Duration::from_secs(10);

/// The time between two checks whether a connection is idle.
const IDLE_TICK: Duration = Duration::from_secs(60);

/// The number of consecutive idle checks after which a trusted connection (one that has sent a
/// valid token) is closed.
///
/// The server counts checks instead of time, because Lambda may freeze the process between
/// requests. Only one check follows a freeze, even a long one. So the function's connection is
/// still open after a freeze.
const IDLE_TICKS_MAX: u32 = 15;

/// Serves a connection until the peer closes it, a deadline passes, or an answer closes it. If
/// `stop` is cancelled, the connection ends after the answer to its current request.
pub(super) async fn serve<S>(
    server: Arc<Server>,
    listener: ListenerKind,
    socket: S,
    slot: ConnectionSlot,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _gauge = (listener != ListenerKind::Metrics).then(|| ConnectionGauge::increment(&server));
    let service = service_fn(|request: Request<Incoming>| {
        slot.exchange().note_request();
        answer(&server, &slot, listener, request)
    });
    let dialect = server.context.dialect;
    let replace = Box::new(move |status: &[u8]| {
        let problem = problem_of_hyper(status)?;
        Some(last_answer(dialect.problem(Target::Unknown, &problem)))
    });
    let wire = Wire::new(socket, slot.exchange().clone(), replace);
    let mut connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        // hyper's own timeout is not used, because it would also run while an open connection waits
        // for its next request.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(wire), service);
    let mut deadlines = Deadlines::new(server.context.cache.clock(), &slot);
    // `FuturesUnordered` polls its future only after a wake-up. Polling the token directly would
    // take a lock at each poll.
    let mut stopped: FuturesUnordered<_> = [stop.cancelled()].into_iter().collect();
    let end = poll_fn(|cx| {
        if let Poll::Ready(Some(())) = stopped.poll_next_unpin(cx) {
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(_) => Poll::Ready(End::Closed),
            Poll::Pending => deadlines.poll(cx),
        }
    })
    .await;
    if end == End::HeadTooSlow {
        let problem = Problem::HeadTooSlow(HEAD_TIME_MAX);
        let answer = last_answer(dialect.problem(Target::Unknown, &problem));
        let mut socket = connection.into_parts().io.into_inner().into_socket();
        // The answer is written with one attempt. If the socket does not accept the answer at once,
        // the peer has not even read the earlier answers.
        if poll_once(|cx| Pin::new(&mut socket).poll_write(cx, &answer)).await.is_ready() {
            let _ = socket.shutdown().await;
        }
    }
}

/// Calls a poll function once, and returns its result even if the result is `Pending`.
async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}

async fn answer(
    server: &Server,
    slot: &ConnectionSlot,
    listener: ListenerKind,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let response = server.handle(listener, slot, &head, body).await;
    slot.note_answered();
    Ok(response)
}

/// Counts one open connection in the metrics until this value is dropped. The value is also dropped
/// if the task of the connection is cancelled.
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
    /// The connection ends because the peer or an answer closed it, or because the agent stops.
    Closed,
    /// The connection ends because a request's head (the request line and headers) was not complete
    /// in time.
    HeadTooSlow,
    /// The connection ends because it was idle for too long, or because it sent no request with a
    /// valid token in time.
    Idle,
}

/// The deadlines of a connection. On a trusted connection (one that has sent a valid token), a
/// request that arrives in one piece starts no new timer.
struct Deadlines<'a> {
    clock: &'a dyn Clock,
    slot: &'a ConnectionSlot,
    /// The deadline for the first request with a valid token. This is `None` after such a request.
    untrusted: Option<Sleep>,
    /// The deadline for the rest of a request's head (the request line and headers). This is `None`
    /// unless a head has begun to arrive.
    head: Option<Sleep>,
    /// The timer of the next check whether the connection is idle.
    tick: Sleep,
    idle_ticks: u32,
    /// The sequence number of the connection's last event, as of the last idle check. An event is
    /// an answer, or the acceptance of the connection.
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

/// Returns the error that makes hyper (the HTTP library) send an answer with this status itself.
/// Returns `None` for any other status.
fn problem_of_hyper(status: &[u8]) -> Option<Problem> {
    match status {
        b"431" => Some(Problem::HeadTooLarge(HEAD_BYTES_MAX)),
        b"414" => Some(Problem::TargetTooLong),
        b"400" => Some(Problem::HeadUnreadable),
        _ => None,
    }
}

/// Converts a response to the bytes of an HTTP/1.1 answer with `connection: close`. Sidekey uses
/// this for answers that it sends without hyper (the HTTP library).
fn last_answer(response: Response) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = body.into_inner().unwrap_or_default();
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
pub(super) mod tests;
