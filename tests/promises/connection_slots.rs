//! Connections that never showed a good token keep no places: a probe and a reader with a token are
//! served, however many others are open.

use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake};
use fake_aws::Fake;
use std::net::SocketAddr;
use std::time::Duration;

/// How many connections without a token are open: far more than any door has places.
const CROWD: usize = 2_000;

/// A fake that has `app/db`, and an agent to be in front of it.
async fn upstream() -> (Fake, Setup) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("a new name");
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    (fake, setup)
}

/// Opens a connection on which a tokenless peer does one of four things: nothing, half a head, `/ping`,
/// or a read. It waits for no answer.
async fn tokenless(address: SocketAddr, number: usize) -> Connection {
    let mut connection = Connection::open(address).await;
    let sent =
        [String::new(), "GET /pi".to_owned(), get("/ping", &[]), get(&read_path("app/db"), &[])];
    // The connection may have been closed for a newer one already.
    let _ = connection.try_send(&sent[number % sent.len()]).await;
    connection
}

/// Sixteen probes that keep their connections after one `/ping`, then hundreds, then silent
/// connections: the next probe is answered at once, and every answer says that it is the last.
#[tokio::test]
async fn probes_always_get_through() {
    let (_fake, setup) = upstream().await;
    let port = Port::reserve();
    let address = format!("127.0.0.1:{port}");
    let sidekey = setup.with("SIDEKEY_METRICS_LISTEN", &address).start().await;
    let probes = address.parse().expect("an address");
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

/// Thousands of connections without a token take no place of a reader with one: a kept connection
/// outlives them, and a new reader is served between any two of them.
#[tokio::test]
async fn reader_with_a_token_is_served_among_thousands_without() {
    let (_fake, setup) = upstream().await;
    let sidekey = setup.with("SIDEKEY_MAX_CONNECTIONS", 2).start().await;
    let mut kept = sidekey.connect().await;
    assert_eq!(kept.exchange(read_request("app/db")).await.value(), "hunter2");
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        crowd.push(tokenless(sidekey.address, number).await);
        if number % 100 == 99 {
            assert_eq!(sidekey.read("app/db").await.value(), "hunter2");
            assert_eq!(kept.exchange(read_request("app/db")).await.value(), "hunter2");
        }
    }
    let connections = sidekey.metrics().await.get("sidekey_connections");
    assert!(connections < 200.0, "{connections} are open");
    assert_eq!(kept.exchange(read_request("app/db")).await.value(), "hunter2");
}

/// Every answer to a request without a good token is the last of its connection, and the peer sees
/// that end; also on a connection that was kept.
#[tokio::test]
async fn connection_without_a_token_is_closed_after_one_answer() {
    let (_fake, setup) = upstream().await;
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

/// A peer without a token has ten seconds from its connection's beginning to its end, whatever it does.
#[tokio::test]
async fn connection_without_a_token_ends_in_ten_seconds() {
    let (_fake, setup) = upstream().await;
    let sidekey = setup.start().await;
    let mut silent = sidekey.connect().await;
    let mut kept = sidekey.connect().await;
    assert_eq!(kept.exchange(read_request("app/db")).await.value(), "hunter2");
    // A later connection has been served, and so the silent one has been accepted.
    sidekey.pass(Duration::from_secs(10));
    silent.closed().await;
    assert_eq!(kept.exchange(read_request("app/db")).await.value(), "hunter2");
}

/// Starts a read that is answered once the version changes.
async fn long_poll(sidekey: &Sidekey, version: &str) -> Connection {
    let mut connection = sidekey.connect().await;
    let path = read_path("app/db&wait=20");
    connection.send(get(&path, &[TOKEN_HEADER, ("If-None-Match", version)])).await;
    connection
}

/// With all kept places taken, the connection that has been idle longest makes room for a new reader.
/// Connections that are busy do not: then the newcomer is told 429, and `/ping` is answered still.
#[tokio::test]
async fn longest_idle_connection_gives_up_its_slot() {
    let (fake, setup) = upstream().await;
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
    let version = read.header("etag").expect("a read has a version").to_owned();
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

    fake.secrets().put("app/db", "hunter3").expect("it is there");
    sidekey.pass(Duration::from_secs(20));
    for reader in [&mut busy, &mut other] {
        assert!([200, 304].contains(&reader.receive().await.status));
    }
    // Both are idle again.
    eventually("a place is free", async || {
        (sidekey.read("app/db").await.status == 200).then_some(())
    })
    .await;
}
