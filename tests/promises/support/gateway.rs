//! Two servers that tests use instead of AWS: [`Gateway`] forwards and delays calls, and
//! [`CannedUpstream`] returns responses that a test defines.

use fake_aws::Fake;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, io};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A server that forwards calls to a fake AWS server. The first segment of a call's URL path is the
/// AWS region of the call, and is not forwarded.
#[derive(Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    regions: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Gateway {
    /// Starts a gateway that forwards all calls to `fake`, until a test calls [`hold`](Self::hold).
    pub(crate) async fn start(fake: &Fake) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().expect("the bound socket must have an address");
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

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the gateway's endpoint URL with the placeholder `{region}`, so that the gateway can
    /// record the region of each call.
    pub(crate) fn regional_url(&self) -> String {
        format!("http://{}/{{region}}", self.address)
    }

    /// Makes the gateway delay all further calls until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.is_open.send_replace(false);
    }

    /// Forwards the delayed calls and all further calls.
    pub(crate) fn release(&self) {
        self.is_open.send_replace(true);
    }

    /// Returns the AWS regions of all calls so far, in order of arrival.
    pub(crate) fn regions(&self) -> Vec<String> {
        self.regions.lock().expect("no thread may panic while it holds the lock").clone()
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
    let Some(request) = read_request(&mut socket).await? else { return Ok(()) };
    let (line, rest) = request.split_at(request.iter().position(|b| *b == b'\r').unwrap_or(0));
    let path = String::from_utf8_lossy(line).split(' ').nth(1).unwrap_or_default().to_owned();
    regions
        .lock()
        .expect("no thread may panic while it holds the lock")
        .push(path.trim_matches('/').to_owned());
    // An error means that the test has ended.
    let _ = open.wait_for(|is_open| *is_open).await;
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.write_all(b"POST / HTTP/1.1\r\nConnection: close").await?;
    upstream.write_all(rest).await?;
    tokio::io::copy(&mut upstream, &mut socket).await?;
    socket.shutdown().await
}

/// A function that returns the response to a request. Its argument is the complete request.
type Answer = dyn Fn(&str) -> Vec<u8> + Send;

/// A server that returns the responses that a test defines, and closes the connection after each
/// response.
pub(crate) struct CannedUpstream {
    address: SocketAddr,
    answer: Arc<Mutex<Box<Answer>>>,
    calls: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl fmt::Debug for CannedUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CannedUpstream").field("address", &self.address).finish_non_exhaustive()
    }
}

impl CannedUpstream {
    /// Starts a server that answers every request with exactly these bytes, which include the head
    /// of the response.
    pub(crate) async fn with_response(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::with_handler(move |_| answer.clone()).await
    }

    /// Starts a server that answers every request with this HTTP status and JSON body, and with the
    /// content type that AWS uses.
    pub(crate) async fn with_json(status: &str, body: &str) -> Self {
        Self::with_response(json_answer(status, "application/x-amz-json-1.1", body)).await
    }

    /// Starts a server that answers each request with the bytes that the function `answer` returns.
    pub(crate) async fn with_handler(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().expect("the bound socket must have an address");
        let calls = Arc::new(AtomicU64::new(0));
        let answer: Arc<Mutex<Box<Answer>>> = Arc::new(Mutex::new(Box::new(answer)));
        let (shared, counted) = (answer.clone(), calls.clone());
        let serving = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                if let Ok(Some(request)) = read_request(&mut socket).await {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let request = String::from_utf8_lossy(&request);
                    let answer =
                        shared.lock().expect("no thread may panic while it holds the lock")(
                            &request,
                        );
                    let _ = socket.write_all(&answer).await;
                    let _ = socket.shutdown().await;
                }
            }
        });
        Self { address, answer, calls, serving }
    }

    /// Makes the server answer all further requests with this HTTP status and JSON body.
    pub(crate) fn set_json(&self, status: &str, body: &str) {
        let answer = json_answer(status, "application/x-amz-json-1.1", body);
        *self.answer.lock().expect("no thread may panic while it holds the lock") =
            Box::new(move |_| answer.clone());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the number of requests that the server has received.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for CannedUpstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Returns the bytes of an HTTP response, after which the connection is closed.
pub(super) fn json_answer(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("the test must find a free port")
}

/// Reads one request with its body. Returns `None` if the connection closes before the request is
/// complete.
async fn read_request(socket: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
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
