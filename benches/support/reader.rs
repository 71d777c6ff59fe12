//! A reader: one kept connection, one read after another.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its head and body.
    pub(crate) bytes: Vec<u8>,
}

/// Returns the request for a secret, as the clients of AWS's agents send it.
pub(crate) fn request(name: &str, token: &str) -> Vec<u8> {
    format!(
        "GET /secretsmanager/get?secretId={name} HTTP/1.1\r\nhost: localhost\r\n\
         x-aws-parameters-secrets-token: {token}\r\n\r\n"
    )
    .into_bytes()
}

/// Reads one secret on a kept connection.
///
/// # Errors
///
/// Where the connection breaks, or what comes is no answer.
pub(crate) fn read(socket: &mut TcpStream, name: &str, token: &str) -> io::Result<Answer> {
    socket.set_nodelay(true)?;
    socket.write_all(&request(name, token))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while whole(&bytes).is_none_or(|len| bytes.len() < len) {
        match socket.read(&mut buffer)? {
            0 => return Err(io::Error::other("the connection was closed within an answer")),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
    let status = bytes.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no answer of HTTP"))?;
    Ok(Answer { status, bytes })
}

/// Reads one secret and expects its value, which holds its name.
///
/// # Errors
///
/// As [`read`], and where the answer is another.
pub(crate) fn read_value(socket: &mut TcpStream, name: &str, token: &str) -> io::Result<()> {
    let answer = read(socket, name, token)?;
    let is_value = answer.bytes.windows(name.len()).any(|part| part == name.as_bytes());
    if answer.status != 200 || !is_value {
        return Err(io::Error::other(String::from_utf8_lossy(&answer.bytes).into_owned()));
    }
    Ok(())
}

/// Returns how long an answer is, once its head is there.
pub(crate) fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let text = str::from_utf8(&bytes[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some(head + length.unwrap_or(0))
}
