//! Why a connection ends, and the last answer of a connection whose request could not be read.

use super::problem::Problem;
use super::response::Response;
use http_body_util::Either;

/// The maximum size of a request's head (the request line and headers), in bytes. The longest
/// expected header is a session token, which takes up to 4 KiB.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The maximum number of headers of a request.
pub(super) const HEADERS_MAX: usize = 128;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed the connection, an answer contained `Connection: close`, or the agent stops.
    Closed,
    /// hyper (the HTTP library) has answered a read, and the client has sent no further request. The
    /// connection stays open, and the next read may be answered without hyper.
    ReadAnswered,
    /// A request line and its headers are too large, or there are too many headers.
    HeadTooLarge,
    /// A request line or a header is not valid HTTP/1.1.
    HeadUnreadable,
    /// A request line and its headers did not arrive completely in time.
    HeadTooSlow,
    /// The connection was idle for too long, or it sent no request with a valid token in time.
    Idle,
}

impl End {
    /// Returns why hyper (the HTTP library) has ended a connection.
    pub(super) fn of(result: hyper::Result<()>) -> Self {
        match result {
            Err(error) if error.is_parse_too_large() => Self::HeadTooLarge,
            Err(error) if error.is_parse() => Self::HeadUnreadable,
            _ => Self::Closed,
        }
    }
}

/// Returns the error for a request that hyper (the HTTP library) refused as too large. `head` is
/// the part of the request line and headers that has arrived. `headers_max` is the number of
/// headers that hyper allowed.
///
/// Returns `None` if the server must let hyper parse the request again, and allow [`HEADERS_MAX`]
/// headers.
pub(super) fn problem_of_large_head(head: &[u8], headers_max: usize) -> Option<Problem> {
    // The request line is a line too, so a head with more lines has at least `headers_max` headers.
    let lines = head.iter().filter(|byte| **byte == b'\n').count();
    if lines <= headers_max {
        Some(Problem::HeadTooLarge(HEAD_BYTES_MAX))
    } else {
        (headers_max == HEADERS_MAX).then_some(Problem::TooManyHeaders(HEADERS_MAX))
    }
}

/// Converts a response to the bytes of an HTTP/1.1 answer, so that Sidekey can send it without
/// hyper (the HTTP library). The answer contains `connection: close`.
pub(super) fn last_answer(response: Response) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = match body {
        Either::Left(complete) => complete.into_inner().unwrap_or_default(),
        Either::Right(_) => unreachable!("the body of an error is complete in memory"),
    };
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut bytes =
        format!("HTTP/1.1 {} {reason}\r\nconnection: close\r\n", head.status.as_u16()).into_bytes();
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}
