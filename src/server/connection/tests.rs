//! Tests of connections in simulated time: of their time limits, of their last answers, and with
//! random input.

use super::*;
use crate::broker::route::Routes;
use crate::cache;
use crate::clock::{Clock, VirtualClock};
use crate::convention::Conventions;
use crate::message::paths::Paths;
use crate::message::tenant::TenantCheck;
use crate::outbound::{IdlePolicy, Outbound, Trust};
use crate::secret::key::Key;
use crate::secret::role_rules::RoleRules;
use crate::secret::scope::{Home, Scope};
use crate::secret::version::Version;
use crate::server::body::{BODY_TIME_MAX, DRAIN_TIME_MAX};
use crate::server::calls::{self, Calls};
use crate::server::connection_slots::ConnectionSlots;
use crate::server::context::Context as ServerContext;
use crate::server::deadlines::{IDLE_TICK, IDLE_TICKS_MAX, UNTRUSTED_TIME_MAX};
use crate::server::dialect::Dialect;
use crate::server::memory_budget::MemoryBudget;
use crate::server::renewal::Renewal;
use crate::server::resolving;
use crate::source::misconfigured::Misconfigured;
use crate::source::{BatchResult, FetchFuture, Source};
use crate::telemetry::log_limiter::LogLimiter;
use crate::telemetry::metrics::Metrics;
use crate::tokens::{Token, Tokens};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const PING: &[u8] = b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n";

const TRUSTED_PING: &[u8] = b"GET /ping HTTP/1.1\r\nhost: localhost\r\nx-vault-token: good\r\n\r\n";

/// A request for `/ping` with `connection: close`, which makes the server close the connection.
const LAST_PING: &[u8] = b"GET /ping HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

const TRUSTED_METRICS: &[u8] =
    b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-vault-token: good\r\n\r\n";

/// The number of bytes that a test connection can buffer in each direction. All answers are
/// smaller.
const SOCKET_BYTES: usize = 256 * 1024;

const MOMENT: Duration = Duration::from_millis(1);

/// A server in simulated time. Its connections are pipes in memory instead of sockets.
pub(in crate::server) struct TestServer {
    pub(in crate::server) server: Arc<Server>,
    slots: Arc<ConnectionSlots>,
    tasks: TaskTracker,
    clock: Arc<VirtualClock>,
}

struct Peer {
    socket: DuplexStream,
    clock: Arc<VirtualClock>,
    slots: Arc<ConnectionSlots>,
    served: tokio::task::JoinHandle<()>,
}

impl TestServer {
    /// Creates a server that allows `trusted_max` open connections that have sent a valid token.
    pub(in crate::server) fn new(trusted_max: usize) -> Self {
        let clock = Arc::new(VirtualClock::starting_at(SystemTime::UNIX_EPOCH));
        Self::with_source(trusted_max, Arc::new(Misconfigured::new("none")), clock)
    }

    /// Creates a server like [`new`](Self::new), but it fetches secrets from `source`.
    pub(super) fn with_source(
        trusted_max: usize,
        source: Arc<dyn Source>,
        clock: Arc<VirtualClock>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let config = cache::Config {
            policies: cache::policies::Policies::default(),
            reader_wait: Duration::from_secs(5),
            entries_max: 8,
            bytes_max: usize::MAX,
            calls_max: 1,
            listed: Vec::new(),
            discovery: cache::discovery::Config::default(),
            scope: Scope::default(),
            conventions: Arc::new(Conventions::built_in()),
            is_strict: false,
            use_only: None,
            is_snapshot: false,
            seed: Some(7),
        };
        let tasks = TaskTracker::new();
        let (cache, _) = cache::open(
            config,
            Home { region: "eu-north-1".into(), account: None },
            source,
            clock.clone(),
            metrics.clone(),
            tasks.clone(),
            stop.clone(),
        );
        let server = Arc::new(Server {
            context: ServerContext {
                dialect: Dialect::Agent,
                cache,
                role_rules: RoleRules::default(),
                metrics,
                is_settled: AtomicBool::new(true),
                is_misconfigured: false,
                is_stopping: AtomicBool::new(false),
                refusals_logged: LogLimiter::default(),
                stop,
            },
            tokens: Arc::new(Tokens::new(vec![
                Token::new("good".to_owned()).expect("the token must not be empty"),
            ])),
            renewal: Renewal::new(None),
            resolving: resolving::Config {
                paths: Paths::parse(["id"]).expect("the path must be valid"),
                tenant_check: TenantCheck::default(),
            },
            memory: MemoryBudget::default(),
            calls: Calls {
                config: calls::Config { routes: Routes::default(), conventions: Arc::default() },
                outbound: Arc::new(Outbound::new(
                    Trust::default(),
                    Vec::new(),
                    IdlePolicy::Close,
                    clock.clone(),
                )),
                kept: Arc::default(),
                address: None,
            },
        });
        Self { server, slots: ConnectionSlots::new(8, trusted_max), tasks, clock }
    }

    fn connect(&self) -> Peer {
        self.connect_buffered(SOCKET_BYTES)
    }

    /// Opens a connection that buffers at most `bytes` bytes in each direction.
    fn connect_buffered(&self, bytes: usize) -> Peer {
        let (socket, other) = duplex(bytes);
        let served = self.serve(other, &self.slots, Ways::DirectAndHyper);
        Peer { socket, clock: self.clock.clone(), slots: self.slots.clone(), served }
    }

    /// Serves a socket in a new task, as the agent serves an accepted socket.
    pub(super) fn serve<S>(
        &self,
        socket: S,
        slots: &Arc<ConnectionSlots>,
        ways: Ways,
    ) -> tokio::task::JoinHandle<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = self.server.clone();
        slots.admit(&self.tasks, |slot| serve(server, ListenerKind::Loopback, socket, slot, ways))
    }
}

fn connect(trusted_max: usize) -> Peer {
    TestServer::new(trusted_max).connect()
}

impl Peer {
    async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("the connection must be open");
    }

    /// Reads from the connection until an answer ends with `body`, and returns this answer.
    async fn answer(&mut self, body: &str) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(body.as_bytes()) {
            let read =
                self.socket.read_buf(&mut answer).await.expect("the connection must be open");
            assert!(
                read > 0,
                "the server must not close the connection before the response is complete: {}",
                String::from_utf8_lossy(&answer)
            );
        }
        String::from_utf8(answer).expect("the answers must be UTF-8")
    }

    /// Reads until the server closes the connection, and checks that the connection's task did not
    /// panic.
    async fn rest(mut self) -> String {
        let mut answer = String::new();
        self.socket.read_to_string(&mut answer).await.expect("the answers must be UTF-8");
        // The task is cancelled if the server closes the connection to make room for another
        // connection.
        let is_sound = self.served.await.map_or_else(|error| error.is_cancelled(), |()| true);
        assert!(is_sound, "the server's task for the connection must not panic");
        answer
    }

    async fn ping(&mut self) {
        self.send(TRUSTED_PING).await;
        assert!(self.answer("healthy").await.starts_with("HTTP/1.1 200"));
    }

    fn is_open(&self) -> bool {
        !self.served.is_finished()
    }
}

#[tokio::test(start_paused = true)]
async fn slow_head_gets_error_and_connection_closes() {
    let mut peer = connect(1);
    peer.send(&PING[..20]).await;
    peer.clock.sleep(HEAD_TIME_MAX - MOMENT).await;
    assert!(peer.is_open());
    let answer = peer.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"),
        "{answer}"
    );
    assert!(answer.contains("{\"__type\":\"BadRequestException\""), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn silent_connection_closes_without_answer() {
    let peer = connect(1);
    peer.clock.sleep(UNTRUSTED_TIME_MAX - MOMENT).await;
    assert!(peer.is_open());
    let (clock, started) = (peer.clock.clone(), peer.clock.now());
    assert_eq!(peer.rest().await, "");
    assert_eq!(clock.now().since(started), Some(MOMENT));
}

#[tokio::test(start_paused = true)]
async fn head_in_two_parts_within_deadline_is_served() {
    let mut peer = connect(1);
    for _ in 0..2 {
        peer.send(&TRUSTED_PING[..20]).await;
        peer.clock.sleep(HEAD_TIME_MAX - MOMENT).await;
        peer.send(&TRUSTED_PING[20..]).await;
        assert!(peer.answer("healthy").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test(start_paused = true)]
async fn unreadable_head_gets_error_with_body() {
    let large = format!("GET /ping HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    let many = with_headers(HEADERS_MAX + 1, "y");
    let many_and_large = with_headers(HEADERS_MAX + 1, &"y".repeat(1024));
    let too_large = "the request line and headers are larger than 32768 bytes";
    let too_many = "the request has more than 128 headers";
    for (head, status, message) in [
        (&*large, "431", too_large),
        (&*many, "431", too_many),
        (&*many_and_large, "431", too_large),
        ("nonsense\r\n\r\n", "400", "is not valid HTTP/1.1"),
        ("GET / HTTP/9\r\n\r\n", "400", "is not valid HTTP/1.1"),
    ] {
        let mut peer = connect(1);
        peer.send(head.as_bytes()).await;
        let answer = peer.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\n\r\n{\"__type\":\"BadRequestException\""), "{answer}");
        assert!(answer.contains(message) && answer.matches("HTTP/1.1").count() <= 2, "{answer}");
    }
}

/// Returns an HTTP request with `number` headers. One header contains the token. Each of the other
/// headers has the value `value`.
fn with_headers(number: usize, value: &str) -> String {
    let headers = format!("x: {value}\r\n").repeat(number - 1);
    format!("GET /ping HTTP/1.1\r\n{headers}x-vault-token: good\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn request_with_many_headers_is_served() {
    for number in [64, 65, HEADERS_WITHOUT_ALLOCATION + 1, HEADERS_MAX] {
        for is_split in [false, true] {
            let mut peer = connect(1);
            let request = with_headers(number, "y");
            let (first, second) = request.split_at(if is_split { request.len() - 10 } else { 0 });
            peer.send(first.as_bytes()).await;
            peer.clock.sleep(MOMENT).await;
            peer.send(second.as_bytes()).await;
            assert!(peer.answer("healthy").await.starts_with("HTTP/1.1 200"), "{number}");
            peer.ping().await;
            peer.slots.stop();
            assert_eq!(peer.rest().await, "");
        }
    }
}

/// Test: several requests with few and with many headers arrive together, and their answers keep
/// the order of the requests.
#[tokio::test(start_paused = true)]
async fn pipelined_requests_with_many_headers_are_served_in_order() {
    let mut peer = connect(1);
    let many = with_headers(HEADERS_MAX, "y");
    let ping = str::from_utf8(TRUSTED_PING).expect("the request must be UTF-8");
    let large = format!("GET /ping HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    peer.send(format!("{ping}{many}{ping}{large}").as_bytes()).await;
    let answers = peer.rest().await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3, "{answers}");
    assert!(answers.contains("HTTP/1.1 431") && answers.contains("larger than"), "{answers}");
}

/// Test: a client that closes its sending direction after its request still gets its answer. Then
/// the server closes the connection.
#[tokio::test(start_paused = true)]
async fn half_closed_client_gets_its_answer() {
    let post = "POST /restore HTTP/1.1\r\nhost: localhost\r\nx-vault-token: good\r\n";
    let sized = format!("{post}content-length: 2\r\n\r\n{{}}");
    let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    let metrics = str::from_utf8(TRUSTED_METRICS).expect("the request must be UTF-8");
    for (request, status) in
        [(metrics, "200 OK"), (&*sized, "204 No Content"), (&chunked, "204 No Content")]
    {
        // The buffer is smaller than the answer, so the server is still writing when the client
        // closes its sending direction.
        let mut peer = TestServer::new(1).connect_buffered(256);
        let (clock, started) = (peer.clock.clone(), peer.clock.now());
        peer.send(request.as_bytes()).await;
        peer.socket.shutdown().await.expect("the connection must be open");
        let answer = peer.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .expect("the response must have an empty line after its headers");
        let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
        let length =
            length.map_or(0, |length| length.parse().expect("the length must be a number"));
        assert_eq!(body.len(), length);
        assert_eq!(clock.now().since(started), Some(Duration::ZERO), "{request}");
    }
}

/// A simulated source of secrets that never answers a read.
#[derive(Debug)]
struct Silent;

impl Source for Silent {
    fn deadline(&self, _key: &Key) -> Duration {
        Duration::from_secs(60)
    }

    fn fetch<'a>(&'a self, _: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(std::future::pending())
    }

    fn fetch_batch<'a>(&'a self, _: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>> {
        Box::pin(std::future::pending())
    }
}

/// Test: while AWS does not answer, a client gives up and closes its connection. Another client
/// then gets the slot of this connection at once.
#[tokio::test(start_paused = true)]
async fn connection_of_client_that_gave_up_is_closed_for_another() {
    let served = TestServer::with_source(
        1,
        Arc::new(Silent),
        Arc::new(VirtualClock::starting_at(SystemTime::UNIX_EPOCH)),
    );
    let mut gone = served.connect();
    gone.send(asking("/secretsmanager/get?secretId=x", "x-vault-token: good\r\n").as_bytes()).await;
    gone.clock.sleep(MOMENT).await;
    let mut refused = served.connect();
    refused.send(TRUSTED_METRICS).await;
    assert!(
        refused.rest().await.starts_with("HTTP/1.1 429"),
        "the server must not close the connection of a client that waits for an answer"
    );
    gone.socket.shutdown().await.expect("the connection must be open");
    gone.clock.sleep(MOMENT).await;
    assert!(
        gone.is_open(),
        "a client that has closed its sending direction must still get its answer"
    );
    let mut next = served.connect();
    next.send(TRUSTED_METRICS).await;
    assert!(next.answer("\n").await.starts_with("HTTP/1.1 200"));
    assert_eq!(gone.rest().await, "");
}

/// Test: a long poll (a request that waits until a secret changes) ends as soon as its client
/// closes the connection.
#[tokio::test(start_paused = true)]
async fn long_poll_ends_when_its_client_closes() {
    for pause in [Duration::ZERO, MOMENT] {
        let served = TestServer::with_source(
            1,
            Arc::new(Silent),
            Arc::new(VirtualClock::starting_at(SystemTime::UNIX_EPOCH)),
        );
        let mut peer = served.connect();
        let long_poll = "/secretsmanager/get?secretId=x&wait=20";
        peer.send(asking(long_poll, "x-vault-token: good\r\n").as_bytes()).await;
        peer.clock.sleep(pause).await;
        let (clock, closed) = (peer.clock.clone(), peer.clock.now());
        peer.socket.shutdown().await.expect("the connection must be open");
        assert_eq!(peer.rest().await, "");
        assert_eq!(clock.now().since(closed), Some(Duration::ZERO), "{pause:?}");
    }
}

/// Test: a client closes its sending direction in the middle of a body, and gets an error when the
/// time limit for bodies has passed.
#[tokio::test(start_paused = true)]
async fn half_closed_client_with_half_a_body_gets_an_error() {
    let mut peer = connect(1);
    let (clock, started) = (peer.clock.clone(), peer.clock.now());
    let head = "POST /resolve HTTP/1.1\r\nhost: localhost\r\nx-vault-token: good\r\n";
    peer.send(format!("{head}content-length: 99\r\n\r\n{{").as_bytes()).await;
    peer.socket.shutdown().await.expect("the connection must be open");
    assert!(peer.rest().await.contains("the request's body was not complete within 5s"));
    let took = clock.now().since(started).expect("the clock must not run backwards");
    assert!(took <= BODY_TIME_MAX + DRAIN_TIME_MAX, "{took:?}");
}

/// Test: a client sends a part of its next request before it reads the last answer. The time limit
/// for the next request starts only when the client has read this answer.
#[tokio::test(start_paused = true)]
async fn deadline_of_head_starts_after_previous_answer_is_read() {
    let mut peer = TestServer::new(1).connect_buffered(1024);
    peer.send(TRUSTED_METRICS).await;
    tokio::task::yield_now().await;
    peer.send(&PING[..20]).await;
    peer.clock.sleep(HEAD_TIME_MAX * 3).await;
    assert!(peer.is_open());
    let answers = peer.rest().await;
    let (head, body) = answers
        .split_once("\r\n\r\n")
        .expect("the response must have an empty line after its headers");
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
    let length: usize = length
        .and_then(|length| length.parse().ok())
        .expect("the response must have a `content-length` header");
    assert!(head.starts_with("HTTP/1.1 200") && length > 1024, "{head}");
    assert!(body[length..].starts_with("HTTP/1.1 408"), "{body}");
}

/// Returns a request with an SQS event of 3,000 messages. Each message gets an error, so Sidekey
/// sends the answer in several pieces.
fn streamed_request() -> String {
    let record = |id: usize| format!(r#"{{"messageId":"{id}","body":"{{\"id\":\"app\"}}"}}"#);
    let records: Vec<String> = (0..3000).map(record).collect();
    let event = format!(r#"{{"Records":[{}]}}"#, records.join(","));
    let head = "POST /resolve HTTP/1.1\r\nhost: localhost\r\nx-vault-token: good\r\n";
    format!("{head}content-length: {}\r\n\r\n{event}", event.len())
}

/// Test: a part of the next request arrives while Sidekey sends an answer in pieces. The time limit
/// for the next request starts only when the client has read the complete answer.
#[tokio::test(start_paused = true)]
async fn deadline_of_head_starts_after_streamed_answer_is_read() {
    let mut peer = TestServer::new(1).connect_buffered(64 * 1024);
    peer.send(format!("{}GET /pi", streamed_request()).as_bytes()).await;
    let (clock, started) = (peer.clock.clone(), peer.clock.now());
    let mut answers = Vec::new();
    while !answers.windows(12).any(|part| part == b"HTTP/1.1 408") {
        clock.sleep(HEAD_TIME_MAX / 2).await;
        let mut part = vec![0; 32 * 1024];
        let read = peer.socket.read(&mut part).await.expect("the connection must be open");
        assert!(read > 0, "the server must answer the late request with an error");
        answers.extend_from_slice(&part[..read]);
    }
    let answers = String::from_utf8(answers).expect("the answers must be UTF-8");
    let late = after_answer(&answers).expect("the first answer must be complete");
    assert!(late.starts_with("HTTP/1.1 408"), "{late}");
    let took = clock.now().since(started).expect("the clock must not run backwards");
    assert!(
        took > 2 * HEAD_TIME_MAX,
        "the test's client must read slowly, but the read took only {took:?}"
    );
}

/// Test: a client that closes its sending direction still gets a complete answer that Sidekey sends
/// in pieces.
#[tokio::test(start_paused = true)]
async fn half_closed_client_gets_its_streamed_answer() {
    let mut peer = TestServer::new(1).connect_buffered(64 * 1024);
    peer.send(streamed_request().as_bytes()).await;
    peer.socket.shutdown().await.expect("the connection must be open");
    let answer = peer.rest().await;
    assert_eq!(after_answer(&answer), Some(""), "{}", &answer[..200]);
}

#[tokio::test(start_paused = true)]
async fn idle_connection_closes_after_its_ticks_and_used_one_stays_open() {
    let mut peer = connect(1);
    for _ in 0..3 * IDLE_TICKS_MAX {
        peer.ping().await;
        peer.clock.sleep(IDLE_TICK).await;
    }
    peer.clock.sleep(IDLE_TICK * (IDLE_TICKS_MAX - 2)).await;
    assert!(peer.is_open());
    peer.clock.sleep(IDLE_TICK * 3).await;
    assert_eq!(peer.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn freeze_of_hours_counts_as_one_tick() {
    let mut peer = connect(1);
    peer.ping().await;
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(24 * 3600)).await;
        tokio::task::yield_now().await;
    }
    peer.ping().await;
}

#[tokio::test(start_paused = true)]
async fn connections_over_limit_get_error_and_ping_still_works() {
    let mut peer = connect(0);
    peer.send(TRUSTED_METRICS).await;
    let answer = peer.rest().await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.ends_with("Connection limit exceeded"), "{answer}");
    for ping in [PING, TRUSTED_PING] {
        let mut peer = connect(0);
        peer.send(ping).await;
        let answer = peer.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}

/// Returns a `GET` request for `path` with one more header. `header` is empty, or a complete line
/// with its line break.
fn asking(path: &str, header: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n")
}

#[tokio::test(start_paused = true)]
async fn request_without_good_token_closes_connection() {
    let read = "/secretsmanager/get?secretId=x";
    for (path, header) in [
        ("/ping", ""),
        ("/ready", ""),
        ("/metrics", "x-vault-token: wrong\r\n"),
        (read, ""),
        (read, "x-vault-token: wrong\r\n"),
        (read, "x-vault-token: good\r\norigin: null\r\n"),
        ("/nowhere", ""),
    ] {
        for is_trusted_before in [false, true] {
            let mut peer = connect(1);
            if is_trusted_before {
                peer.ping().await;
            }
            let started = peer.clock.now();
            peer.send(asking(path, header).as_bytes()).await;
            let clock = peer.clock.clone();
            let answer = peer.rest().await;
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
            assert_eq!(clock.now().since(started), Some(Duration::ZERO), "{path} {header}");
        }
    }
    for path in ["/ping", "/ready", "/metrics", read, "/nowhere"] {
        let mut peer = connect(1);
        peer.send(asking(path, "x-vault-token: good\r\n").as_bytes()).await;
        peer.clock.sleep(UNTRUSTED_TIME_MAX * 2).await;
        peer.send(LAST_PING).await;
        let answers = peer.rest().await;
        let closing = answers.matches("\r\nconnection: close\r\n").count();
        assert!(answers.ends_with("healthy") && closing == 1, "{answers}");
    }
}

/// Test: the server closes a connection without a valid token at its time limit, even if the client
/// sends nothing, sends half a body, or never reads its answer.
#[tokio::test(start_paused = true)]
async fn untrusted_connection_ends_in_time() {
    let half_a_body = "POST /resolve HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{";
    let metrics = asking("/metrics", "");
    for (asked, after, every) in [
        ("", Duration::ZERO, None),
        ("GET /ping", Duration::from_secs(9), None),
        (half_a_body, Duration::from_secs(9), None),
        (&*metrics, Duration::ZERO, None),
        (&*metrics, Duration::from_secs(9), None),
        (&*metrics, Duration::ZERO, Some(Duration::from_secs(1))),
    ] {
        let mut peer = TestServer::new(1).connect_buffered(1024);
        peer.clock.sleep(after).await;
        peer.send(asked.as_bytes()).await;
        let left = UNTRUSTED_TIME_MAX - after;
        let mut passed = Duration::ZERO;
        while let Some(every) = every.filter(|every| passed + *every < left) {
            peer.socket.read_u8().await.expect("the connection must be open");
            peer.clock.sleep(every).await;
            passed += every;
        }
        peer.clock.sleep(left - passed + MOMENT).await;
        assert!(
            !peer.is_open(),
            "the server must close the connection in time (the client sent {asked:?} after \
             {after:?}, and read one byte every {every:?})"
        );
    }
}

/// Test: incomplete headers have a time limit even if they arrive together with a complete request.
#[tokio::test(start_paused = true)]
async fn half_a_head_after_a_request_has_a_deadline() {
    let post = "POST /restore HTTP/1.1\r\nhost: localhost\r\nx-vault-token: good\r\n";
    let ping = str::from_utf8(TRUSTED_PING).expect("the request must be UTF-8");
    for request in [
        ping.to_owned(),
        ping.repeat(2),
        format!("{post}content-length: 2\r\n\r\n{{}}"),
        format!("{post}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
    ] {
        let mut peer = connect(1);
        peer.send(format!("{request}GET /pi").as_bytes()).await;
        peer.clock.sleep(HEAD_TIME_MAX - MOMENT).await;
        assert!(peer.is_open(), "{request}");
        peer.clock.sleep(MOMENT * 2).await;
        assert!(!peer.is_open(), "{request}");
        assert!(peer.rest().await.contains("HTTP/1.1 408"), "{request}");
    }
}

/// Test: a connection stays open after a complete request, even if the request arrived in several
/// pieces.
#[tokio::test(start_paused = true)]
async fn connection_stays_open_after_complete_requests() {
    let post = "POST /restore HTTP/1.1\r\nhost: localhost\r\nx-vault-token: good\r\n";
    let sized = format!("{post}content-length: 2\r\n\r\n");
    let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n");
    let expecting = sized.replace("content-length", "expect: 100-continue\r\ncontent-length");
    let ping = str::from_utf8(TRUSTED_PING).expect("the request must be UTF-8");
    for parts in [
        &[ping][..],
        &[&*ping.repeat(3)],
        &[&ping[..20], &ping[20..]],
        &[&format!("{sized}{{}}")],
        &[&sized, "{", "}"],
        &[&expecting, "{}"],
        &[&chunked, "2\r\n{}\r\n", "0\r\n", "\r\n"],
        &[&format!("{sized}{{}}{ping}")],
    ] {
        let mut peer = connect(1);
        for part in parts {
            peer.send(part.as_bytes()).await;
            peer.clock.sleep(MOMENT).await;
        }
        peer.clock.sleep(HEAD_TIME_MAX * 3).await;
        assert!(peer.is_open(), "{parts:?}");
        peer.send(LAST_PING).await;
        let answers = peer.rest().await;
        assert!(answers.ends_with("healthy") && !answers.contains(" 408 "), "{answers}");
    }
}

#[tokio::test(start_paused = true)]
async fn trusted_connection_idle_longest_is_closed_for_another() {
    let served = TestServer::new(2);
    let [mut first, mut second, mut third] = [(); 3].map(|()| served.connect());
    first.ping().await;
    second.ping().await;
    first.ping().await;
    third.ping().await;
    assert_eq!(
        second.rest().await,
        "",
        "the server must close the connection that was idle for the longest time"
    );
    for peer in [&mut first, &mut third] {
        peer.ping().await;
    }
}

#[tokio::test(start_paused = true)]
async fn stop_closes_idle_connection() {
    let mut peer = connect(1);
    peer.ping().await;
    peer.slots.stop();
    assert_eq!(peer.rest().await, "");
}

/// The number of random inputs that the test tries. If the test fails, it prints the seed and the
/// smallest input that fails.
const INPUTS: u32 = 2_048;

const SEED: u64 = 1;

/// The maximum time between the last byte from the client and the end of the connection.
const END_MAX: Duration = IDLE_TICK.saturating_mul(IDLE_TICKS_MAX + 2);

/// The bytes that a client sends, and its pauses. A pause is a position in the bytes and a duration
/// in milliseconds.
#[derive(Clone)]
struct Input {
    bytes: Vec<u8>,
    splits: Vec<(Index, u64)>,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" split at {:?}", self.bytes.escape_ascii(), self.pauses())
    }
}

impl Input {
    /// Returns the position in the bytes and the length in milliseconds of each pause, sorted by
    /// position.
    fn pauses(&self) -> Vec<(usize, u64)> {
        let pause = |(at, millis): &(Index, u64)| (at.index(self.bytes.len() + 1), *millis);
        let mut pauses: Vec<_> = self.splits.iter().map(pause).collect();
        pauses.sort_unstable();
        pauses
    }
}

/// Returns valid requests for different endpoints, with and without a valid token.
fn requests() -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for token in ["", "x-vault-token: good\r\n", "x-amz-security-token: good\r\n"] {
        let head =
            |line: &str, more: &str| format!("{line} HTTP/1.1\r\nhost: ::1\r\n{token}{more}");
        requests.extend([
            head("GET /ping", "\r\n"),
            head("GET /metrics", "connection: close\r\n\r\n"),
            head("GET /secretsmanager/get?secretId=x", "\r\n").replace("::1", "localhost"),
            head("GET /v1/x", "content-length: 3\r\n\r\nabc").replace("::1", "[::1]:1"),
            head("POST /resolve", "content-length: 20\r\n\r\n{\"references\": [\"x\"]}"),
            head("POST /restore", "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            head("POST /restore", "expect: 100-continue\r\ncontent-length: 1\r\n\r\nx"),
            head("POST /", "x-amz-target: secretsmanager.GetSecretValue\r\n\r\n"),
            head("GET /ready", "\r\n").replace("1.1", "1.0"),
        ]);
    }
    requests.into_iter().map(String::into_bytes).collect()
}

/// Generates random input from valid requests, damaged requests and random bytes.
fn input() -> impl Strategy<Value = Input> {
    let request = || proptest::sample::select(requests());
    let replaced = (request(), any::<Index>(), any::<u8>()).prop_map(|(mut request, at, byte)| {
        let at = at.index(request.len());
        request[at] = byte;
        request
    });
    let shortened =
        (request(), any::<Index>(), 0_usize..9).prop_map(|(mut request, at, length)| {
            let at = at.index(request.len());
            request.drain(at..(at + length).min(request.len()));
            request
        });
    let bytes = || proptest::collection::vec(any::<u8>(), 0..64);
    let filled = (request(), any::<Index>(), bytes()).prop_map(|(mut request, at, bytes)| {
        let at = at.index(request.len());
        request.splice(at..at, bytes);
        request
    });
    let piece =
        prop_oneof![4 => request(), 1 => replaced, 1 => shortened, 1 => filled, 1 => bytes()];
    let pieces = proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat());
    let splits = proptest::collection::vec((any::<Index>(), 0_u64..7_000), 0..4);
    (pieces, splits).prop_map(|(bytes, splits)| Input { bytes, splits })
}

/// Returns the text after the first HTTP answer in `bytes`, or `None` if the first answer is
/// incomplete.
fn after_answer(bytes: &str) -> Option<&str> {
    let (head, rest) = bytes.split_once("\r\n\r\n")?;
    if !head.starts_with("HTTP/1.1 ") && !head.starts_with("HTTP/1.0 ") {
        return None;
    }
    let length = head.split_once("content-length: ").map(|(_, rest)| rest.lines().next());
    let length = length.flatten().map_or(Ok(0), str::parse::<usize>);
    rest.get(length.ok()?..)
}

/// Sends an input to a new connection. Checks that all answers are complete, and that the server
/// closes the connection within its time limit.
async fn try_input(input: Input) -> Result<(), TestCaseError> {
    let served = TestServer::new(1);
    let mut peer = served.connect();
    let clock = peer.clock.clone();
    let started = clock.now();
    let (mut reading, mut writing) = tokio::io::split(peer.socket);
    let write = async {
        let mut from = 0;
        for (to, pause) in input.pauses() {
            // Sending fails if the connection has ended. Then the remaining bytes are not sent.
            let _ = writing.write_all(&input.bytes[from..to]).await;
            clock.sleep(Duration::from_millis(pause)).await;
            from = to;
        }
        let _ = writing.write_all(&input.bytes[from..]).await;
        std::future::pending::<()>().await
    };
    let mut answers = Vec::new();
    let is_over = tokio::select! {
        () = write => unreachable!("the test must never stop sending"),
        read = crate::clock::within(&*clock, END_MAX, reading.read_to_end(&mut answers)) => read.is_some(),
    };
    prop_assert!(is_over, "the server must close the connection in time");
    let ended = clock.now().since(started).expect("the clock must not run backwards");
    let answers = String::from_utf8_lossy(&answers).into_owned();
    let mut left = &*answers;
    while !left.is_empty() {
        let Some(rest) = after_answer(left) else {
            return Err(TestCaseError::fail(format!(
                "all responses must be complete, but {answers:?} ends with the incomplete {left:?}"
            )));
        };
        left = rest;
    }
    // A connection stays open for long only if a request had the valid token.
    let has_token = input.bytes.windows(4).any(|window| window == b"good");
    prop_assert!(
        has_token || ended <= UNTRUSTED_TIME_MAX,
        "a connection without a valid token must be closed in time, but was closed after {ended:?}"
    );
    let panicked = (&mut peer.served).await.is_err();
    prop_assert!(!panicked, "the server's task for the connection must not panic");
    let mut next = served.connect();
    next.send(PING).await;
    let answer = next.rest().await;
    prop_assert!(
        answer.starts_with("HTTP/1.1 200"),
        "the server must answer a request on a new connection: {}",
        answer
    );
    Ok(())
}

/// Test: after random input in random pieces, no task has panicked, all answers were complete, the
/// server closed the connection within its time limit, and the server answers another client.
#[test]
fn any_bytes_get_complete_answers_or_closed_connection() {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&SEED.to_le_bytes());
    let config = ProptestConfig { cases: INPUTS, failure_persistence: None, ..Default::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let outcome = runner.run(&input(), |input| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime =
            runtime.enable_time().start_paused(true).build().expect("the runtime must start");
        runtime.block_on(try_input(input))
    });
    if let Err(error) = outcome {
        panic!("the test failed for an input from the random seed {SEED}: {error}");
    }
}
