//! Builds HTTP responses: bodies, content types, and the headers of answers that contain secrets.

use crate::cache::{How, Served};
use crate::secret::value::SecretValue;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use std::convert::Infallible;

pub(crate) type Response = hyper::Response<ResponseBody>;

/// The body of a response. The body is either complete in memory, or streamed: Sidekey renders it
/// piece by piece while the caller reads it.
pub(crate) type ResponseBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

pub(super) const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// The value of the `Content-Type` header for JSON, except for answers of the AWS API.
pub(super) const JSON: &str = "application/json";

/// The value of the `Content-Type` header for JSON in answers of the AWS API. The AWS SDKs accept
/// no other value.
pub(super) const AWS_JSON: &str = "application/x-amz-json-1.1";

/// The header that says how the cache answered: `hit`, `miss`, `stale` or `refreshed`.
const CACHE: HeaderName = HeaderName::from_static("x-sidekey-cache");

/// The header with problem codes. Sidekey sends it if the secret's value breaks the rules that the
/// configuration sets for secrets with such names.
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
    let body = serde_json::to_vec(body).expect("structs of strings and numbers serialise to JSON");
    with_body(status, JSON, body.into())
}

pub(super) fn without_body(status: StatusCode) -> Response {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

/// Builds the response with status 304, for a caller that already has the current version of the
/// secret.
pub(super) fn not_modified() -> Response {
    let mut response = without_body(StatusCode::NOT_MODIFIED);
    set_no_store(response.headers_mut());
    response
}

/// Builds a response whose body contains a secret.
pub(super) fn secret(content_type: &'static str, body: &SecretValue) -> Response {
    let mut response = with_body(StatusCode::OK, content_type, body.share());
    set_no_store(response.headers_mut());
    response
}

/// Builds a response with a JSON body that contains secrets and is streamed: `body` renders it
/// piece by piece while the caller reads it, so that a large body is never complete in memory.
pub(super) fn secret_pieces(
    body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static,
) -> Response {
    let mut response = Response::new(Either::Right(UnsyncBoxBody::new(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    set_no_store(response.headers_mut());
    response
}

/// Forbids HTTP caches to store the response, with `Cache-Control: no-store`.
pub(super) fn set_no_store(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Sets the headers that describe a secret:
///
/// - the entity tag of its version
/// - its age in the cache
/// - how the cache answered (such as `hit`)
/// - problem codes, if its value breaks the rules for its kind of secret
pub(super) fn set_entry_headers(headers: &mut HeaderMap, served: &Served) {
    if let Ok(etag) = HeaderValue::from_maybe_shared(served.entry.etag.clone()) {
        headers.insert(ETAG, etag);
    }
    headers.insert(AGE, HeaderValue::from(served.age.as_secs()));
    headers.insert(CACHE, HeaderValue::from_static(cache_label(served.how)));
    if let Some(malformed) = &served.entry.malformed
        && let Ok(codes) = HeaderValue::from_maybe_shared(malformed.header())
    {
        headers.insert(PROBLEM, codes);
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
