//! Tests of the limits for open connections. Connections without a valid token never block probes
//! and callers with a token.

use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake};
use fake_aws::Fake;
use std::net::SocketAddr;
use std::time::Duration;

/// The number of connections without a token that the tests open. It is far above the number of
/// connections that the agent serves at once.
const CROWD: usize = 2_000;

/// Starts a fake AWS server with the secret `app/db`. Returns the server, and the settings of an
/// agent that calls this server.
async fn prepare() -> (Fake, Setup) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    (fake, setup)
}

/// Opens a connection without a valid token. Sends nothing, half of a request's head, `/ping` or a
/// read, depending on `number`.
async fn tokenless(address: SocketAddr, number: usize) -> Connection {
    let mut connection = Connection::open(address).await;
    let sent =
        [String::new(), "GET /pi".to_owned(), get("/ping", &[]), get(&read_path("app/db"), &[])];
    // The send may fail, because the agent may already have closed this connection in favour of a
    // newer connection.
    let _ = connection.try_send(&sent[number % sent.len()]).await;
    connection
}

/// Opens hundreds of connections to the probe listener, half of which send nothing. The agent must
/// still answer each new probe at once.
#[tokio::test]
async fn probes_always_get_through() {
    let (_fake, setup) = prepare().await;
    let port = Port::reserve();
    let address = format!("127.0.0.1:{port}");
    let sidekey = setup.with("SIDEKEY_METRICS_LISTEN", &address).start().await;
    let probes = address.parse().expect("the address must be valid");
    let mut open = Vec::new();
    for number in 0..416 {
        let mut connection = Connection::open(probes).await;
        if number < 216 {
            let answer = connection.exchange(get("/ping", &[])).await;
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        }
        open.push(connection);
        if number % 16 == 15 {
            for path in ["/ping", "/ready", "/metrics"] {
                let mut probe = Connection::open(probes).await;
                let answer = probe.exchange(get(path, &[TOKEN_HEADER])).await;
                assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
                probe.closed().await;
            }
        }
    }
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_gate_refusals_total{reason=\"connections\"}"), 0.0);
}

/// Opens thousands of connections without a token. The agent must still serve an open connection
/// with a token, and new callers with a token.
#[tokio::test]
async fn reader_with_a_token_is_served_among_thousands_without() {
    let (_fake, setup) = prepare().await;
    let sidekey = setup.with("SIDEKEY_MAX_CONNECTIONS", 2).start().await;
    let mut authenticated = sidekey.connect().await;
    assert_eq!(authenticated.exchange(read_request("app/db")).await.value(), "hunter2");
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(tokenless(sidekey.address, number).await);
        if number % 100 == 99 {
            assert_eq!(sidekey.read("app/db").await.value(), "hunter2");
            assert_eq!(authenticated.exchange(read_request("app/db")).await.value(), "hunter2");
        }
    }
    let connections = sidekey.metrics().await.get("sidekey_connections");
    assert!(
        connections < 200.0,
        "the agent must keep fewer than 200 connections open, not {connections}"
    );
    assert_eq!(authenticated.exchange(read_request("app/db")).await.value(), "hunter2");
}

/// The agent closes a connection after it has answered a request without a valid token, even if an
/// earlier request on the connection had a valid token.
#[tokio::test]
async fn connection_without_a_token_is_closed_after_one_answer() {
    let (_fake, setup) = prepare().await;
    let sidekey = setup.start().await;
    for (path, status) in
        [("/ping", 200), ("/ready", 200), ("/metrics", 200), ("/status", 403), ("/v1/app/db", 403)]
    {
        for is_kept_before in [false, true] {
            let mut connection = sidekey.connect().await;
            if is_kept_before {
                let read = connection.exchange(read_request("app/db")).await;
                assert_eq!((read.status, read.header("connection")), (200, None));
            }
            let answer = connection.exchange(get(path, &[])).await;
            assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
            connection.closed().await;
        }
    }
}

/// The agent closes a connection ten seconds after the connection was opened, if no request with a
/// valid token has arrived.
#[tokio::test]
async fn connection_without_a_token_ends_in_ten_seconds() {
    let (_fake, setup) = prepare().await;
    let sidekey = setup.start().await;
    let mut silent = sidekey.connect().await;
    let mut authenticated = sidekey.connect().await;
    assert_eq!(authenticated.exchange(read_request("app/db")).await.value(), "hunter2");
    // The agent accepts connections in order. A served later connection shows that the silent one
    // was accepted.
    sidekey.advance(Duration::from_secs(10));
    silent.closed().await;
    assert_eq!(authenticated.exchange(read_request("app/db")).await.value(), "hunter2");
}

/// Sends a read to which the agent responds only when the secret's version differs from `version`.
async fn long_poll(sidekey: &Sidekey, version: &str) -> Connection {
    let mut connection = sidekey.connect().await;
    let path = read_path("app/db&wait=20");
    connection.send(get(&path, &[TOKEN_HEADER, ("If-None-Match", version)])).await;
    connection
}

/// The agent has the maximum number of open connections. For a new caller, it closes the connection
/// that has been idle longest. If no connection is idle, the new caller gets status 429.
#[tokio::test]
async fn longest_idle_connection_gives_up_its_slot() {
    let (fake, setup) = prepare().await;
    let sidekey = setup.with("SIDEKEY_MAX_CONNECTIONS", 2).start().await;
    let [mut first, mut second, mut third] =
        [sidekey.connect().await, sidekey.connect().await, sidekey.connect().await];
    for reader in [&mut first, &mut second] {
        assert_eq!(reader.exchange(read_request("app/db")).await.value(), "hunter2");
    }
    for reader in [&mut first, &mut third] {
        assert_eq!(reader.exchange(read_request("app/db")).await.value(), "hunter2");
    }
    second.closed().await;
    for reader in [&mut first, &mut third] {
        assert_eq!(reader.exchange(read_request("app/db")).await.value(), "hunter2");
    }

    let read = first.exchange(read_request("app/db")).await;
    let version = read.header("etag").expect("every response must contain a version").to_owned();
    let [mut busy, mut other] =
        [long_poll(&sidekey, &version).await, long_poll(&sidekey, &version).await];
    first.closed().await;
    third.closed().await;
    for _ in 0..100 {
        let mut newcomer = sidekey.connect().await;
        let answer = newcomer.exchange(read_request("app/db")).await;
        assert_eq!((answer.status, answer.text()), (429, "Connection limit exceeded"));
        assert_eq!(answer.header("connection"), Some("close"));
        newcomer.closed().await;
    }
    for headers in [&[][..], &[TOKEN_HEADER]] {
        let mut probe = sidekey.connect().await;
        let answer = probe.exchange(get("/ping", headers)).await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    let refused = "sidekey_gate_refusals_total{reason=\"connections\"}";
    assert_eq!(sidekey.metrics().await.get(refused), 100.0);

    fake.secrets().put("app/db", "hunter3").expect("the secret exists");
    sidekey.advance(Duration::from_secs(20));
    for reader in [&mut busy, &mut other] {
        assert!([200, 304].contains(&reader.receive().await.status));
    }
    // Both connections become idle again after their answers.
    eventually("the agent accepts a new connection again", async || {
        (sidekey.read("app/db").await.status == 200).then_some(())
    })
    .await;
}
