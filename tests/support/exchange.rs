//! Sends one plain HTTP request to a server on this machine and returns the response.
//!
//! ```ignore
//! let answer = exchange::request(port, "GET", "/metrics", &[], b"").await.expect("an answer arrives");
//! assert_eq!(answer.status, 200);
//! ```

#![allow(dead_code, reason = "each test program that includes this file uses only a part of it")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// The maximum time to wait for a response. It exceeds every timeout of the tested functions.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The lines of the response's head, without the status line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the value of the header `name`, which may be in upper or lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Returns the body as text. Replaces invalid UTF-8.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON. Returns a JSON string if the body is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::String(self.text()))
    }
}

/// Sends one HTTP request to 127.0.0.1 on a new connection, and returns the response.
pub(crate) async fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    // HTTP/1.0 forbids chunked responses, and the connection's end marks the end of the response.
    let mut sent = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n");
    for (name, value) in headers {
        sent.push_str(&format!("{name}: {value}\r\n"));
    }
    sent.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let sent = [sent.as_bytes(), body].concat();
    tokio::task::spawn_blocking(move || exchange(port, &sent))
        .await
        .expect("the task must not panic")
}

fn exchange(port: u16, sent: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_WAIT_MAX))?;
    stream.write_all(sent)?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    parse(&received).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

fn parse(received: &[u8]) -> Option<Answer> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&received[..end]);
    let (status_line, head) = text.split_once("\r\n").unwrap_or((&text, ""));
    let status = status_line.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: received[end + 4..].to_vec() })
}
