//! Tests of the agent's connections to Secrets Manager. Calls that follow each other share one
//! connection, which the agent soon closes.

use crate::support::agent::{Setup, Sidekey};
use crate::support::clock::ManualClock;
use crate::support::relay::Relay;
use crate::support::{eventually, fake, with_timeout};
use fake_aws::Fake;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A duration after which the agent has closed an idle connection to AWS.
const LATER: Duration = Duration::from_secs(2);

/// An agent, and a relay that counts the agent's connections to a fake AWS server.
struct Counted {
    clock: Arc<ManualClock>,
    _fake: Fake,
    relay: Relay,
    sidekey: Sidekey,
}

impl Counted {
    async fn start(names: &[&str]) -> Self {
        let clock = ManualClock::new();
        let fake = fake(&clock).await;
        for name in names {
            fake.secrets()
                .create(name, "value")
                .expect("the fake AWS server must create the secret");
        }
        let relay = Relay::to(fake.addr()).await;
        let sidekey =
            Setup::for_endpoint(&format!("http://{}", relay.address), &clock).start().await;
        Self { clock, _fake: fake, relay, sidekey }
    }

    async fn read(&self, name: &str) {
        let answer = self.sidekey.read(name).await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("value", "miss"), "{name}");
    }
}

/// Two reads share one connection to AWS. After a pause, the agent closes the connection, and the
/// next read opens a new connection.
#[tokio::test]
async fn burst_of_calls_shares_one_connection() {
    let run = Counted::start(&["a", "b", "c"]).await;
    run.read("a").await;
    run.read("b").await;
    assert_eq!((run.relay.opened(), run.relay.closed()), (1, 0));
    run.clock.advance(LATER);
    eventually("the idle connection is closed", async || (run.relay.closed() == 1).then_some(()))
        .await;
    run.read("c").await;
    assert_eq!(run.relay.opened(), 2);
}

/// A frozen process cannot close an idle connection in time. Afterwards, the wall clock tells the
/// agent that the connection is too old.
#[tokio::test]
async fn connection_that_was_frozen_is_not_reused() {
    let run = Counted::start(&["a", "b"]).await;
    run.read("a").await;
    run.clock.advance_wall(LATER);
    run.read("b").await;
    assert_eq!(run.relay.opened(), 2);
}

/// Reads one HTTP request of the agent, with its head and its body.
async fn take_call(upstream: &mut TcpStream) {
    let mut call = Vec::new();
    while !call.ends_with(b"}") {
        assert_ne!(
            upstream.read_buf(&mut call).await.expect("the server must be able to read the call"),
            0,
            "the request of the agent must be complete"
        );
    }
}

async fn answer(upstream: &mut TcpStream, name: &str) {
    send(upstream, &response(name, "value")).await;
}

async fn send(upstream: &mut TcpStream, response: &str) {
    upstream.write_all(response.as_bytes()).await.expect("the peer reads");
}

/// Returns AWS's HTTP response to a read of the secret `name`.
fn response(name: &str, value: &str) -> String {
    let body = format!(
        "{{\"ARN\":\"arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-AbCdEf\",\
         \"Name\":\"{name}\",\"VersionId\":\"EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE\",\
         \"SecretString\":\"{value}\",\"VersionStages\":[\"AWSCURRENT\"]}}"
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    head + &body
}

/// AWS closes the connection after each response. The next read opens a new connection and
/// succeeds.
#[tokio::test]
async fn connection_closed_while_idle_is_not_a_failure() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("the test must find a free port");
    let endpoint =
        format!("http://{}", upstream.local_addr().expect("the socket must have an address"));
    let sidekey = Setup::for_endpoint(&endpoint, &ManualClock::new()).start().await;
    for name in ["a", "b"] {
        let upstream = async {
            let (mut connection, _) = upstream.accept().await.expect("the connection must open");
            take_call(&mut connection).await;
            answer(&mut connection, name).await;
        };
        let reads = async { assert_eq!(sidekey.read(name).await.value(), "value") };
        with_timeout("an answer", async { tokio::join!(upstream, reads) }).await;
    }
}

/// A server sends a second response without a request. The agent closes the connection, and never
/// uses this response.
#[tokio::test]
async fn unasked_answer_is_never_used() {
    for is_together in [true, false] {
        let upstream =
            TcpListener::bind("127.0.0.1:0").await.expect("the test must find a free port");
        let endpoint =
            format!("http://{}", upstream.local_addr().expect("the socket must have an address"));
        let sidekey = Setup::for_endpoint(&endpoint, &ManualClock::new()).start().await;
        let unasked = response("b", "unasked");
        let (mut first, ()) = with_timeout("the first answer", async {
            tokio::join!(
                async {
                    let (mut first, _) = upstream.accept().await.expect("the connection must open");
                    take_call(&mut first).await;
                    let extra = if is_together { &*unasked } else { "" };
                    send(&mut first, &(response("a", "value") + extra)).await;
                    first
                },
                async { assert_eq!(sidekey.read("a").await.value(), "value") },
            )
        })
        .await;
        if !is_together {
            send(&mut first, &unasked).await;
        }
        let second = async {
            let (mut second, _) =
                upstream.accept().await.expect("the agent must open another connection");
            take_call(&mut second).await;
            answer(&mut second, "b").await;
        };
        let reads = async { assert_eq!(sidekey.read("b").await.value(), "value", "{is_together}") };
        with_timeout("the second answer", async { tokio::join!(second, reads) }).await;
    }
}

/// A connection breaks during a call to AWS. The agent does not repeat the call, because AWS may
/// have processed it.
#[tokio::test]
async fn lost_call_is_not_repeated() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("the test must find a free port");
    let endpoint =
        format!("http://{}", upstream.local_addr().expect("the socket must have an address"));
    let sidekey = Setup::for_endpoint(&endpoint, &ManualClock::new()).start().await;
    let upstream = async {
        let (mut connection, _) = upstream.accept().await.expect("the connection must open");
        take_call(&mut connection).await;
        answer(&mut connection, "a").await;
        take_call(&mut connection).await;
    };
    let readers = async {
        assert_eq!(sidekey.read("a").await.value(), "value");
        let lost = sidekey.read("b").await;
        assert_eq!((lost.status, lost.kind().as_str()), (502, "ConnectionError"));
    };
    with_timeout("the agent answers both reads", async { tokio::join!(upstream, readers) }).await;
}

/// A server accepts connections and closes them at once. Reads fail without waiting for the timeout
/// of a call.
#[tokio::test]
async fn immediately_closed_connections_fail_at_once() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("the test must find a free port");
    let endpoint =
        format!("http://{}", upstream.local_addr().expect("the socket must have an address"));
    let sidekey = Setup::for_endpoint(&endpoint, &ManualClock::new()).start().await;
    let closing = async {
        loop {
            drop(upstream.accept().await.expect("the connection must open"));
        }
    };
    let readers = async {
        for name in ["a", "b", "c", "d"] {
            let answer = sidekey.read(name).await;
            assert_eq!((answer.status, answer.kind().as_str()), (502, "ConnectionError"));
        }
    };
    let reported = async {
        tokio::select! {
            () = readers => {}
            () = closing => {}
        }
    };
    with_timeout("all reads fail", reported).await;
}

/// AWS sends a response that never ends. The agent closes the connection before the response fills
/// its memory.
#[tokio::test]
async fn endless_answer_is_cut_off() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("the test must find a free port");
    let endpoint =
        format!("http://{}", upstream.local_addr().expect("the socket must have an address"));
    let sidekey = Setup::for_endpoint(&endpoint, &ManualClock::new()).start().await;
    let upstream = async {
        let (mut first, _) = upstream.accept().await.expect("the connection must open");
        take_call(&mut first).await;
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        first.write_all(head).await.expect("the peer reads");
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        while first.write_all(&chunk).await.is_ok() {}
    };
    let (answer, ()) = with_timeout("the agent ends the call", async {
        tokio::join!(sidekey.read("a"), upstream)
    })
    .await;
    assert_eq!((answer.status, answer.kind().as_str()), (502, "ConnectionError"));
}
