//! Serves one connection: its requests one after the other, its deadlines, its end.

use super::gate::Door;
use super::problem::Problem;
use super::request::Target;
use super::wire::{Exchange, Wire};
use super::{Response, Server};
use crate::clock::{Clock, Sleep};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The largest head of a request. A session token takes up to 4 KiB of it.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The most header lines in one head.
pub const HEADERS_MAX: usize = 64;

/// The most time from the first byte of a head to its last.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// How often a connection is asked whether it is idle.
const IDLE_TICK: Duration = Duration::from_secs(60);

/// After how many ticks in a row without a request a connection is closed. Ticks are counted, not
/// time: through a freeze one tick passes, so that a function that thaws finds its connection open.
const IDLE_TICKS_MAX: u32 = 15;

/// Serves `socket` until its peer goes, it has been idle for too long, or `stop` is cancelled and
/// the request in hand is answered. `places` has a permit for each connection within the limit.
pub(super) async fn serve<S>(
    server: Arc<Server>,
    places: Arc<Semaphore>,
    door: Door,
    socket: S,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = (door != Door::Probes).then(|| Open::count(&server));
    let exchange = Arc::new(Exchange::default());
    let place = Place { places, taken: OnceLock::new() };
    let service = service_fn(|request: Request<Incoming>| {
        exchange.begin();
        answer(&server, &exchange, &place, door, request)
    });
    let dialect = server.dialect;
    let replace = Box::new(move |status: &[u8]| {
        Some(whole(dialect.problem(Target::Unknown, &unreadable(status)?)))
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        // Its clock would run while a kept connection waits for its next request.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(Wire::new(socket, exchange.clone(), replace)), service);
    let mut deadlines = Deadlines::new(server.cache.clock(), &exchange);
    let mut stopped = pin!(stop.cancelled());
    let mut is_stopping = false;
    let end = poll_fn(|cx| {
        if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
            is_stopping = true;
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
        // The peer may be gone: there is nobody left to tell.
        if socket.write_all(&answer).await.is_ok() {
            let _ = socket.shutdown().await;
        }
    }
}

async fn answer(
    server: &Server,
    exchange: &Exchange,
    place: &Place,
    door: Door,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let has_place = place.take();
    let mut response = server.handle(door, has_place, &head, body).await;
    if !has_place {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.end();
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

/// A connection's place within the limit, taken by its first request and kept.
#[derive(Debug)]
struct Place {
    places: Arc<Semaphore>,
    taken: OnceLock<OwnedSemaphorePermit>,
}

impl Place {
    /// Returns whether the connection has a place, taking a free one.
    fn take(&self) -> bool {
        self.taken.get().is_some()
            || self
                .places
                .clone()
                .try_acquire_owned()
                .is_ok_and(|place| self.taken.set(place).is_ok())
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer closed it, or it was stopped.
    Closed,
    /// A head was not complete in time.
    HeadTooSlow,
    /// Nothing was asked for too long.
    Idle,
}

/// The deadlines of a connection. A request that arrives whole costs no timer.
struct Deadlines<'a> {
    clock: &'a dyn Clock,
    exchange: &'a Exchange,
    /// By when the peer has to say something: a silent one would keep others out.
    first: Option<Sleep>,
    head: Option<Sleep>,
    tick: Sleep,
    idle_ticks: u32,
}

impl<'a> Deadlines<'a> {
    fn new(clock: &'a dyn Clock, exchange: &'a Exchange) -> Self {
        let first = Some(clock.sleep(HEAD_TIME_MAX));
        Self { clock, exchange, first, head: None, tick: clock.sleep(IDLE_TICK), idle_ticks: 0 }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.exchange.has_spoken() {
            self.first = None;
        } else if self.first.as_mut().is_some_and(|first| first.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(End::Idle);
        }
        if !self.exchange.is_head_begun() {
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
            self.idle_ticks = if self.exchange.was_idle() { self.idle_ticks + 1 } else { 0 };
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
mod tests {
    use super::*;
    use crate::cache::{self, Cache};
    use crate::clock::VirtualClock;
    use crate::convention::Conventions;
    use crate::message::paths::Paths;
    use crate::message::tenant::Tie;
    use crate::secret::scope::{Home, Scope};
    use crate::server::dialect::Dialect;
    use crate::server::in_hand::InHand;
    use crate::server::renewal::Renewal;
    use crate::server::resolving;
    use crate::source::Misconfigured;
    use crate::telemetry::limited::Limited;
    use crate::telemetry::metrics::Metrics;
    use crate::tokens::Tokens;
    use std::sync::atomic::AtomicBool;
    use std::time::SystemTime;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio_util::task::TaskTracker;

    const PING: &[u8] = b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// A connection in virtual time, and what its peer holds.
    struct Peer {
        socket: DuplexStream,
        clock: Arc<VirtualClock>,
        stop: CancellationToken,
        served: tokio::task::JoinHandle<()>,
    }

    fn connect(places: usize) -> Peer {
        connect_by(places, 256 * 1024)
    }

    /// Connects by a socket that holds so many bytes until they are read.
    fn connect_by(places: usize, bytes: usize) -> Peer {
        let clock = Arc::new(VirtualClock::starting_at(SystemTime::UNIX_EPOCH));
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let config = cache::Config {
            policies: cache::policies::Policies::default(),
            reader_wait: Duration::from_secs(5),
            entries_max: 1,
            bytes_max: usize::MAX,
            calls_max: 1,
            listed: Vec::new(),
            scope: Scope::default(),
            conventions: Arc::new(Conventions::default()),
            is_strict: false,
            is_snapshot: false,
            seed: Some(7),
        };
        let cache = Cache::new(
            config,
            Home { region: "eu-north-1".into(), account: None },
            Arc::new(Misconfigured::new("none")),
            clock.clone(),
            metrics.clone(),
            TaskTracker::new(),
            stop.clone(),
        );
        let server = Arc::new(Server {
            dialect: Dialect::Agent,
            cache,
            resolving: resolving::Config {
                paths: Paths::parse(["id"]).expect("a good path"),
                tie: Tie::default(),
            },
            in_hand: InHand::default(),
            tokens: Arc::new(Tokens::new(Vec::new())),
            renewal: Renewal::new(None),
            metrics,
            is_settled: AtomicBool::new(true),
            is_misconfigured: false,
            refusals_logged: Limited::default(),
            stop: stop.clone(),
        });
        let (socket, other) = duplex(bytes);
        let places = Arc::new(Semaphore::new(places));
        let served = tokio::spawn(serve(server, places, Door::Loopback, other, stop.clone()));
        Peer { socket, clock, stop, served }
    }

    impl Peer {
        async fn send(&mut self, bytes: &[u8]) {
            self.socket.write_all(bytes).await.expect("the connection is open");
        }

        /// Reads an answer up to the end of `body`.
        async fn answer(&mut self, body: &str) -> String {
            let mut answer = Vec::new();
            while !answer.ends_with(body.as_bytes()) {
                let read = self.socket.read_buf(&mut answer).await.expect("the connection is open");
                assert!(read > 0, "closed after {}", String::from_utf8_lossy(&answer));
            }
            String::from_utf8(answer).expect("text")
        }

        /// Reads all that comes until the connection is closed.
        async fn rest(mut self) -> String {
            let mut answer = String::new();
            self.socket.read_to_string(&mut answer).await.expect("text");
            self.served.await.expect("no panic");
            answer
        }

        fn is_open(&self) -> bool {
            !self.served.is_finished()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_too_slow_is_told_so_and_cut() {
        let mut peer = connect(1);
        peer.send(&PING[..20]).await;
        peer.clock.sleep(HEAD_TIME_MAX - Duration::from_millis(1)).await;
        assert!(peer.is_open());
        let answer = peer.rest().await;
        assert!(
            answer.starts_with("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"),
            "{answer}"
        );
        assert!(answer.contains("{\"__type\":\"BadRequestException\""), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_cut_without_a_word() {
        let peer = connect(1);
        peer.clock.sleep(HEAD_TIME_MAX - Duration::from_millis(1)).await;
        assert!(peer.is_open());
        assert_eq!(peer.rest().await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_in_two_parts_within_the_time_is_served() {
        let mut peer = connect(1);
        for _ in 0..2 {
            peer.send(&PING[..20]).await;
            peer.clock.sleep(HEAD_TIME_MAX - Duration::from_millis(1)).await;
            peer.send(&PING[20..]).await;
            assert!(peer.answer("healthy").await.starts_with("HTTP/1.1 200"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_cannot_be_read_gets_a_body_that_says_why() {
        let large = format!("GET /ping HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
        let many = format!("GET /ping HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(HEADERS_MAX + 1));
        for (head, status) in [
            (&*large, "431"),
            (&*many, "431"),
            ("nonsense\r\n\r\n", "400"),
            ("GET / HTTP/9\r\n\r\n", "400"),
        ] {
            let mut peer = connect(1);
            peer.send(head.as_bytes()).await;
            let answer = peer.rest().await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("\r\n\r\n{\"__type\":\"BadRequestException\""), "{answer}");
        }
    }

    /// A peer may send the next request while it has not read the last answer: the time that it takes
    /// over that is not the head's.
    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_once_the_answer_before_it_is_read() {
        let mut peer = connect_by(1, 1024);
        peer.send(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        tokio::task::yield_now().await;
        peer.send(&PING[..20]).await;
        peer.clock.sleep(HEAD_TIME_MAX * 3).await;
        assert!(peer.is_open());
        let answers = peer.rest().await;
        let (head, body) = answers.split_once("\r\n\r\n").expect("a head");
        let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        assert!(head.starts_with("HTTP/1.1 200") && length > 1024, "{head}");
        assert!(body[length..].starts_with("HTTP/1.1 408"), "{body}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_after_its_ticks_and_a_used_one_never() {
        let mut peer = connect(1);
        for _ in 0..3 * IDLE_TICKS_MAX {
            peer.send(PING).await;
            peer.answer("healthy").await;
            peer.clock.sleep(IDLE_TICK).await;
        }
        peer.clock.sleep(IDLE_TICK * (IDLE_TICKS_MAX - 2)).await;
        assert!(peer.is_open());
        peer.clock.sleep(IDLE_TICK * 3).await;
        assert_eq!(peer.rest().await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_freeze_of_hours_passes_as_one_tick() {
        let mut peer = connect(1);
        peer.send(PING).await;
        peer.answer("healthy").await;
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(24 * 3600)).await;
            tokio::task::yield_now().await;
        }
        peer.send(PING).await;
        assert!(peer.answer("healthy").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_one_is_told_so_and_liveness_is_still_answered() {
        let mut peer = connect(0);
        peer.send(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let answer = peer.rest().await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(answer.ends_with("Connection limit exceeded"), "{answer}");
        let mut peer = connect(0);
        peer.send(PING).await;
        assert!(peer.answer("healthy").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_closes_an_idle_connection() {
        let mut peer = connect(1);
        peer.send(PING).await;
        peer.answer("healthy").await;
        peer.stop.cancel();
        assert_eq!(peer.rest().await, "");
    }
}
