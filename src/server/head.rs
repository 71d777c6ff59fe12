//! The request line and headers of a request, in a form that does not depend on the parser that
//! read the request.
//!
//! The module has no side effects.

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

/// The headers of a request. The order of headers with the same name is the order in the request.
pub(crate) trait Headers {
    /// Returns the names and values of all headers. A name may contain lower-case and upper-case
    /// letters.
    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])>;

    /// Returns the values of all headers with this name.
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value)
    }
}

impl Headers for HeaderMap {
    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        HeaderMap::iter(self).map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

/// The parts of a request line, and the headers of the request. All checks of a request take this
/// view, so the checks are the same for each parser.
#[derive(Debug)]
pub(crate) struct Head<'a, H> {
    pub(crate) method: &'a Method,
    /// The host and the port in the request line. Almost all requests have none there.
    pub(crate) authority: Option<&'a str>,
    pub(crate) path: &'a str,
    /// The query without the question mark. The query is empty if the request line has none.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a H,
}

impl<'a> Head<'a, HeaderMap> {
    /// Returns the view of a request that hyper (the HTTP library) has parsed.
    pub(crate) fn of(request: &'a Parts) -> Self {
        let Parts { method, uri, headers, .. } = request;
        Self {
            method,
            authority: uri.authority().map(|authority| authority.as_str()),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers,
        }
    }
}
