//! A reader, which sends one read after another on an open connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head and the body of the response.
    pub(crate) bytes: Vec<u8>,
}

/// Returns the HTTP request that reads a secret from Sidekey or from one of AWS's agents.
pub(crate) fn request(name: &str, token: &str) -> Vec<u8> {
    format!(
        "GET /secretsmanager/get?secretId={name} HTTP/1.1\r\nhost: localhost\r\n\
         x-aws-parameters-secrets-token: {token}\r\n\r\n"
    )
    .into_bytes()
}

/// Reads one secret on an open connection.
///
/// # Errors
///
/// If the connection breaks, or the response is not valid HTTP.
pub(crate) fn read(socket: &mut TcpStream, name: &str, token: &str) -> io::Result<Answer> {
    socket.set_nodelay(true)?;
    socket.write_all(&request(name, token))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while response_length(&bytes).is_none_or(|len| bytes.len() < len) {
        match socket.read(&mut buffer)? {
            0 => {
                return Err(io::Error::other(
                    "the program closed the connection before the response was complete",
                ));
            }
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
    let status = bytes.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the response is not HTTP"))?;
    Ok(Answer { status, bytes })
}

/// Reads one secret, and checks that the response contains the name of the secret. The values of
/// all secrets contain their names.
///
/// # Errors
///
/// If the connection breaks, or the response is invalid.
pub(crate) fn read_value(socket: &mut TcpStream, name: &str, token: &str) -> io::Result<()> {
    let answer = read(socket, name, token)?;
    let is_value = answer.bytes.windows(name.len()).any(|part| part == name.as_bytes());
    if answer.status != 200 || !is_value {
        return Err(io::Error::other(String::from_utf8_lossy(&answer.bytes).into_owned()));
    }
    Ok(())
}

/// Returns the length of a response in bytes, or `None` if its head is not complete yet.
pub(crate) fn response_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let text = str::from_utf8(&bytes[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some(head + length.unwrap_or(0))
}
