//! HTTP as bytes: what is sent is what the test wrote, what comes back is parsed and nothing more.

use super::soon;
use serde_json::Value;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The protocol as the status line names it.
    pub(crate) protocol: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns a header's value; the case of its name does not matter.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// Returns how the answer says that it came about.
    #[track_caller]
    pub(crate) fn cache(&self) -> &str {
        self.header("x-sidekey-cache").unwrap_or("no such header")
    }

    /// Returns the body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns the value in an answer of the agent's dialect.
    #[track_caller]
    pub(crate) fn value(&self) -> String {
        let json = self.json();
        assert_eq!(self.status, 200, "{json}");
        json["SecretString"].as_str().expect("a text").to_owned()
    }

    /// Returns the type in a JSON error.
    #[track_caller]
    pub(crate) fn kind(&self) -> String {
        self.json()["__type"].as_str().expect("an error has a type").to_owned()
    }

    fn parse(received: &mut Vec<u8>) -> Option<Self> {
        let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&received[..end]).expect("a head of text");
        let mut lines = head.split("\r\n");
        let mut status_line = lines.next().unwrap_or_default().split(' ');
        let protocol = status_line.next().unwrap_or_default().to_owned();
        let status = status_line.next().and_then(|text| text.parse().ok()).expect("a status");
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').expect("a header has a colon"))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Self { status, protocol, headers, body: Vec::new() };
        assert_eq!(answer.header("transfer-encoding"), None, "answers are never chunked");
        let length = match (status, answer.header("content-length")) {
            (304, _) | (_, None) => 0,
            (_, Some(length)) => length.parse().expect("a length is a number"),
        };
        let whole = end + 4 + length;
        if received.len() < whole {
            return None;
        }
        answer.body = received[end + 4..whole].to_vec();
        received.drain(..whole);
        Some(answer)
    }
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// One connection.
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
        let socket = soon("a connection", TcpStream::connect(address)).await;
        Self::of(socket.expect("somebody listens"))
    }

    pub(crate) fn of(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("a socket that is open");
        Self { socket: Box::new(socket), received: Vec::new() }
    }

    pub(crate) async fn open_socket(path: &Path) -> Self {
        let socket = soon("a connection", UnixStream::connect(path)).await;
        Self { socket: Box::new(socket.expect("somebody listens")), received: Vec::new() }
    }

    /// Sends exactly these bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("somebody reads");
    }

    /// Sends these bytes, or fails if the peer closes the connection.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon("sending", self.socket.write_all(bytes.as_ref())).await
    }

    /// Receives one answer. What comes after it stays for the next call.
    pub(crate) async fn receive(&mut self) -> Answer {
        self.try_receive().await.expect("an answer before the connection ends")
    }

    /// Receives one answer, or `None` where the connection ends before there is one.
    pub(crate) async fn try_receive(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = Answer::parse(&mut self.received) {
                return Some(answer);
            }
            match soon("an answer", self.socket.read_buf(&mut self.received)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Sends a request and receives its answer.
    pub(crate) async fn exchange(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).await;
        self.receive().await
    }

    /// Waits until the peer closes, and checks that it sends nothing before.
    pub(crate) async fn closed(&mut self) {
        let left = self.try_receive().await;
        assert_eq!(left, None, "nothing more was to come");
        assert_eq!(self.received, b"", "nothing more was to come");
    }
}

/// Writes a GET with these headers. `Host` is this machine unless they say otherwise.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> String {
    request("GET", path, headers, "")
}

/// Writes a request.
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
