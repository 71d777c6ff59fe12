//! Why a connection ends, and the last answer on a connection if a request could not be parsed.

use super::problem::Problem;
use super::response::Response;
use http_body_util::Either;

/// The maximum size of a request line and headers, in bytes. The longest expected header is a
/// session token, which takes up to 4 KiB.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The maximum number of headers of a request.
pub(super) const HEADERS_MAX: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed the connection, an answer contained `Connection: close`, or the agent
    /// stops.
    Closed,
    /// hyper (the HTTP library) has answered a read of a secret. The connection stays open, and
    /// Sidekey may answer the next read without hyper.
    ReadAnswered,
    /// The request line and headers of a request are too large, or there are too many headers.
    HeadTooLarge,
    /// The request line or a header of a request is not valid HTTP/1.1.
    HeadUnreadable,
    /// The request line and headers of a request did not arrive completely in time.
    HeadTooSlow,
    /// The connection was idle for too long, or the client sent no valid token in time.
    Idle,
}

impl End {
    pub(super) fn of(result: hyper::Result<()>) -> Self {
        match result {
            Err(error) if error.is_parse_too_large() => Self::HeadTooLarge,
            Err(error) if error.is_parse() => Self::HeadUnreadable,
            _ => Self::Closed,
        }
    }
}

/// Returns the error for a request line and headers (`head`) that hyper (the HTTP library) rejected
/// as too large.
///
/// Returns `None` if hyper must parse the request again with a higher limit: hyper accepted only
/// `headers_max` headers, but a request can have [`HEADERS_MAX`].
pub(super) fn problem_of_large_head(head: &[u8], headers_max: usize) -> Option<Problem> {
    // `lines` also counts the request line, so a head with more lines has at least `headers_max`
    // headers.
    let lines = head.iter().filter(|byte| **byte == b'\n').count();
    if lines <= headers_max {
        Some(Problem::HeadTooLarge(HEAD_BYTES_MAX))
    } else {
        (headers_max == HEADERS_MAX).then_some(Problem::TooManyHeaders(HEADERS_MAX))
    }
}

/// Converts a response to the bytes of an HTTP/1.1 answer with the header `connection: close`, so
/// that Sidekey can send the answer without hyper (the HTTP library).
pub(super) fn last_answer(response: Response) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = match body {
        Either::Left(complete) => complete.into_inner().unwrap_or_default(),
        Either::Right(_) => {
            unreachable!("an error response must not have a streamed body")
        }
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
