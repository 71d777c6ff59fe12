//! Tests of the agent's listeners (loopback, Unix socket and probe address), of HTTP connections,
//! and of the agent's exit.

use crate::clients::MissingTool;
use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN, TOKEN_HEADER, read_path, read_request};
use crate::support::client::{Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::gateway::Gateway;
use crate::support::{TempFolder, eventually, fake, with_timeout};
use fake_aws::Fake;
use sidekey::server::listener::{BindError, Listeners};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

/// Starts a fake AWS server with the secret `app/db`. Returns the server, and the settings of an
/// agent that calls this server.
async fn prepare() -> (Fake, Setup) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    (fake, setup)
}

/// Starts an agent that must fail to start, and returns its error.
async fn refusal(setup: Setup) -> BindError {
    setup.try_launch().await.map(|_| ()).expect_err("the agent must fail to start")
}

/// The agent creates its Unix socket with mode 0600 in a folder with mode 0700. Requests over the
/// socket need the token.
#[tokio::test]
async fn unix_socket_is_private() {
    let (_fake, setup) = prepare().await;
    let folder = TempFolder::new();
    let path = folder.path().join("new/s");
    let sidekey = setup.with("SIDEKEY_SOCKET", path.display()).start().await;
    let mode =
        |path: &Path| fs::metadata(path).expect("the file exists").permissions().mode() & 0o777;
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
    assert_eq!(
        sidekey.read("app/db").await.value(),
        "hunter2",
        "the agent must also serve the TCP port"
    );
    with_timeout("the drain", sidekey.agent.drain(Duration::ZERO)).await;
    assert!(!path.exists(), "the agent must remove its Unix socket");
}

/// The agent replaces a Unix socket on which no process listens. It does not start if the socket is
/// in use, or if other users can enter the folder.
#[tokio::test]
async fn unix_socket_is_replaced_only_if_unused() {
    let (_fake, setup) = prepare().await;
    let folder = TempFolder::new();
    let path = folder.path().join("s");
    let setup = setup.with("SIDEKEY_SOCKET", path.display());

    let listener = UnixListener::bind(&path).expect("the path is free");
    let taken = refusal(setup.clone()).await;
    assert!(matches!(taken, BindError::Taken(_, "SIDEKEY_SOCKET")), "{taken}");
    assert!(path.exists(), "the agent must not change a socket that is in use");

    drop(listener);
    assert!(path.exists(), "the socket file must still exist after its listener has ended");
    let sidekey = setup.clone().start().await;
    let mut connection = Connection::open_socket(&path).await;
    assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
    drop(connection);
    with_timeout("the drain", sidekey.agent.drain(Duration::ZERO)).await;

    fs::write(&path, "notes").expect("the test must be able to write the folder");
    let no_socket = refusal(setup.clone()).await;
    assert!(matches!(no_socket, BindError::NotASocket(_)), "{no_socket}");
    assert_eq!(fs::read_to_string(&path).expect("the file must not change"), "notes");
    fs::remove_file(&path).expect("the test must be able to remove the file");

    for mode in [0o755, 0o710, 0o701, 0o770] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode))
            .expect("the folder must belong to the current user");
        let shared = refusal(setup.clone()).await;
        assert!(matches!(shared, BindError::SharedFolder(_)), "{mode:o} {shared}");
        assert!(!path.exists());
    }
}

/// The address in `SIDEKEY_METRICS_LISTEN` serves only probes, without a token and for any `Host`
/// header.
#[tokio::test]
async fn probe_listener_serves_probes_only() {
    let (_fake, setup) = prepare().await;
    let port = Port::reserve();
    let address = format!("127.0.0.1:{port}");
    let sidekey = setup.with("SIDEKEY_METRICS_LISTEN", &address).start().await;
    let address = address.parse().expect("the address must be valid");
    let probe = async |sent: String| Connection::open(address).await.exchange(sent).await;
    let host = ("Host", "sidekey.cluster.example:9277");
    for path in ["/ping", "/ready", "/metrics"] {
        let answer = probe(get(path, &[host, ("X-Forwarded-For", "10.0.0.1")])).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let named = probe(get("/ready", &[host, TOKEN_HEADER])).await;
    assert!(
        named.json()["missing"].is_null(),
        "the probe listener must not show the names of secrets"
    );
    for path in [&*read_path("app/db"), "/v1/app/db", "/status", "/nowhere"] {
        let answer = probe(get(path, &[host, TOKEN_HEADER])).await;
        assert_eq!((answer.status, answer.text()), (404, "Not found"), "{path}");
    }
    let signed = [host, ("X-Amz-Target", "secretsmanager.GetSecretValue"), TOKEN_HEADER];
    let answer = probe(request("POST", "/", &signed, "{}")).await;
    assert_eq!(answer.status, 405);
    assert!(!answer.text().contains("hunter2"));
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.sum("sidekey_reads_total"), 0.0, "the agent must not have read a secret");
    assert_eq!(metrics.get("sidekey_read_duration_seconds_count"), 0.0);
}

#[tokio::test]
async fn idle_connections_do_not_block_readers() {
    let (_fake, setup) = prepare().await;
    let sidekey = setup.with("SIDEKEY_MAX_CONNECTIONS", 2).start().await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(sidekey.connect().await);
    }
    let mut connection = sidekey.connect().await;
    assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
}

/// The agent answers valid and invalid requests on one connection. It answers pipelined requests in
/// their order.
#[tokio::test]
async fn connection_serves_many_requests() {
    let (_fake, setup) = prepare().await;
    let sidekey = setup.start().await;
    let mut connection = sidekey.connect().await;
    for _ in 0..200 {
        assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
        let refused = connection.exchange(read_request("app/db&x=1")).await;
        assert_eq!((refused.status, refused.header("connection")), (400, None));
    }
    let sent = [
        (read_request("app/db"), 200),
        (read_request("missing"), 400),
        (get("/ping", &[TOKEN_HEADER]), 200),
        (get("/nowhere", &[TOKEN_HEADER]), 404),
        (read_request("app/db&versionStage=BLUE"), 400),
        (read_request("app/db"), 200),
    ];
    connection.send(sent.clone().map(|(request, _)| request).concat()).await;
    for (request, status) in sent {
        assert_eq!(connection.receive().await.status, status, "{request}");
    }
    // A request that arrives byte by byte is one request.
    for byte in read_request("app/db").bytes() {
        connection.send([byte]).await;
    }
    assert_eq!(connection.receive().await.value(), "hunter2");
}

/// The agent closes an HTTP/1.0 connection after its response, unless the client requests
/// keep-alive.
#[tokio::test]
async fn http_1_0_clients_are_served() {
    let (_fake, setup) = prepare().await;
    let sidekey = setup.start().await;
    let (name, value) = TOKEN_HEADER;
    let path = read_path("app/db");
    let mut connection = sidekey.connect().await;
    let answer =
        connection.exchange(format!("GET {path} HTTP/1.0\r\n{name}: {value}\r\n\r\n")).await;
    assert_eq!((answer.value().as_str(), answer.protocol.as_str()), ("hunter2", "HTTP/1.0"));
    connection.closed().await;

    let mut connection = sidekey.connect().await;
    let keep_alive =
        format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n{name}: {value}\r\n\r\n");
    for _ in 0..2 {
        let answer = connection.exchange(&keep_alive).await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
    let closing = get(&path, &[TOKEN_HEADER, ("Connection", "close")]);
    assert_eq!(connection.exchange(closing).await.status, 200);
    connection.closed().await;
}

/// The agent closes an idle connection after fifteen ticks of a one-minute timer. It counts ticks,
/// so that a freeze of a day counts as one minute.
#[tokio::test]
async fn idle_connection_is_closed_after_fifteen_ticks() {
    let (_fake, setup) = prepare().await;
    let sidekey = setup.start().await;
    let (mut idle, mut busy) = (sidekey.connect().await, sidekey.connect().await);
    for connection in [&mut idle, &mut busy] {
        assert_eq!(connection.exchange(get("/ping", &[TOKEN_HEADER])).await.status, 200);
    }
    sidekey.advance(Duration::from_secs(24 * 3600));
    assert_eq!(
        idle.exchange(get("/ping", &[TOKEN_HEADER])).await.status,
        200,
        "the connection must stay open during a freeze"
    );
    for _ in 0..20 {
        sidekey.advance(Duration::from_secs(60));
        assert_eq!(busy.exchange(get("/ping", &[TOKEN_HEADER])).await.status, 200);
    }
    idle.closed().await;
}

/// After a stop signal, the agent accepts no new connections, and closes idle connections. It still
/// answers a read that is in progress.
#[tokio::test]
async fn drain_answers_requests_in_progress() {
    let (fake, setup) = prepare().await;
    let gateway = Gateway::start(&fake).await;
    let setup = setup.with("SIDEKEY_ENDPOINT", gateway.url()).without("SIDEKEY_SECRETS");
    let sidekey = setup.clone().start().await;
    gateway.hold();
    let (mut idle, mut waiting) = (sidekey.connect().await, sidekey.connect().await);
    assert_eq!(idle.exchange(get("/ping", &[TOKEN_HEADER])).await.status, 200);
    waiting.send(read_request("app/db")).await;
    eventually("the read waits for AWS", async || (gateway.regions().len() == 1).then_some(()))
        .await;

    let Sidekey { agent, address, .. } = sidekey;
    let draining = tokio::spawn(agent.drain(Duration::from_secs(60)));
    idle.closed().await;
    eventually("the agent accepts no connection", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    assert!(!draining.is_finished(), "the agent must wait for the read before it exits");
    gateway.release();
    let answer = waiting.receive().await;
    assert_eq!((answer.value().as_str(), answer.header("connection")), ("hunter2", Some("close")));
    waiting.closed().await;
    with_timeout("the drain", draining).await.expect("the task must not panic");

    let again = setup.with("SIDEKEY_PORT", address.port()).start().await;
    assert_eq!(again.address, address);
}

/// The agent exits at a time limit after a stop signal, although a read is still waiting.
#[tokio::test]
async fn drain_ends_after_its_limit() {
    let (fake, setup) = prepare().await;
    let gateway = Gateway::start(&fake).await;
    let setup = setup.with("SIDEKEY_ENDPOINT", gateway.url()).without("SIDEKEY_SECRETS");
    let sidekey = setup.start().await;
    gateway.hold();
    let mut waiting = sidekey.connect().await;
    waiting.send(read_request("app/db")).await;
    eventually("the read waits for AWS", async || (gateway.regions().len() == 1).then_some(()))
        .await;
    let Sidekey { agent, address, clock } = sidekey;
    let draining = tokio::spawn(agent.drain(Duration::from_secs(10)));
    eventually("the agent accepts no connection", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    assert!(!draining.is_finished());
    clock.advance(Duration::from_secs(10));
    with_timeout("the drain", draining).await.expect("the task must not panic");
}

/// A client closes its sending direction after its request. The client must still get the response,
/// although the read waits for AWS.
#[tokio::test]
async fn half_closed_client_gets_the_answer_to_a_cold_read() {
    let (fake, setup) = prepare().await;
    let gateway = Gateway::start(&fake).await;
    let setup = setup.with("SIDEKEY_ENDPOINT", gateway.url()).without("SIDEKEY_SECRETS");
    let signed =
        [("X-Amz-Target", "secretsmanager.GetSecretValue"), ("X-Amz-Security-Token", TOKEN)];
    for sent in [read_request("app/db"), request("POST", "/", &signed, r#"{"SecretId":"app/db"}"#)]
    {
        let sidekey = setup.clone().start().await;
        let calls = gateway.regions().len();
        gateway.hold();
        let mut half_closed = sidekey.connect().await;
        half_closed.send(&sent).await;
        half_closed.finish_sending().await;
        eventually("the read waits for AWS", async || {
            (gateway.regions().len() == calls + 1).then_some(())
        })
        .await;
        // A response on another connection shows that the agent has seen the end of the request.
        sidekey.metrics().await;
        gateway.release();
        assert_eq!(half_closed.receive().await.json()["SecretString"], "hunter2", "{sent}");
        half_closed.closed().await;
    }
}

/// After a stop signal, the agent serves all requests until `SIDEKEY_DRAIN_DELAY` has passed. Only
/// `/ready` reports that the agent will stop.
#[tokio::test]
async fn everything_is_served_during_the_drain_delay() {
    let (fake, setup) = prepare().await;
    fake.secrets()
        .create("app/late", "hunter3")
        .expect("the fake AWS server must create the secret");
    let sidekey = setup.start().await;
    let Sidekey { agent, address, clock } = sidekey;
    let delay = Duration::from_secs(20);
    let announcing = tokio::spawn(async move {
        agent.announce_stop(delay).await;
        agent
    });
    let ask = async |path: &str| {
        Connection::open(address).await.exchange(get(path, &[TOKEN_HEADER])).await
    };
    let unready = eventually("the page `/ready` reports that the agent will stop", async || {
        Some(ask("/ready").await).filter(|answer| answer.status == 503)
    })
    .await;
    let expected = r#"{"ready":false,"listed_missing":0,"stopping":true,"missing":[]}"#;
    assert_eq!(unready.text(), expected);
    clock.advance(Duration::from_secs(19));
    for (id, value) in [("app/db", "hunter2"), ("app/late", "hunter3")] {
        assert_eq!(ask(&read_path(id)).await.value(), value);
    }
    assert_eq!(ask("/ping").await.status, 200);
    assert_eq!(ask("/status").await.json()["ready"], false);
    assert!(!announcing.is_finished());
    clock.advance(Duration::from_secs(1));
    let agent = with_timeout("the delay", announcing).await.expect("the task must not panic");
    with_timeout("the drain", agent.drain(Duration::ZERO)).await;
}

/// Another user owns the folder of the Unix socket, or a folder above it. The agent does not start,
/// because this user could replace the socket.
#[tokio::test]
async fn unix_socket_in_another_users_folder_is_refused() {
    const OTHER: u32 = 65_534;
    let (_fake, setup) = prepare().await;
    let folder = TempFolder::new();
    let own = folder.path().join("own");
    fs::create_dir(&own).expect("the test must be able to write the folder");
    fs::set_permissions(&own, Permissions::from_mode(0o700))
        .expect("the folder must belong to the current user");
    if std::os::unix::fs::chown(folder.path(), Some(OTHER), None).is_err() {
        return MissingTool::new("the test needs root to give a folder to another user")
            .skip_or_fail();
    }
    let target = TempFolder::new();
    fs::set_permissions(target.path(), Permissions::from_mode(0o700)).expect("it is this user's");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(target.path(), &link)
        .expect("the test must be able to create the link");
    for path in [folder.path().join("s"), own.join("s"), link.join("s")] {
        let refused = refusal(setup.clone().with("SIDEKEY_SOCKET", path.display())).await;
        let expected = format!(
            "the folder {} belongs to another user (uid {OTHER}); set SIDEKEY_SOCKET to a path in \
             a folder that belongs to the agent's user and has mode 0700",
            folder.path().canonicalize().expect("the folder exists").display()
        );
        assert_eq!(refused.to_string(), expected);
        assert!(!path.exists());
    }
}

/// A second agent on the same port does not start. Its error names the address, and the variable
/// that changes the address.
#[tokio::test]
async fn second_agent_on_a_port_does_not_start() {
    let (_fake, setup) = prepare().await;
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

/// Some of the configured addresses cannot be bound. The agent reports each error, and serves on
/// the other addresses.
#[tokio::test]
async fn bindable_addresses_are_bound_although_others_fail() {
    let (_fake, setup) = prepare().await;
    let first = setup.clone().start().await;
    let folder = TempFolder::new();
    let free = Port::reserve();
    let socket = folder.path().join("s").display().to_string();
    let (taken, blocked) =
        (first.address.to_string(), folder.write("notes", "").display().to_string());
    let free = free.to_string();
    for (port, socket, probes, reported, is_readable) in [
        (&*free, &*blocked, &*taken, &["is not a socket", "SIDEKEY_METRICS_LISTEN"][..], true),
        (&taken[10..], &socket, &taken, &["SIDEKEY_PORT", "SIDEKEY_METRICS_LISTEN"], true),
        (&taken[10..], &blocked, "127.0.0.1:0", &["SIDEKEY_PORT", "is not a socket"], false),
    ] {
        let setup = setup
            .clone()
            .with("SIDEKEY_PORT", port)
            .with("SIDEKEY_SOCKET", socket)
            .with("SIDEKEY_METRICS_LISTEN", probes);
        let (bound, failed) = Listeners::bind_possible(&setup.load().config.listen).await;
        let failed: Vec<String> = failed.iter().map(BindError::to_string).collect();
        assert_eq!(failed.len(), reported.len(), "{failed:?}");
        for (failed, reported) in failed.iter().zip(reported) {
            assert!(failed.contains(reported), "{failed}");
        }
        assert_eq!(bound.can_serve_secrets(), is_readable, "{failed:?}");
        assert_eq!(
            bound.addresses().is_empty(),
            port != free,
            "the agent must listen only if its port is free"
        );
        assert_eq!(bound.metrics_address().is_some(), probes != taken);
    }
}

/// The agent listens on 127.0.0.1 and on ::1, because some clients resolve `localhost` to ::1
/// first.
#[tokio::test]
async fn both_loopback_addresses_are_served() {
    let (_fake, setup) = prepare().await;
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
