//! An HTTP client for tests. Requests are sent exactly as the test wrote them.

use super::with_timeout;
use serde_json::Value;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Whether a body follows the head of an HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HasBody {
    /// A body follows, whose length is in the `Content-Length` header.
    ByLength,
    /// No body follows, because the response answers a HEAD request.
    Never,
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The protocol version in the status line, for example `HTTP/1.1`.
    pub(crate) protocol: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the value of the header `name`, which may be in upper or lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// Returns the value of the header `X-Sidekey-Cache`, for example `hit` or `miss`.
    #[track_caller]
    pub(crate) fn cache(&self) -> &str {
        self.header("x-sidekey-cache").unwrap_or("no such header")
    }

    /// Returns the body as text. Panics if the body is not UTF-8.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// Returns the body as JSON. Panics if the body is not JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| {
            panic!("the body is not JSON: {}", String::from_utf8_lossy(&self.body))
        })
    }

    /// Returns the body as JSON, or `None` if the body is not JSON.
    pub(crate) fn try_json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the member `SecretString` of the JSON body.
    #[track_caller]
    pub(crate) fn value(&self) -> String {
        let json = self.json();
        assert_eq!(self.status, 200, "{json}");
        json["SecretString"].as_str().expect("the JSON value must be a string").to_owned()
    }

    /// Returns the member `__type` of the JSON body, which is the type of an error.
    #[track_caller]
    pub(crate) fn kind(&self) -> String {
        self.json()["__type"]
            .as_str()
            .expect("the error must contain the member `__type`")
            .to_owned()
    }

    fn parse(received: &mut Vec<u8>, has_body: HasBody) -> Option<Self> {
        let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&received[..end]).expect("the head is UTF-8");
        let mut lines = head.split("\r\n");
        let mut status_line = lines.next().unwrap_or_default().split(' ');
        let protocol = status_line.next().unwrap_or_default().to_owned();
        let status = status_line
            .next()
            .and_then(|text| text.parse().ok())
            .expect("the first line of a response must contain a status");
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').expect("every header line must contain a colon"))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Self { status, protocol, headers, body: Vec::new() };
        assert_eq!(
            answer.header("transfer-encoding"),
            None,
            "Sidekey must not send a chunked response"
        );
        let length = match (status, answer.header("content-length")) {
            (304, _) | (_, None) => 0,
            _ if has_body == HasBody::Never => 0,
            (_, Some(length)) => {
                length.parse().expect("the header `Content-Length` must be a number")
            }
        };
        let total = end + 4 + length;
        if received.len() < total {
            return None;
        }
        answer.body = received[end + 4..total].to_vec();
        received.drain(..total);
        Some(answer)
    }
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A client connection to an agent, over TCP or a Unix socket.
pub(crate) struct Connection {
    socket: Box<dyn Socket>,
    received: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let socket = with_timeout("a connection", TcpStream::connect(address)).await;
        Self::from_socket(socket.expect("the server must accept the connection"))
    }

    pub(crate) fn from_socket(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("the connection must be open");
        Self { socket: Box::new(socket), received: Vec::new() }
    }

    pub(crate) async fn open_socket(path: &Path) -> Self {
        let socket = with_timeout("a connection", UnixStream::connect(path)).await;
        Self {
            socket: Box::new(socket.expect("the server must accept the connection")),
            received: Vec::new(),
        }
    }

    /// Sends these bytes without a change. Panics if the agent has closed the connection.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the peer reads");
    }

    /// Sends these bytes. Returns an error if the agent has closed the connection.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        with_timeout("sending", self.socket.write_all(bytes.as_ref())).await
    }

    /// Closes the sending direction of the connection. The connection can still receive.
    pub(crate) async fn finish_sending(&mut self) {
        with_timeout("shutdown", self.socket.shutdown())
            .await
            .expect("the connection must be open");
    }

    /// Closes the sending direction of the connection, unless the agent has closed the connection.
    pub(crate) async fn try_finish_sending(&mut self) {
        let _ = with_timeout("shutdown", self.socket.shutdown()).await;
    }

    /// Receives one response. Bytes that follow the response are kept for the next call of this
    /// function.
    pub(crate) async fn receive(&mut self) -> Answer {
        self.try_receive().await.expect("the response must arrive before the connection closes")
    }

    /// Receives one response, or returns `None` if the connection closes before the response is
    /// complete.
    pub(crate) async fn try_receive(&mut self) -> Option<Answer> {
        self.receive_any(HasBody::ByLength).await
    }

    /// Receives the response to a HEAD request. Such a response has no body.
    pub(crate) async fn receive_head(&mut self) -> Answer {
        let answer = self.receive_any(HasBody::Never).await;
        answer.expect("the response must arrive before the connection closes")
    }

    async fn receive_any(&mut self, has_body: HasBody) -> Option<Answer> {
        loop {
            if let Some(answer) = Answer::parse(&mut self.received, has_body) {
                return Some(answer);
            }
            match with_timeout("an answer", self.socket.read_buf(&mut self.received)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Receives bytes until the received bytes end in `end`, and returns all received bytes.
    pub(crate) async fn receive_until(&mut self, end: &[u8]) -> Vec<u8> {
        while !self.received.ends_with(end) {
            let read = with_timeout("more bytes", self.socket.read_buf(&mut self.received)).await;
            assert!(read.is_ok_and(|bytes| bytes > 0), "the connection ended too early");
        }
        std::mem::take(&mut self.received)
    }

    pub(crate) async fn exchange(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).await;
        self.receive().await
    }

    /// Waits until the agent closes the connection. Panics if the agent sends any bytes before.
    pub(crate) async fn closed(&mut self) {
        let left = self.try_receive().await;
        assert_eq!(left, None, "the agent must close the connection without a further response");
        assert_eq!(
            self.received, b"",
            "the agent must close the connection without sending further bytes"
        );
    }
}

/// Builds a GET request. The `Host` header is `localhost` unless `headers` contains another value.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> String {
    request("GET", path, headers, "")
}

/// Builds an HTTP/1.1 request. Adds `Host` and `Content-Length` if they are needed.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}
