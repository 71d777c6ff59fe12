//! Where one asks: loopback, a Unix socket, an address for probes; how many at a time, in what way
//! on one connection, and how it ends.

use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::gateway::Gateway;
use crate::support::{Folder, eventually, fake, soon};
use fake_aws::Fake;
use sidekey::server::listener::{BindError, Listeners};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

/// A fake that has `app/db`, and an agent to be in front of it.
async fn upstream() -> (Fake, Setup) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("a new name");
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    (fake, setup)
}

/// Returns why an agent does not start.
async fn refusal(setup: Setup) -> BindError {
    setup.try_launch().await.map(|_| ()).expect_err("an agent that does not start")
}

/// The Unix socket has mode 0600 in a folder that is made with mode 0700, serves without a `Host`
/// and with any, and asks for the token as every other way in does. It goes with the agent.
#[tokio::test]
async fn unix_socket_is_private() {
    let (_fake, setup) = upstream().await;
    let folder = Folder::new();
    let path = folder.path().join("new/s");
    let sidekey = setup.with("SIDEKEY_SOCKET", path.display()).start().await;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&folder.path().join("new"))), (0o600, 0o700));
    for (headers, status) in [
        (&[TOKEN_HEADER][..], 200),
        (&[TOKEN_HEADER, ("Host", "anything")], 200),
        (&[], 403),
        (&[(TOKEN_HEADER.0, "wrong")], 403),
        (&[TOKEN_HEADER, ("X-Forwarded-For", "x")], 400),
        (&[TOKEN_HEADER, ("Origin", "x")], 400),
    ] {
        let mut connection = Connection::open_socket(&path).await;
        let answer = connection.exchange(get(&read_path("app/db"), headers)).await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    assert_eq!(sidekey.read("app/db").await.value(), "hunter2", "and the port is served too");
    soon("the drain", sidekey.agent.drain(Duration::ZERO)).await;
    assert!(!path.exists(), "nothing is left behind");
}

/// A socket that nobody listens on any more is replaced. One that somebody listens on, a file that
/// is none, and a folder that others can enter are refused, each with its own error, and left alone.
#[tokio::test]
async fn unix_socket_is_replaced_only_if_unused() {
    let (_fake, setup) = upstream().await;
    let folder = Folder::new();
    let path = folder.path().join("s");
    let setup = setup.with("SIDEKEY_SOCKET", path.display());

    let listener = UnixListener::bind(&path).expect("a free path");
    let taken = refusal(setup.clone()).await;
    assert!(matches!(taken, BindError::Taken(_, "SIDEKEY_SOCKET")), "{taken}");
    assert!(path.exists(), "somebody else's socket stays");

    drop(listener);
    assert!(path.exists(), "a stale socket");
    let sidekey = setup.clone().start().await;
    let mut connection = Connection::open_socket(&path).await;
    assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
    drop(connection);
    soon("the drain", sidekey.agent.drain(Duration::ZERO)).await;

    fs::write(&path, "notes").expect("the folder can be written");
    let no_socket = refusal(setup.clone()).await;
    assert!(matches!(no_socket, BindError::NotASocket(_)), "{no_socket}");
    assert_eq!(fs::read_to_string(&path).expect("it stays"), "notes");
    fs::remove_file(&path).expect("it is there");

    for mode in [0o755, 0o710, 0o701, 0o770] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("it is ours");
        let shared = refusal(setup.clone()).await;
        assert!(matches!(shared, BindError::SharedFolder(_)), "{mode:o} {shared}");
        assert!(!path.exists());
    }
}

/// `SIDEKEY_METRICS_LISTEN` serves probes to any host, without a token, and nothing else, not even
/// with one.
#[tokio::test]
async fn probe_listener_serves_probes_only() {
    let (_fake, setup) = upstream().await;
    let port = Port::reserve();
    let address = format!("127.0.0.1:{port}");
    let sidekey = setup.with("SIDEKEY_METRICS_LISTEN", &address).start().await;
    let address = address.parse().expect("an address");
    let probe = async |asked: String| Connection::open(address).await.exchange(asked).await;
    let host = ("Host", "sidekey.cluster.example:9277");
    for path in ["/ping", "/ready", "/metrics"] {
        let answer = probe(get(path, &[host, ("X-Forwarded-For", "10.0.0.1")])).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let named = probe(get("/ready", &[host, TOKEN_HEADER])).await;
    assert!(named.json()["missing"].is_null(), "no names over a network");
    for path in [&*read_path("app/db"), "/v1/app/db", "/status", "/nowhere"] {
        let answer = probe(get(path, &[host, TOKEN_HEADER])).await;
        assert_eq!((answer.status, answer.text()), (404, "Not found"), "{path}");
    }
    let signed = [host, ("X-Amz-Target", "secretsmanager.GetSecretValue"), TOKEN_HEADER];
    let answer = probe(request("POST", "/", &signed, "{}")).await;
    assert_eq!(answer.status, 405);
    assert!(!answer.text().contains("hunter2"));
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.sum("sidekey_reads_total"), 0.0, "nobody has read");
    assert_eq!(metrics.get("sidekey_read_duration_seconds_count"), 0.0);
}

/// Connections that ask nothing take no place of a reader's.
#[tokio::test]
async fn idle_connections_do_not_block_readers() {
    let (_fake, setup) = upstream().await;
    let sidekey = setup.with("SIDEKEY_MAX_CONNECTIONS", 2).start().await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(sidekey.connect().await);
    }
    let mut connection = sidekey.connect().await;
    assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
}

/// One connection serves many requests, good and bad in turn, and answers those that are sent all at
/// once in their order.
#[tokio::test]
async fn connection_serves_many_requests() {
    let (_fake, setup) = upstream().await;
    let sidekey = setup.start().await;
    let mut connection = sidekey.connect().await;
    for _ in 0..200 {
        assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
        let refused = connection.exchange(read_request("app/db&x=1")).await;
        assert_eq!((refused.status, refused.header("connection")), (400, None));
    }
    let asked = [
        (read_request("app/db"), 200),
        (read_request("missing"), 400),
        (get("/ping", &[TOKEN_HEADER]), 200),
        (get("/nowhere", &[TOKEN_HEADER]), 404),
        (read_request("app/db&versionStage=BLUE"), 400),
        (read_request("app/db"), 200),
    ];
    connection.send(asked.clone().map(|(request, _)| request).concat()).await;
    for (request, status) in asked {
        assert_eq!(connection.receive().await.status, status, "{request}");
    }
    // A request that comes byte by byte is one request.
    for byte in read_request("app/db").bytes() {
        connection.send([byte]).await;
    }
    assert_eq!(connection.receive().await.value(), "hunter2");
}

/// HTTP/1.0 is answered, and the connection closed unless its keeping was asked for; so is HTTP/1.1
/// with `Connection: close`.
#[tokio::test]
async fn http_1_0_clients_are_served() {
    let (_fake, setup) = upstream().await;
    let sidekey = setup.start().await;
    let (name, value) = TOKEN_HEADER;
    let path = read_path("app/db");
    let mut connection = sidekey.connect().await;
    let answer =
        connection.exchange(format!("GET {path} HTTP/1.0\r\n{name}: {value}\r\n\r\n")).await;
    assert_eq!((answer.value().as_str(), answer.protocol.as_str()), ("hunter2", "HTTP/1.0"));
    connection.closed().await;

    let mut connection = sidekey.connect().await;
    let kept = format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n{name}: {value}\r\n\r\n");
    for _ in 0..2 {
        let answer = connection.exchange(&kept).await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
    let closing = get(&path, &[TOKEN_HEADER, ("Connection", "close")]);
    assert_eq!(connection.exchange(closing).await.status, 200);
    connection.closed().await;
}

/// A connection on which nothing is asked is closed after fifteen ticks of a minute, and kept for as
/// long as something is. Ticks count, not time: a freeze of a day is one tick.
#[tokio::test]
async fn idle_connection_is_closed_after_fifteen_ticks() {
    let (_fake, setup) = upstream().await;
    let sidekey = setup.start().await;
    let (mut idle, mut busy) = (sidekey.connect().await, sidekey.connect().await);
    for connection in [&mut idle, &mut busy] {
        assert_eq!(connection.exchange(get("/ping", &[TOKEN_HEADER])).await.status, 200);
    }
    sidekey.pass(Duration::from_secs(24 * 3600));
    assert_eq!(idle.exchange(get("/ping", &[TOKEN_HEADER])).await.status, 200, "after a freeze");
    for _ in 0..20 {
        sidekey.pass(Duration::from_secs(60));
        assert_eq!(busy.exchange(get("/ping", &[TOKEN_HEADER])).await.status, 200);
    }
    idle.closed().await;
}

/// A drain accepts nobody any more and closes what is idle, but answers the reader who waits for
/// upstream, and then closes: nobody sees a broken answer. The port is free afterwards.
#[tokio::test]
async fn drain_answers_requests_in_progress() {
    let (fake, setup) = upstream().await;
    let gateway = Gateway::before(&fake).await;
    let setup = setup.with("SIDEKEY_ENDPOINT", gateway.url()).without("SIDEKEY_SECRETS");
    let sidekey = setup.clone().start().await;
    gateway.hold();
    let (mut idle, mut waiting) = (sidekey.connect().await, sidekey.connect().await);
    assert_eq!(idle.exchange(get("/ping", &[TOKEN_HEADER])).await.status, 200);
    waiting.send(read_request("app/db")).await;
    eventually("the reader waits", async || (gateway.regions().len() == 1).then_some(())).await;

    let Sidekey { agent, address, .. } = sidekey;
    let draining = tokio::spawn(agent.drain(Duration::from_secs(60)));
    idle.closed().await;
    eventually("nobody is accepted", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    assert!(!draining.is_finished(), "a reader waits still");
    gateway.release();
    let answer = waiting.receive().await;
    assert_eq!((answer.value().as_str(), answer.header("connection")), ("hunter2", Some("close")));
    waiting.closed().await;
    soon("the drain", draining).await.expect("no panic in there");

    let again = setup.with("SIDEKEY_PORT", address.port()).start().await;
    assert_eq!(again.address, address);
}

/// A drain gives up on a reader when its time is over.
#[tokio::test]
async fn drain_ends_after_its_limit() {
    let (fake, setup) = upstream().await;
    let gateway = Gateway::before(&fake).await;
    let setup = setup.with("SIDEKEY_ENDPOINT", gateway.url()).without("SIDEKEY_SECRETS");
    let sidekey = setup.start().await;
    gateway.hold();
    let mut waiting = sidekey.connect().await;
    waiting.send(read_request("app/db")).await;
    eventually("the reader waits", async || (gateway.regions().len() == 1).then_some(())).await;
    let Sidekey { agent, address, clock } = sidekey;
    let draining = tokio::spawn(agent.drain(Duration::from_secs(10)));
    eventually("nobody is accepted", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    assert!(!draining.is_finished());
    clock.pass(Duration::from_secs(10));
    soon("the drain", draining).await.expect("no panic in there");
}

/// A second agent on the same port does not start, says which address is taken and which variable
/// to set, and leaves the first one as it was. So it is with the address for probes.
#[tokio::test]
async fn second_agent_on_a_port_does_not_start() {
    let (_fake, setup) = upstream().await;
    let first = setup.clone().start().await;
    let second = refusal(setup.clone().with("SIDEKEY_PORT", first.address.port())).await;
    let BindError::Taken(address, "SIDEKEY_PORT") = &second else {
        panic!("{second}");
    };
    assert_eq!(*address, first.address.to_string());
    assert!(second.to_string().contains("stop that process, or change SIDEKEY_PORT"), "{second}");
    let probes = refusal(setup.with("SIDEKEY_METRICS_LISTEN", first.address)).await;
    assert!(matches!(probes, BindError::Taken(_, "SIDEKEY_METRICS_LISTEN")), "{probes}");
    assert_eq!(first.read("app/db").await.value(), "hunter2");
}

/// What can be held is, whatever else cannot: all that fails is told, and nothing is left out for it.
#[tokio::test]
async fn bindable_addresses_are_bound_although_others_fail() {
    let (_fake, setup) = upstream().await;
    let first = setup.clone().start().await;
    let folder = Folder::new();
    let free = Port::reserve();
    let socket = folder.path().join("s").display().to_string();
    let (taken, blocked) =
        (first.address.to_string(), folder.write("notes", "").display().to_string());
    let free = free.to_string();
    for (port, socket, probes, told, is_readable) in [
        (&*free, &*blocked, &*taken, &["is not a socket", "SIDEKEY_METRICS_LISTEN"][..], true),
        (&taken[10..], &socket, &taken, &["SIDEKEY_PORT", "SIDEKEY_METRICS_LISTEN"], true),
        (&taken[10..], &blocked, "127.0.0.1:0", &["SIDEKEY_PORT", "is not a socket"], false),
    ] {
        let setup = setup
            .clone()
            .with("SIDEKEY_PORT", port)
            .with("SIDEKEY_SOCKET", socket)
            .with("SIDEKEY_METRICS_LISTEN", probes);
        let (held, failed) = Listeners::bind_possible(&setup.load().config.listen).await;
        let failed: Vec<String> = failed.iter().map(BindError::to_string).collect();
        assert_eq!(failed.len(), told.len(), "{failed:?}");
        for (failed, told) in failed.iter().zip(told) {
            assert!(failed.contains(told), "{failed}");
        }
        assert_eq!(held.can_serve_secrets(), is_readable, "{failed:?}");
        assert_eq!(held.addresses().is_empty(), port != free, "neither half of localhost");
        assert_eq!(held.metrics_address().is_some(), probes != taken);
    }
}

/// Both loopback addresses are served on the same port, where the machine has them: `localhost`
/// means ::1 first to some clients.
#[tokio::test]
async fn both_loopback_addresses_are_served() {
    let (_fake, setup) = upstream().await;
    let sidekey = setup.start().await;
    let addresses = sidekey.agent.addresses();
    let has_v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    assert_eq!(addresses.len(), 1 + usize::from(has_v6));
    for address in addresses {
        assert_eq!(address.port(), sidekey.address.port());
        let mut connection = Connection::open(*address).await;
        assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
    }
}
