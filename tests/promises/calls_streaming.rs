//! Tests that the bodies of calls and of their answers pass piece by piece.

use crate::support::agent::TOKEN_HEADER;
use crate::support::client::{get, request};
use crate::support::program::Program;
use crate::support::scene::{BEARER, KEY, SECRET, Scene, crm, value};
use crate::support::upstream::{Body, Upstream, answer};
use crate::support::{eventually, with_timeout};
use bytes::Bytes;
use futures_util::stream::poll_fn;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::HeaderValue;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Returns an answer whose pieces a test sends one by one.
fn event_stream() -> (mpsc::Sender<&'static str>, Response<Body>) {
    let (pieces, mut received) = mpsc::channel::<&'static str>(1);
    let frame = |piece: &'static str| Ok(Frame::data(Bytes::from_static(piece.as_bytes())));
    let frames = poll_fn(move |cx| received.poll_recv(cx).map(|piece| piece.map(frame)));
    let mut response = Response::new(UnsyncBoxBody::new(StreamBody::new(frames)));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert("content-type", kind);
    (pieces, response)
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let (sent, mut pieces) = mpsc::channel(1);
    let upstream = Upstream::streaming(move |_| {
        let sent = sent.clone();
        async move {
            let (pieces, response) = event_stream();
            sent.send(pieces).await.expect("the test receives");
            response
        }
    })
    .await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    let mut connection = scene.sidekey.connect().await;
    connection.send(get("/to/crm/events", &[TOKEN_HEADER])).await;
    let pieces = pieces.recv().await.expect("the call arrives");
    for event in ["data: one\n\n", "data: sk-\n\n", "data: three\n\n"] {
        pieces.send(event).await.expect("the server sends");
        let received = connection.receive_until(format!("{event}\r\n").as_bytes()).await;
        assert!(received.ends_with(format!("\r\n{event}\r\n").as_bytes()), "one chunk per event");
    }
    drop(pieces);
    connection.receive_until(b"0\r\n\r\n").await;
    assert_eq!(scene.get("/secretsmanager/get?secretId=crm-key/production").await.status, 200);
}

#[tokio::test]
async fn caller_that_goes_away_ends_the_call() {
    for begins in [false, true] {
        let (sent, mut pieces) = mpsc::channel(1);
        let upstream = Upstream::streaming(move |_| {
            let sent = sent.clone();
            async move {
                let (pieces, response) = event_stream();
                sent.send(pieces).await.expect("the test receives");
                if !begins {
                    std::future::pending::<()>().await;
                }
                response
            }
        })
        .await;
        let scene = Scene::start(&crm(&upstream, BEARER)).await;
        let mut connection = scene.sidekey.connect().await;
        connection.send(get("/to/crm/events", &[TOKEN_HEADER])).await;
        let pieces = pieces.recv().await.expect("the call arrives");
        if begins {
            pieces.send("data: one\n\n").await.expect("the server sends");
            connection.receive_until(b"data: one\n\n\r\n").await;
        }
        drop(connection);
        if begins {
            let ended = async { while pieces.send("data: x\n\n").await.is_ok() {} };
            with_timeout("the call ends", ended).await;
        } else {
            eventually("the connection closes", async || {
                (upstream.open_connections() == 0).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn body_of_a_call_arrives_before_it_is_complete() {
    let first = Arc::new(AtomicBool::new(false));
    let seen = first.clone();
    let upstream = Upstream::streaming(move |mut request| {
        let seen = seen.clone();
        async move {
            let mut received = Vec::new();
            while let Some(Ok(frame)) = request.body_mut().frame().await {
                received.extend_from_slice(&frame.into_data().expect("the frame has data"));
                seen.store(true, Ordering::Relaxed);
            }
            answer(200, &[], received)
        }
    })
    .await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    let mut connection = scene.sidekey.connect().await;
    let headers = [TOKEN_HEADER, ("Transfer-Encoding", "chunked")];
    connection.send(request("POST", "/to/crm/upload", &headers, "")).await;
    connection.send("3\r\none\r\n").await;
    eventually("the first piece arrives", async || first.load(Ordering::Relaxed).then_some(()))
        .await;
    connection.send("3\r\ntwo\r\n0\r\n\r\n").await;
    let answer = connection.receive().await;
    assert_eq!((answer.status, answer.text()), (200, "onetwo"));
}

#[tokio::test]
async fn server_that_stops_in_its_answer_ends_the_answer() {
    let (sent, mut pieces) = mpsc::channel(1);
    let upstream = Upstream::streaming(move |_| {
        let sent = sent.clone();
        async move {
            let (pieces, response) = event_stream();
            sent.send(pieces).await.expect("the test receives");
            response
        }
    })
    .await;
    let scene = Scene::start(&crm(&upstream, &format!("{BEARER}\nidle_timeout = \"7s\""))).await;
    let mut connection = scene.sidekey.connect().await;
    connection.send(get("/to/crm/events", &[TOKEN_HEADER])).await;
    let pieces = pieces.recv().await.expect("the call arrives");
    pieces.send("data: one\n\n").await.expect("the server sends");
    connection.receive_until(b"data: one\n\n\r\n").await;
    // The time limit starts when the agent waits for the next piece.
    let ended = async {
        loop {
            scene.clock.advance(Duration::from_secs(8));
            if pieces.is_closed() {
                return;
            }
            crate::clients::pause().await;
            let _ = pieces.try_send("");
        }
    };
    let _ = with_timeout("the answer ends", async {
        tokio::select! { () = ended => {}, left = connection.try_receive() => assert_eq!(left, None) }
    })
    .await;
}

/// Callers that send calls during a rotation never see that the old key is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_sees_a_rotation() {
    let valid = Arc::new(Mutex::new(KEY.to_owned()));
    let checked = valid.clone();
    let upstream = Upstream::start(move |seen| {
        let key = checked.lock().expect("no thread may panic while it holds the lock").clone();
        match seen.header("authorization") == Some(&*format!("Bearer {key}")) {
            true => answer(200, &[], "fine"),
            false => answer(401, &[], "wrong key"),
        }
    })
    .await;
    let scene = Arc::new(Scene::start(&crm(&upstream, BEARER)).await);
    assert_eq!(scene.get("/to/crm/x").await.status, 200);
    let (made, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (scene, made, is_over) = (scene.clone(), made.clone(), is_over.clone());
        callers.spawn(async move {
            let mut connection = scene.sidekey.connect().await;
            let call = request("POST", "/to/crm/x", &[TOKEN_HEADER], "body");
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(connection.exchange(&call).await.status, 200);
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 0..3 {
        let before = made.load(Ordering::Relaxed);
        let enough = async || (made.load(Ordering::Relaxed) > before + 100).then_some(());
        eventually("calls are made", enough).await;
        let new = format!("sk-crm-{round:016}");
        scene.fake.secrets().put(SECRET, value(&new)).expect("the secret exists");
        *valid.lock().expect("no thread may panic while it holds the lock") = new;
        scene.clock.advance(Duration::from_secs(2));
        let after = made.load(Ordering::Relaxed);
        let enough = async || {
            scene.clock.advance(Duration::from_millis(100));
            (made.load(Ordering::Relaxed) > after + 100).then_some(())
        };
        eventually("calls are made after the rotation", enough).await;
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.expect("no caller may see another status than 200");
    }
}

/// The size of each large body, in bytes.
const LARGE_BYTES: usize = 1024 * 1024 * 1024;

/// The memory by which the agent may grow while large bodies pass, in KiB.
const GROWTH_KIB_MAX: u64 = 4 * 1024;

/// Returns the highest resident memory of a process so far, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the process must still run");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.expect("the kernel must report the memory of the process")
}

/// Large bodies pass in both directions, and take no more memory than small bodies.
#[tokio::test]
async fn large_bodies_take_constant_memory() {
    let upstream = Upstream::streaming(|mut request| async move {
        let mut received = 0;
        while let Some(Ok(frame)) = request.body_mut().frame().await {
            received += frame.data_ref().map_or(0, Bytes::len);
        }
        let piece = Bytes::from(vec![b'y'; 64 * 1024]);
        let mut left = received / piece.len();
        let frames = poll_fn(move |_| {
            let next = left.checked_sub(1);
            left = next.unwrap_or_default();
            std::task::Poll::Ready(next.map(|_| Ok(Frame::data(piece.clone()))))
        });
        Response::new(UnsyncBoxBody::new(StreamBody::new(frames)))
    })
    .await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    let mut vars = scene.vars.clone();
    vars.insert("SIDEKEY_UPSTREAM_TIMEOUT".to_owned(), "1m".to_owned());
    let program = Program::start(&["serve"], &vars);
    let address = program.address().await;
    let transfer = async |bytes: usize| {
        let mut socket = TcpStream::connect(address).await.expect("the agent accepts");
        let head = format!(
            "POST /to/crm/x HTTP/1.1\r\nHost: localhost\r\n{}: {}\r\nConnection: close\r\n\
             Content-Length: {bytes}\r\n\r\n",
            TOKEN_HEADER.0, TOKEN_HEADER.1
        );
        socket.write_all(head.as_bytes()).await.expect("the agent reads");
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..bytes / piece.len() {
            socket.write_all(&piece).await.expect("the agent reads");
        }
        let (mut received, mut buffer) = (0, vec![0; 64 * 1024]);
        loop {
            match socket.read(&mut buffer).await.expect("the agent sends") {
                0 => return received,
                bytes => received += bytes,
            }
        }
    };
    let small = with_timeout("a small body", transfer(1024 * 1024)).await;
    assert!(small >= 1024 * 1024, "{small} bytes arrived");
    let before = peak_kib(program.id());
    let large = with_timeout("a large body", transfer(LARGE_BYTES)).await;
    assert!(large >= LARGE_BYTES, "{large} bytes arrived");
    let grown = peak_kib(program.id()) - before;
    assert!(grown < GROWTH_KIB_MAX, "the agent took {grown} KiB more for a large body");
}
