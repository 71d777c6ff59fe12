//! Builds HTTP responses: their bodies, content types, and headers about secrets.

use super::date::http_date;
use crate::cache::{How, Served};
use crate::secret::value::SecretValue;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full};
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use std::convert::Infallible;
use std::time::SystemTime;

pub(crate) type Response = hyper::Response<ResponseBody>;

/// The body of a response. The body is either complete in memory, or streamed: created in pieces
/// while the caller reads it.
pub(crate) type ResponseBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BrokenAnswer>>;

/// The error of a body that cannot be completed. The server then closes the connection, so that the
/// caller does not take the incomplete body for complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be completed")]
pub(crate) struct BrokenAnswer;

pub(super) const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// The value of the `Content-Type` header for JSON, except for answers of the AWS API.
pub(super) const JSON: &str = "application/json";

/// The value of the `Content-Type` header for JSON in answers of the AWS API. The AWS SDKs accept
/// no other value.
pub(super) const AWS_JSON: &str = "application/x-amz-json-1.1";

/// The value of the `Cache-Control` header that forbids HTTP caches to store the answer.
const NO_STORE: &str = "no-store";

/// The header that says how Sidekey's cache answered: `hit`, `miss`, `stale` or `refreshed`.
const CACHE: HeaderName = HeaderName::from_static("x-sidekey-cache");

/// The header with the AWS region of the replica that the answer comes from. Sidekey sends the header
/// only if the region of the secret itself failed.
const REGION: HeaderName = HeaderName::from_static("x-sidekey-region");

/// The header with problem codes. Sidekey sends it if the secret's value breaks the rules that the
/// configuration sets for the secret's name.
const PROBLEM: HeaderName = HeaderName::from_static("x-sidekey-problem");

/// Builds a response with a body that contains no secret.
pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Builds a response with a JSON body that contains no secret.
///
/// # Panics
///
/// Panics if the body cannot be converted to JSON. Structs, lists, strings and numbers can always
/// be converted.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body =
        serde_json::to_vec(body).expect("the body of a response must be serializable as JSON");
    with_body(status, JSON, body.into())
}

pub(super) fn without_body(status: StatusCode) -> Response {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

/// Builds a response whose body contains a secret.
pub(super) fn secret(content_type: &'static str, body: &SecretValue) -> Response {
    let mut response = with_body(StatusCode::OK, content_type, body.share());
    set_no_store(response.headers_mut());
    response
}

/// Builds a response with a streamed JSON body that contains secrets. `body` creates the JSON while
/// the caller reads it, so that a large body is never complete in memory.
pub(super) fn secret_pieces(
    body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static,
) -> Response {
    let body = body.map_err(|never| match never {});
    let mut response = Response::new(Either::Right(UnsyncBoxBody::new(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    set_no_store(response.headers_mut());
    response
}

/// Forbids HTTP caches to store the response, with `Cache-Control: no-store`.
pub(super) fn set_no_store(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(NO_STORE));
}

/// The answer to a successful read of one secret, before it becomes an HTTP response.
#[derive(Debug)]
pub(super) struct SecretAnswer {
    served: Served,
    /// The content type and the body. `None` if the caller already has this version of the secret,
    /// so that the answer has status 304 and no body.
    content: Option<(&'static str, SecretValue)>,
}

/// The name of a header, once for hyper (the HTTP library), and once as the text that Sidekey's own
/// code writes: a line break, the name, a colon and a space.
struct Named {
    name: HeaderName,
    line: &'static str,
}

static ETAG_LINE: Named = Named { name: ETAG, line: "\r\netag: " };
static AGE_LINE: Named = Named { name: AGE, line: "\r\nage: " };
static CACHE_LINE: Named = Named { name: CACHE, line: "\r\nx-sidekey-cache: " };
static REGION_LINE: Named = Named { name: REGION, line: "\r\nx-sidekey-region: " };
static PROBLEM_LINE: Named = Named { name: PROBLEM, line: "\r\nx-sidekey-problem: " };

/// The value of a header that describes a secret.
enum EntryHeader<'a> {
    Fixed(&'static str),
    Shared(&'a Bytes),
    Number(u64),
}

impl SecretAnswer {
    pub(super) fn with_body(served: Served, content_type: &'static str, body: SecretValue) -> Self {
        Self { served, content: Some((content_type, body)) }
    }

    /// Creates the answer with status 304, for a caller that already has the current version of the
    /// secret.
    pub(super) fn not_modified(served: Served) -> Self {
        Self { served, content: None }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = match &self.content {
            Some((content_type, body)) => secret(content_type, body),
            None => {
                let mut response = without_body(StatusCode::NOT_MODIFIED);
                set_no_store(response.headers_mut());
                response
            }
        };
        set_entry_headers(response.headers_mut(), &self.served);
        response
    }

    /// Writes the status line and headers of the answer as HTTP/1.1, with the same bytes as hyper
    /// (the HTTP library) writes.
    ///
    /// If `closes` is set, the headers say that the server closes the connection.
    pub(super) fn write_head(&self, to: &mut Vec<u8>, closes: bool, now: SystemTime) {
        let mut number = itoa::Buffer::new();
        let mut write = |line: &str, value: &[u8]| {
            to.extend_from_slice(line.as_bytes());
            to.extend_from_slice(value);
        };
        match &self.content {
            Some((content_type, _)) => {
                write("HTTP/1.1 200 OK\r\ncontent-type: ", content_type.as_bytes());
            }
            None => write("HTTP/1.1 304 Not Modified", b""),
        }
        write("\r\ncache-control: ", NO_STORE.as_bytes());
        visit_entry_headers(&self.served, |header, value| match value {
            EntryHeader::Fixed(text) => write(header.line, text.as_bytes()),
            EntryHeader::Shared(text) => write(header.line, text),
            EntryHeader::Number(value) => write(header.line, number.format(value).as_bytes()),
        });
        if closes {
            write("\r\nconnection: ", b"close");
        }
        if let Some((_, body)) = &self.content {
            write("\r\ncontent-length: ", number.format(body.len()).as_bytes());
        }
        write("\r\ndate: ", &http_date(now));
        write("\r\n\r\n", b"");
    }

    pub(super) fn into_body(self) -> Bytes {
        self.content.map_or_else(Bytes::new, |(_, body)| body.share())
    }
}

/// Sets the headers that describe a secret, such as its age in the cache.
pub(super) fn set_entry_headers(headers: &mut HeaderMap, served: &Served) {
    visit_entry_headers(served, |header, value| {
        let value = match value {
            EntryHeader::Fixed(text) => Ok(HeaderValue::from_static(text)),
            EntryHeader::Shared(text) => HeaderValue::from_maybe_shared(text.clone()),
            EntryHeader::Number(number) => Ok(HeaderValue::from(number)),
        };
        let value = value.expect("an entity tag or problem code must be a valid header value");
        headers.insert(header.name.clone(), value);
    });
}

/// Calls `visit` with the name and the value of each header that describes a secret:
///
/// - the entity tag of the secret's version
/// - the secret's age in the cache
/// - how the cache answered (such as `hit`)
/// - the AWS region of the replica that the secret comes from, if it comes from a replica
/// - problem codes, if the secret's value breaks the rules for the secret's name
/// - whether the query parameter `refreshNow` had no effect
fn visit_entry_headers(served: &Served, mut visit: impl FnMut(&Named, EntryHeader<'_>)) {
    let Served { entry, how, age } = served;
    if !entry.etag.is_empty() {
        visit(&ETAG_LINE, EntryHeader::Shared(&entry.etag));
    }
    visit(&AGE_LINE, EntryHeader::Number(age.as_secs()));
    visit(&CACHE_LINE, EntryHeader::Fixed(cache_label(*how)));
    if let Some(region) = &entry.replica_region {
        visit(&REGION_LINE, EntryHeader::Shared(region));
    }
    if let Some(malformed) = &entry.malformed {
        visit(&PROBLEM_LINE, EntryHeader::Shared(malformed.header()));
    }
}

/// Returns the word that tells the caller how the cache answered: `hit`, `miss`, `stale` or
/// `refreshed`.
pub(super) fn cache_label(how: How) -> &'static str {
    match how {
        How::Hit => "hit",
        How::Miss => "miss",
        How::Stale(_) => "stale",
        How::Refreshed => "refreshed",
    }
}
