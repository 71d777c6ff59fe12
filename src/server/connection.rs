//! Serves one connection of a client: answers its HTTP requests one after the other, and closes the
//! connection if a time limit has passed.

use super::calls::is_call;
use super::connection_end::{End, HEAD_BYTES_MAX, HEADERS_MAX, last_answer, problem_of_large_head};
use super::connection_slots::ConnectionSlot;
use super::deadlines::{Deadlines, HEAD_TIME_MAX};
use super::direct::{DirectReads, Left};
use super::gate::{BAD_HEAD, ListenerKind};
use super::handler::Server;
use super::head::Head;
use super::operation::Operation;
use super::problem::Problem;
use super::request::Target;
use super::response::Response;
use super::streamed::observed;
use super::wire::Wire;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::mem::replace;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// The number of headers that hyper (the HTTP library) can parse without an allocation. Almost all
/// requests have fewer headers.
const HEADERS_WITHOUT_ALLOCATION: usize = 100;

/// Whether hyper (the HTTP library) answers all requests of a connection, or Sidekey's own code
/// answers reads of cached secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ways {
    /// Sidekey's own code ([`DirectReads`]) answers reads of cached secrets, and hyper (the HTTP
    /// library) answers all other requests.
    DirectAndHyper,
    /// hyper (the HTTP library) answers all requests. Tests compare this with the other variant.
    #[cfg(test)]
    HyperOnly,
}

/// Serves a connection until the client closes it, a time limit passes, or an answer contains
/// `Connection: close`. If the agent stops, the connection ends after the answer to its current
/// request.
pub(super) async fn serve<S>(
    server: Arc<Server>,
    listener: ListenerKind,
    socket: S,
    slot: ConnectionSlot,
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
        has_seen_stop: false,
        is_woken_by_stop: false,
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
        // hyper's state is boxed because it is large, and most connections never need hyper.
        let by_hyper = Box::pin(serving.answer_by_hyper(socket, unread, headers_max)).await;
        (socket, unread) = (by_hyper.socket, by_hyper.unread);
        break match by_hyper.end {
            End::Closed | End::Idle => return,
            End::ReadAnswered => continue,
            End::HeadTooSlow => Problem::HeadTooSlow(HEAD_TIME_MAX),
            // hyper has sent an answer to the client, or the client is gone.
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
    server.context.metrics.gate_refused(BAD_HEAD);
    let answer = last_answer(server.context.dialect.problem(Target::Unknown, &problem));
    // One attempt to write the answer is enough. If the socket does not accept the answer at once,
    // the client has not even read the earlier answers.
    if poll_once(|cx| Pin::new(&mut socket).poll_write(cx, &answer)).await.is_ready() {
        let _ = socket.shutdown().await;
    }
}

struct Serving<'a> {
    server: &'a Server,
    listener: ListenerKind,
    slot: &'a ConnectionSlot,
    ways: Ways,
    /// The sequence number of the moment at which the connection was accepted. The agent numbers
    /// the acceptances and answers of all connections together.
    accepted: u64,
    deadlines: Deadlines<'a>,
    /// Whether the task of this connection has noticed that the agent stops.
    has_seen_stop: bool,
    /// Whether the agent wakes the task of this connection when it stops.
    is_woken_by_stop: bool,
}

struct ByHyper<S> {
    socket: S,
    /// The bytes of the client that hyper (the HTTP library) has received but not parsed.
    unread: Bytes,
    end: End,
    /// Whether hyper (the HTTP library) answered an invalid request, and Sidekey did not send this
    /// answer.
    has_hidden_answer: bool,
}

impl Serving<'_> {
    /// Answers reads of cached secrets without hyper (the HTTP library), until the connection ends
    /// or a request needs hyper.
    async fn answer_directly<S>(&mut self, direct: &mut DirectReads<'_>, socket: &mut S) -> Left
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        poll_fn(|cx| {
            if self.sees_stop() && direct.stop() {
                // A client that connected before the stop may still send one request.
                let to_hyper = Left::ToHyper(Bytes::new());
                return Poll::Ready(if self.has_answered() { Left::Closed } else { to_hyper });
            }
            match direct.poll(socket, cx) {
                Poll::Pending => self.poll_end(cx).map(|_| Left::Closed),
                left => left,
            }
        })
        .await
    }

    /// Lets hyper (the HTTP library) answer requests, until the connection ends or Sidekey may
    /// answer the next request without hyper. `unread` contains the bytes that were already read
    /// from the socket.
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
        // Whether hyper has parsed a request, and whether hyper has answered a read.
        let (has_request, has_read) = (AtomicBool::new(false), AtomicBool::new(false));
        let service = service_fn(|request: Request<Incoming>| {
            slot.exchange().note_request();
            has_request.store(true, Ordering::Relaxed);
            has_read.store(false, Ordering::Relaxed);
            let is_read = ways == Ways::DirectAndHyper && is_read(&request);
            let has_read = &has_read;
            async move {
                let (response, has_complete_body) = answer(server, slot, listener, request).await;
                has_read.store(is_read && has_complete_body, Ordering::Relaxed);
                Ok::<_, Infallible>(response)
            }
        });
        let wire = Wire::new(socket, unread, slot.exchange().clone());
        let mut connection = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(headers_max)
            // hyper's own timeout is not used, because it would also run while an open connection
            // waits for its next request.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(wire), &service);
        if self.slot.is_stopping() {
            Pin::new(&mut connection).graceful_shutdown();
        }
        let end = poll_fn(|cx| {
            if self.sees_stop() {
                if self.has_answered() && !has_request.load(Ordering::Relaxed) {
                    return Poll::Ready(End::Closed);
                }
                Pin::new(&mut connection).graceful_shutdown();
            }
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(result) => Poll::Ready(End::of(result)),
                Poll::Pending if has_read.load(Ordering::Relaxed) && !slot.exchange().is_busy() => {
                    Poll::Ready(End::ReadAnswered)
                }
                Poll::Pending => self.poll_end(cx),
            }
        })
        .await;
        let Parts { io, read_buf, .. } = connection.into_parts();
        let wire = io.into_inner();
        let has_hidden_answer = wire.has_hidden_answer();
        ByHyper { socket: wire.into_socket(), unread: read_buf, end, has_hidden_answer }
    }

    /// Returns `true` if the agent stops, but only at the first call after the stop.
    fn sees_stop(&mut self) -> bool {
        let had_seen_stop = replace(&mut self.has_seen_stop, self.slot.is_stopping());
        self.has_seen_stop && !had_seen_stop
    }

    /// Returns why the connection ends if one of its time limits has passed. Otherwise the task is
    /// woken at the next time limit, or when the agent stops.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !replace(&mut self.is_woken_by_stop, true) {
            // The connection has a task of its own, so that its waker never changes.
            self.slot.wake_on_stop(cx.waker());
        }
        self.deadlines.poll(cx)
    }

    fn has_answered(&self) -> bool {
        self.slot.exchange().last_event() != self.accepted
    }
}

/// Calls `poll` once, and does not wait if the result is not ready.
async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}

/// Returns whether a request is a read of a secret that Sidekey answers without hyper (the HTTP
/// library) if the secret is cached.
fn is_read(request: &Request<Incoming>) -> bool {
    let target = Target::of(request.method(), request.uri().path(), request.headers());
    match target {
        Target::AwsApi(_) => {
            Operation::of(request.headers()).is_ok_and(Operation::is_read_of_one_secret)
        }
        _ => target.is_read_of_one_secret() && *request.method() == Method::GET,
    }
}

/// Answers a request. Also returns whether the request's body was read completely. If not, hyper
/// (the HTTP library) must read the rest or close the connection.
async fn answer(
    server: &Server,
    slot: &ConnectionSlot,
    listener: ListenerKind,
    request: Request<Incoming>,
) -> (Response, bool) {
    let (head, mut body) = request.into_parts();
    if is_call(listener, head.uri.path()) {
        // The future of a call is large, and most connections make no calls.
        let response = Box::pin(server.call(listener, slot, &head, body)).await;
        let response = observed(response, slot.exchange());
        slot.note_answered();
        return (response, false);
    }
    let response = server.handle(listener, slot, &Head::of(&head), &mut body).await;
    let response = observed(response, slot.exchange());
    slot.note_answered();
    (response, body.is_end_stream())
}

/// Counts one open connection in the metrics until this value is dropped, even if the connection's
/// task was cancelled.
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

#[cfg(test)]
mod differential_tests;
#[cfg(test)]
pub(super) mod tests;
