//! Parses requests that are plain: `GET` requests without a body, and `POST` requests with a body
//! of a declared length, in the form that almost all clients send.
//!
//! The module has no side effects. hyper (the HTTP library) must parse every other request, which
//! may still be valid.

use super::head::{Head, Headers, is_named};
use hyper::Method;
use std::mem::MaybeUninit;

/// The maximum number of headers of a request that Sidekey parses without hyper (the HTTP library).
const HEADERS_MAX: usize = 48;

/// The memory for the headers of one request, so that the parser allocates no memory.
pub(super) type HeaderSpace<'b> = [MaybeUninit<httparse::Header<'b>>; HEADERS_MAX];

/// A complete HTTP/1.1 request: a `GET` request without a body, or a `POST` request with its body.
#[derive(Debug)]
pub(super) struct PlainRequest<'h, 'b> {
    method: &'static Method,
    path: &'b str,
    query: &'b str,
    request: httparse::Request<'h, 'b>,
    /// Whether the client asks the server to close the connection after the answer.
    pub(super) closes: bool,
    /// The body of a `POST` request. Empty for a `GET` request.
    pub(super) body: &'b [u8],
}

impl<'h, 'b> PlainRequest<'h, 'b> {
    /// Parses `bytes`, which must be exactly one HTTP request. Returns `None` if the request is
    /// incomplete, is not valid, or has an unusual form that only hyper (the HTTP library) parses.
    pub(super) fn parse(bytes: &'b [u8], space: &'h mut HeaderSpace<'b>) -> Option<Self> {
        let mut request = httparse::Request::new(&mut []);
        let Ok(httparse::Status::Complete(head_length)) =
            request.parse_with_uninit_headers(bytes, space)
        else {
            return None;
        };
        let (target, body) = (request.path?, &bytes[head_length..]);
        let method = match request.method? {
            "GET" => &Method::GET,
            "POST" => &Method::POST,
            _ => return None,
        };
        let query_at = find_query(target)?;
        if request.version != Some(1) || !target.starts_with('/') {
            return None;
        }
        let (mut closes, mut declared_length) = (false, None);
        for (name, value) in request.iter() {
            let is = |header: &str| is_named(name.as_bytes(), header);
            match name.len() {
                10 if is("connection") => {
                    closes |= value.eq_ignore_ascii_case(b"close");
                    if !closes && !value.eq_ignore_ascii_case(b"keep-alive") {
                        return None;
                    }
                }
                6 if is("expect") => return None,
                7 if is("upgrade") => return None,
                14 if is("content-length") => {
                    let length = parse_length(value)?;
                    if declared_length.replace(length).is_some() {
                        return None;
                    }
                }
                17 if is("transfer-encoding") => return None,
                _ => {}
            }
        }
        // A `GET` request may declare a body, but almost none does.
        let expected_length = (*method == Method::POST).then_some(body.len());
        if declared_length != expected_length || (expected_length.is_none() && !body.is_empty()) {
            return None;
        }
        let (path, query) = (&target[..query_at], target.get(query_at + 1..).unwrap_or_default());
        Some(Self { method, path, query, request, closes, body })
    }

    pub(super) fn head(&self) -> Head<'_, impl Headers> {
        let Self { method, path, query, request, .. } = self;
        Head { method, authority: None, path, query, headers: request }
    }
}

fn parse_length(value: &[u8]) -> Option<usize> {
    let is_number = value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

/// Returns the position of the first question mark in the URI of a request, or the length of the
/// URI if it has none. Returns `None` if HTTP parsers may disagree about the meaning of a byte.
fn find_query(target: &str) -> Option<usize> {
    /// For each byte: whether all HTTP parsers agree about its meaning in a URI. The table is
    /// faster than a comparison with each special character.
    static IS_PLAIN: [bool; 256] = {
        let mut is_plain = [false; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            is_plain[byte as usize] = !matches!(
                byte,
                b'"' | b'#' | b'<' | b'>' | b'[' | b'\\' | b']' | b'^' | b'`' | b'{' | b'|' | b'}'
            );
            byte += 1;
        }
        is_plain
    };
    let mut query_at = target.len();
    // The loop runs backwards, so that the last question mark that it meets is the first one.
    for (at, byte) in target.bytes().enumerate().rev() {
        if !IS_PLAIN[usize::from(byte)] {
            return None;
        }
        if byte == b'?' {
            query_at = at;
        }
    }
    Some(query_at)
}

impl Headers for httparse::Request<'_, '_> {
    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a request. Returns its path, its query, and whether it closes the connection. Returns
    /// `None` if the request is not valid or has an unusual form.
    fn parse(request: &str) -> Option<(String, String, bool)> {
        let mut space: HeaderSpace<'_> = [const { MaybeUninit::uninit() }; _];
        let request = PlainRequest::parse(request.as_bytes(), &mut space)?;
        let head = request.head();
        Some((head.path.to_owned(), head.query.to_owned(), request.closes))
    }

    #[track_caller]
    fn is_plain(line: &str, headers: &str, expected: (&str, &str, bool)) {
        let (path, query, closes) = parse(&format!("{line}\r\n{headers}\r\n")).expect("plain");
        assert_eq!((&*path, &*query, closes), expected);
    }

    #[test]
    fn usual_reads_are_plain() {
        let read = "GET /secretsmanager/get?secretId=a/b%2Fc HTTP/1.1";
        let (path, query) = ("/secretsmanager/get", "secretId=a/b%2Fc");
        is_plain(read, "", (path, query, false));
        is_plain(read, "Host: localhost\r\nAccept: */*\r\n", (path, query, false));
        is_plain(read, "Connection: close\r\n", (path, query, true));
        is_plain(read, "connection: Keep-Alive\r\n", (path, query, false));
        is_plain("GET /v1/a?b?c HTTP/1.1", "", ("/v1/a", "b?c", false));
    }

    #[test]
    fn post_is_plain_with_its_complete_body_only() {
        let check = |headers: &str, body: &str, expected: Option<&str>| {
            let request = format!("POST / HTTP/1.1\r\n{headers}\r\n{body}");
            let mut space: HeaderSpace<'_> = [const { MaybeUninit::uninit() }; _];
            let parsed = PlainRequest::parse(request.as_bytes(), &mut space);
            let parsed = parsed.map(|request| (request.head().method.clone(), request.body));
            let expected = expected.map(|body| (Method::POST, body.as_bytes()));
            assert_eq!(parsed, expected, "{headers:?}");
        };
        check("content-length: 2\r\n", "{}", Some("{}"));
        check("Content-Length: 002\r\n", "{}", Some("{}"));
        check("content-length: 0\r\n", "", Some(""));
        check("", "", None);
        check("", "{}", None);
        check("content-length: 2\r\n", "{", None);
        check("content-length: 2\r\n", "{} ", None);
        check("content-length: +2\r\n", "{}", None);
        check("content-length: \r\n", "", None);
        check("content-length: 99999999999999999999\r\n", "", None);
        check("content-length: 2\r\ncontent-length: 2\r\n", "{}", None);
        check("transfer-encoding: chunked\r\n", "0\r\n\r\n", None);
    }

    #[test]
    fn unusual_requests_are_not_plain() {
        for request in [
            "PUT /v1/a HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "POST /v1/a HTTP/1.1\r\n\r\n",
            "GET /v1/a HTTP/1.0\r\n\r\n",
            "GET http://localhost/v1/a HTTP/1.1\r\n\r\n",
            "GET /v1/a#b HTTP/1.1\r\n\r\n",
            "GET /v1/\u{e4} HTTP/1.1\r\n\r\n",
            "GET /v1/a HTTP/1.1\r\nhost: localhost\r\n",
            "GET /v1/a HTTP/1.1\r\n\r\nGET",
            "GET /v1/a HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "GET /v1/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /v1/a HTTP/1.1\r\nexpect: 100-continue\r\n\r\n",
            "GET /v1/a HTTP/1.1\r\nupgrade: h2c\r\n\r\n",
            "GET /v1/a HTTP/1.1\r\nconnection: close, te\r\n\r\n",
            "GET /v1/a HTTP/1.1\r\n folded\r\n\r\n",
            "",
        ] {
            assert_eq!(parse(request), None, "{request:?}");
        }
        let many = "x: y\r\n".repeat(HEADERS_MAX + 1);
        assert_eq!(parse(&format!("GET /v1/a HTTP/1.1\r\n{many}\r\n")), None);
    }
}
