//! What stands between an agent and its upstream: a gateway that can hold calls back and sees which
//! region they are for, and an upstream that answers with whatever bytes a test wants.

use fake_aws::Fake;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, io};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Passes calls on to a fake, and answers back. It serves `{region}` as the path that it strips.
#[derive(Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    regions: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Gateway {
    /// Starts an open gateway before a fake.
    pub(crate) async fn before(fake: &Fake) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().expect("a bound socket has an address");
        let (is_open, open) = watch::channel(true);
        let regions = Arc::new(Mutex::new(Vec::new()));
        let seen = regions.clone();
        let upstream = fake.addr();
        let serving = tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, open) = (seen.clone(), open.clone());
                calls.spawn(pass_on(socket, upstream, seen, open));
            }
        });
        Self { address, is_open, regions, serving }
    }

    /// The endpoint of one region.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The endpoint of every region.
    pub(crate) fn url_of_regions(&self) -> String {
        format!("http://{}/{{region}}", self.address)
    }

    /// Keeps every call from here on until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets all calls through.
    pub(crate) fn release(&self) {
        self.is_open.send_replace(true);
    }

    /// Returns the region of each call that came so far, in order.
    pub(crate) fn regions(&self) -> Vec<String> {
        self.regions.lock().expect("no holder panics").clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass_on(
    mut socket: TcpStream,
    upstream: SocketAddr,
    regions: Arc<Mutex<Vec<String>>>,
    mut open: watch::Receiver<bool>,
) -> io::Result<()> {
    let Some(request) = whole_request(&mut socket).await? else { return Ok(()) };
    let (line, rest) = request.split_at(request.iter().position(|b| *b == b'\r').unwrap_or(0));
    let path = String::from_utf8_lossy(line).split(' ').nth(1).unwrap_or_default().to_owned();
    regions.lock().expect("no holder panics").push(path.trim_matches('/').to_owned());
    // An error means that the test is over.
    let _ = open.wait_for(|is_open| *is_open).await;
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.write_all(b"POST / HTTP/1.1\r\nConnection: close").await?;
    upstream.write_all(rest).await?;
    tokio::io::copy(&mut upstream, &mut socket).await?;
    socket.shutdown().await
}

/// What a request, handed over whole, is answered with.
type Answer = dyn Fn(&str) -> Vec<u8> + Send;

/// Answers every call with what a test says, whole and as bytes, and closes.
pub(crate) struct Parrot {
    address: SocketAddr,
    answer: Arc<Mutex<Box<Answer>>>,
    calls: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl fmt::Debug for Parrot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parrot").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Parrot {
    /// Answers with exactly these bytes, head and all, whatever is asked.
    pub(crate) async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::answering(move |_| answer.clone()).await
    }

    /// Answers with a body of AWS's content type.
    pub(crate) async fn saying_json(status: &str, body: &str) -> Self {
        Self::saying(json_answer(status, "application/x-amz-json-1.1", body)).await
    }

    /// Answers each request, handed over whole, with what `answer` returns.
    pub(crate) async fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().expect("a bound socket has an address");
        let calls = Arc::new(AtomicU64::new(0));
        let answer: Arc<Mutex<Box<Answer>>> = Arc::new(Mutex::new(Box::new(answer)));
        let (said, counted) = (answer.clone(), calls.clone());
        let serving = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                if let Ok(Some(request)) = whole_request(&mut socket).await {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let request = String::from_utf8_lossy(&request);
                    let answer = said.lock().expect("no holder panics")(&request);
                    let _ = socket.write_all(&answer).await;
                    let _ = socket.shutdown().await;
                }
            }
        });
        Self { address, answer, calls, serving }
    }

    /// Answers with another body from here on.
    pub(crate) fn say_json(&self, status: &str, body: &str) {
        let answer = json_answer(status, "application/x-amz-json-1.1", body);
        *self.answer.lock().expect("no holder panics") = Box::new(move |_| answer.clone());
    }

    /// The URL to give as an endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns how many calls came so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Writes an answer that closes its connection.
pub(super) fn json_answer(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port")
}

/// Reads one request with its body, or `None` where the connection ends before.
async fn whole_request(socket: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Ok(Some(bytes));
            }
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}
