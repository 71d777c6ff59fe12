//! Sends hostile targets and headers to a route. No call may reach another host, or another path
//! than the rules of the route allow.

use crate::clients::pause;
use crate::support::agent::TOKEN;
use crate::support::client::Connection;
use crate::support::scene::{BEARER, KEY, Scene, crm};
use crate::support::upstream::{Seen, Upstream, answer};
use fastrand::Rng;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinSet;

/// The number of requests.
const REQUESTS: u64 = 100_000;

/// The number of connections that send requests at the same time.
const CONNECTIONS: u64 = 8;

/// The seed of the random requests. The test prints the seed, so that another seed can be tried.
const SEED: u64 = 22;

/// Parts of targets. `OTHER` is replaced by the address of the server that no call may reach.
#[rustfmt::skip]
const PARTS: &[&str] = &[
    "/", "//", "///", "\\", "/\\", "\\\\", "@", "%40", "/@OTHER/", "//OTHER/", "/\\OTHER/", "x@OTHER",
    "http://OTHER/", "https:/OTHER", ":80", "%2f", "%2F", "%5c", "%2e", "%2E%2e", "..", ".", "/../",
    "/..;/", ";x=y", "%252f", "%252e%252e", "%00", "%0d%0a", "%0aHost:%20OTHER", "%7f", "%", "%zz", "%4",
    "\u{e9}", "%C3%A9", "v1", "/v1/", "v2", "contacts", "admin", "?", "?q=//OTHER", "&a=b", "#", "#x",
    "{api_key}", "%7Bapi_key%7D", "~", "*", "!", "$", "'", "(", ")", ",", "=", "+", "|", "^", "`", "\"",
    "<", ">", "[", "]", "\t", "\u{0}", "\u{b}",
];

/// Complete lines of headers.
#[rustfmt::skip]
const HEADERS: &[&str] = &[
    "Host: OTHER", "Host: localhost", "Host: localhost@OTHER", "Host: localhost, OTHER", "HOST : OTHER",
    "Host:", "Forwarded: host=OTHER", "X-Forwarded-Host: OTHER", "X-Forwarded-For: 1.2.3.4",
    "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-Forwarded-Proto: http", "Via: 1.1 OTHER",
    "Connection: close, Host", "Connection: Authorization", "Connection: keep-alive, X-Aws-Parameters-Secrets-Token",
    "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5", "Keep-Alive: 5", "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "TE: trailers", "Trailer: Host", "Expect: 100-continue",
    "Authorization: Bearer other", "Authorization: Basic eDp5", "Origin: http://OTHER",
    "X-Sidekey-Reference: app/other", "X-Sidekey-Tenant: a=b", "X-A: b\r\n\tHost: OTHER", "X-A: b\r\n folded",
    "X-A: \u{1}", "X-A: b\rHost: OTHER", "X-A: b\nHost: OTHER", ": empty", "X A: b", "X-A\t: b",
    "X-Http-Method-Override: CONNECT", "Content-Type: message/http", "Cookie: a=b", "Range: bytes=0-1",
];

/// Lines that say where the body ends, and the bytes after the head. Two programs may disagree about
/// each of them.
#[rustfmt::skip]
const BODIES: &[(&str, &str)] = &[
    ("Content-Length: 0", ""),
    ("Content-Length: 4", "abcd"),
    ("Content-Length: 4\r\nContent-Length: 4", "abcd"),
    ("Content-Length: 4\r\nContent-Length: 5", "abcd"),
    ("Content-Length: 4, 4", "abcd"),
    ("Content-Length: +4", "abcd"),
    ("Content-Length: 0x4", "abcd"),
    ("Content-Length: -1", ""),
    ("Transfer-Encoding: chunked", "4\r\nabcd\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "0\r\nHost: OTHER\r\n\r\n"),
    ("Transfer-Encoding: chunked", "4;x=y\r\nabcd\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: OTHER\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 4", "0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
    ("Content-Length: 44\r\nTransfer-Encoding: chunked", "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: OTHER\r\n\r\n"),
    ("Transfer-Encoding: xchunked\r\nContent-Length: 4", "abcd"),
    ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
    ("Transfer-Encoding: identity\r\nContent-Length: 4", "abcd"),
    ("Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("Transfer-Encoding:\tchunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "ffffffffffffffff1\r\nabcd"),
    ("Transfer-Encoding: chunked", "4\nabcd\n0\n\n"),
    ("Content-Length: 50", "GET /smuggled HTTP/1.1\r\nHost: OTHER\r\n\r\n"),
];

const METHODS: &[&str] =
    &["GET", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", "G\tT"];

fn pick<T: Copy>(random: &mut Rng, all: &[T]) -> T {
    all[random.usize(..all.len())]
}

/// Returns a random request, and whether the agent may wait for more bytes of its body. `other` is
/// the address that no call may reach.
fn hostile_request(random: &mut Rng, other: &str) -> (String, bool) {
    let mut target = match random.u8(..8) {
        0 => format!("http://{other}/to/crm/v1/"),
        1 => "http://localhost/to/crm/v1/".to_owned(),
        2 => format!("/to/crm@{other}/v1/"),
        3 => "/to/crm".to_owned(),
        4 => other.to_owned(),
        _ => "/to/crm/v1/".to_owned(),
    };
    for _ in 0..random.u8(..5) {
        target.push_str(pick(random, PARTS));
    }
    let method = if random.u8(..4) > 0 { "GET" } else { pick(random, METHODS) };
    let mut request = format!("{method} {target} HTTP/1.1\r\n");
    if random.u8(..8) > 0 {
        request.push_str("Host: localhost\r\n");
    }
    if random.u8(..16) > 0 {
        let _ = write!(request, "X-Aws-Parameters-Secrets-Token: {TOKEN}\r\n");
    }
    if random.bool() {
        for _ in 0..random.u8(..3) {
            let _ = write!(request, "{}\r\n", pick(random, HEADERS));
        }
    }
    let (framing, body) = match random.u8(..4) {
        0 => pick(random, BODIES),
        _ => ("", ""),
    };
    if !framing.is_empty() {
        let _ = write!(request, "{framing}\r\n");
    }
    let _ = write!(request, "\r\n{body}");
    (request.replace("OTHER", other), !framing.is_empty())
}

/// Panics if the server of the route must not receive this request.
fn check(seen: &Seen, host: &str, other: &str) {
    let path = seen.target.split('?').next().unwrap_or_default();
    let lower = path.to_ascii_lowercase();
    let is_allowed = path.starts_with("/v1/")
        && ["//", "\\", "/../", "%2f", "%5c", "%2e", "%0d", "%0a", "%00", "%25"]
            .iter()
            .all(|part| !lower.contains(part))
        && path.split('/').all(|segment| segment != "." && segment != "..");
    assert!(is_allowed, "the target must not reach the server: {seen:?}");
    assert!(!lower.contains("smuggled"), "a smuggled request must not reach the server: {seen:?}");
    assert_eq!(seen.header("host"), Some(host), "{seen:?}");
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {KEY}")), "{seen:?}");
    for name in ["x-aws-parameters-secrets-token", "x-forwarded-host", "forwarded", "upgrade", "te"]
    {
        assert_eq!(seen.header(name), None, "{seen:?}");
    }
    for (name, value) in &seen.headers {
        let is_of_host = ["host", "x-forwarded-host", "forwarded"].contains(&name.as_str());
        let value = String::from_utf8_lossy(value.as_bytes());
        assert!(!(is_of_host && value.contains(other)), "{seen:?}");
        assert_ne!(value, TOKEN, "the token must not leave: {seen:?}");
    }
}

/// Sends random requests with one seed, and counts the calls that the agent refused.
async fn send_all(
    address: std::net::SocketAddr,
    other: String,
    seed: u64,
    refused: Arc<AtomicU64>,
) {
    let mut random = Rng::with_seed(seed);
    let mut connection = Connection::open(address).await;
    for _ in 0..REQUESTS / CONNECTIONS {
        let (request, has_body) = hostile_request(&mut random, &other);
        let is_open = connection.try_send(&request).await.is_ok();
        if has_body {
            connection.try_finish_sending().await;
        }
        let answer = match is_open {
            true => connection.try_receive().await,
            false => None,
        };
        let is_kept = answer.as_ref().is_some_and(|answer| {
            let kind = answer.try_json().and_then(|json| Some(json["__type"].as_str()?.to_owned()));
            let is_of_call = answer.header("content-type") == Some("application/json");
            if let Some(kind) = kind.filter(|_| is_of_call) {
                refused.fetch_add(u64::from(kind.ends_with("Exception")), Ordering::Relaxed);
            }
            answer.header("connection") != Some("close")
        });
        if !is_kept || has_body {
            connection = Connection::open(address).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_target_or_header_reaches_another_host_or_path() {
    let other = Upstream::start(|_| answer(200, &[], "other")).await;
    let (host_of_other, checked) = (other.address.to_string(), Arc::new(AtomicU64::new(0)));
    let (counted, others) = (checked.clone(), host_of_other.clone());
    let (violations, own) = (Arc::new(AtomicU64::new(0)), Arc::new(OnceLock::new()));
    let (violated, host) = (violations.clone(), own.clone());
    let upstream = Upstream::start(move |seen| {
        let host: &String = host.get().expect("the address is known before the first call");
        // The panic's message names the request.
        if catch_unwind(|| check(seen, host, &others)).is_err() {
            violated.fetch_add(1, Ordering::Relaxed);
        }
        counted.fetch_add(1, Ordering::Relaxed);
        answer(200, &[], "ok")
    })
    .await;
    own.set(upstream.address.to_string()).expect("the address is set once");
    let toml = crm(&upstream, &format!("{BEARER}\npaths = [\"/v1/*\"]"));
    let scene = Scene::start(&toml).await;
    let _ = writeln!(io::stderr(), "hostile calls: {REQUESTS} requests, seed {SEED}");
    let refused = Arc::new(AtomicU64::new(0));
    let mut sending = JoinSet::new();
    for number in 0..CONNECTIONS {
        let seed = SEED * CONNECTIONS + number;
        let address = scene.sidekey.address;
        sending.spawn(send_all(address, host_of_other.clone(), seed, refused.clone()));
    }
    // The agent's time limits end requests whose body never arrives.
    let advancing = async {
        loop {
            scene.clock.advance(Duration::from_millis(100));
            pause().await;
        }
    };
    let sending = async {
        while let Some(sent) = sending.join_next().await {
            sent.expect("no request may fail the test");
        }
    };
    tokio::select! { () = sending => {}, () = advancing => {} }
    assert_eq!(other.connections(), 0, "no call may reach the other host");
    let violations = violations.load(Ordering::Relaxed);
    assert_eq!(violations, 0, "the server must receive only allowed requests");
    let passed = checked.load(Ordering::Relaxed);
    assert!(passed > REQUESTS / 20, "only {passed} calls passed, so the test checks too little");
    let metrics = scene.sidekey.metrics().await;
    let by_calls = metrics.sum("sidekey_call_refusals_total");
    let by_gate = metrics.sum("sidekey_gate_refusals_total");
    let counted = by_calls + by_gate - metrics.get("sidekey_call_refusals_total{reason=\"gate\"}");
    let refused = refused.load(Ordering::Relaxed);
    assert!(refused > REQUESTS / 20, "only {refused} calls were refused");
    assert!(counted >= refused as f64, "{counted} of {refused} refusals were counted");
}
