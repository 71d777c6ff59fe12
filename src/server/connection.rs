//! Serves one connection: its requests one after the other, its deadlines, its end.

use super::gate::Door;
use super::places::Place;
use super::problem::Problem;
use super::request::Target;
use super::wire::Wire;
use super::{Response, Server};
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

/// The largest head of a request. A session token takes up to 4 KiB of it.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The most header lines in one head.
pub const HEADERS_MAX: usize = 64;

/// The most time from the first byte of a head to its last.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// The most time from accepting a connection to its end, unless a request of its shows a good token: for
/// a head, the agent's look for newer credentials, what is left of a body, and the answer.
const WAITING_TIME_MAX: Duration = Duration::from_secs(10);

/// How often a connection is asked whether it is idle.
const IDLE_TICK: Duration = Duration::from_secs(60);

/// After how many ticks in a row without a request a kept connection is closed. Ticks are counted, not
/// time: through a freeze one tick passes, so that a function that thaws finds its connection open.
const IDLE_TICKS_MAX: u32 = 15;

/// Serves `socket` until its peer goes, a deadline passes, an answer says that it is the last, or `stop`
/// is cancelled and the request in hand is answered.
pub(super) async fn serve<S>(
    server: Arc<Server>,
    door: Door,
    socket: S,
    place: Place,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = (door != Door::Probes).then(|| Open::count(&server));
    let service = service_fn(|request: Request<Incoming>| {
        place.exchange().begin();
        answer(&server, &place, door, request)
    });
    let dialect = server.dialect;
    let replace = Box::new(move |status: &[u8]| {
        Some(whole(dialect.problem(Target::Unknown, &unreadable(status)?)))
    });
    let wire = Wire::new(socket, place.exchange().clone(), replace);
    let mut connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        // Its clock would run while a kept connection waits for its next request.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(wire), service);
    let mut deadlines = Deadlines::new(server.cache.clock(), &place);
    // In a set, which polls it only once it was woken: the token takes a lock at each poll.
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
        let answer = whole(server.dialect.problem(Target::Unknown, &problem));
        let mut socket = connection.into_parts().io.into_inner().into_socket();
        // A peer whose socket does not take the answer at once has not read earlier ones.
        let write = |cx: &mut Context<'_>| Pin::new(&mut socket).poll_write(cx, &answer);
        if poll_once(write).await.is_ready() {
            let _ = socket.shutdown().await;
        }
    }
}

/// Polls once, and does not wait.
async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}

async fn answer(
    server: &Server,
    place: &Place,
    door: Door,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let response = server.handle(door, place, &head, body).await;
    place.answered();
    Ok(response)
}

/// Counts a reader's connection for as long as it is open, however it ends.
struct Open<'a>(&'a Server);

impl<'a> Open<'a> {
    fn count(server: &'a Server) -> Self {
        server.metrics.connections.inc();
        Self(server)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer closed it, or it was stopped.
    Closed,
    /// A head was not complete in time.
    HeadTooSlow,
    /// Nothing was asked for too long, or nothing with a good token.
    Idle,
}

/// The deadlines of a connection. A request that arrives whole on a kept one costs no timer.
struct Deadlines<'a> {
    clock: &'a dyn Clock,
    place: &'a Place,
    /// By when the connection has to be a kept one.
    waiting: Option<Sleep>,
    head: Option<Sleep>,
    tick: Sleep,
    idle_ticks: u32,
    /// The last event at the last tick.
    event: u64,
}

impl<'a> Deadlines<'a> {
    fn new(clock: &'a dyn Clock, place: &'a Place) -> Self {
        let waiting = Some(clock.sleep(WAITING_TIME_MAX));
        let (tick, event) = (clock.sleep(IDLE_TICK), place.exchange().last_event());
        Self { clock, place, waiting, head: None, tick, idle_ticks: 0, event }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let exchange = self.place.exchange();
        if let Some(waiting) = &mut self.waiting {
            if self.place.is_kept() {
                self.waiting = None;
            } else if waiting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Idle);
            }
        }
        if !exchange.is_head_begun() {
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
            let was_idle = before == self.event && !exchange.is_in_flight();
            self.idle_ticks = if was_idle { self.idle_ticks + 1 } else { 0 };
            if self.idle_ticks >= IDLE_TICKS_MAX {
                return Poll::Ready(End::Idle);
            }
        }
        Poll::Pending
    }
}

/// Returns what a status that hyper answers with by itself stands for.
fn unreadable(status: &[u8]) -> Option<Problem> {
    match status {
        b"431" => Some(Problem::HeadTooLarge(HEAD_BYTES_MAX)),
        b"414" => Some(Problem::TargetTooLong),
        b"400" => Some(Problem::HeadUnreadable),
        _ => None,
    }
}

/// Writes an answer as the bytes of a connection's last one.
fn whole(response: Response) -> Vec<u8> {
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
