//! Decides which requests to the page of `sidekey dev` are admitted, and what they ask for.
//!
//! Other web pages in the same browser can send requests to the port of the page. The checks refuse
//! such requests: their `Host` header names another site (after DNS rebinding), their `Origin`
//! header names another page, or they do not contain the random key.

use super::upstream::Upstream;
use crate::tokens::Tokens;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;

/// The header with the random key of the page. A page of another site cannot set this header,
/// because the browser would first ask this server for permission.
const KEY: HeaderName = HeaderName::from_static("x-sidekey-page-key");

/// The header in which a browser says whether a request comes from a page of the same server.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The port and the random key of the page's server, for the checks of requests.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) port: u16,
    /// The random key of the page.
    pub(super) tokens: Tokens,
}

/// What an admitted request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Return the HTML of the page, which contains no data.
    Page,
    /// Return the state of the agent, and the events that the page has not shown yet.
    State(After),
    /// Add a version to the secret or parameter with this reference.
    Rotate(String),
    /// Change how the fake of AWS answers calls.
    Upstream(Upstream),
    /// Start (`true`) or stop (`false`) the reader, which reads all secrets again and again.
    Reader(bool),
}

/// How many events of each kind the page has already received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct After {
    pub(super) calls: u64,
    pub(super) reads: u64,
    pub(super) changes: u64,
}

/// Why the server of the page refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Refused: the `Host` header is not the address of the page.
    #[error(
        "the Host header is not the address of this page: use the URL that `sidekey dev` prints"
    )]
    Host,
    /// Refused: a page of another site sent the request.
    #[error("a page of another site sent this request")]
    Origin,
    /// Refused: the key is missing or wrong.
    #[error("the page's access key is missing or wrong: open the URL that `sidekey dev` prints")]
    Key,
    /// Refused: the path is unknown, or needs another method.
    #[error("the page has no such path, or the path needs another HTTP method")]
    Unknown,
    /// Refused: a query parameter is missing or has an invalid value.
    #[error("a query parameter is missing or has an invalid value")]
    Query,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Origin | Self::Key => StatusCode::FORBIDDEN,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Query => StatusCode::BAD_REQUEST,
        }
    }
}

/// Decides whether the server admits a request. All requests except those for the HTML need the key.
///
/// # Errors
///
/// Fails with the [`Refusal`] of the first check that failed.
pub(super) fn admit(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    own: &Identity,
) -> Result<Action, Refusal> {
    if uri.authority().is_some() || !only(headers, &HOST, |host| own.is_address(host)) {
        return Err(Refusal::Host);
    }
    if (method, uri.path()) == (&Method::GET, "/") {
        return Ok(Action::Page);
    }
    let is_own_page =
        |origin: &[u8]| origin.strip_prefix(b"http://").is_some_and(|host| own.is_address(host));
    let is_foreign = headers.contains_key(ORIGIN) && !only(headers, &ORIGIN, is_own_page)
        || headers.get_all(FETCH_SITE).iter().any(|site| site != "same-origin");
    if is_foreign {
        return Err(Refusal::Origin);
    }
    if !only(headers, &KEY, |key| own.tokens.accepts(key)) {
        return Err(Refusal::Key);
    }
    action(method, uri)
}

impl Identity {
    /// Returns whether `host`, a host with a port, is the address of the page.
    fn is_address(&self, host: &[u8]) -> bool {
        ["127.0.0.1", "localhost"]
            .iter()
            .any(|name| format!("{name}:{}", self.port).as_bytes().eq_ignore_ascii_case(host))
    }
}

/// Returns whether a request has exactly one header `name`, whose value passes `check`.
fn only(headers: &HeaderMap, name: &HeaderName, check: impl Fn(&[u8]) -> bool) -> bool {
    let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    matches!(values[..], [value] if check(value.as_bytes()))
}

fn action(method: &Method, uri: &Uri) -> Result<Action, Refusal> {
    let text = |name| parameter(uri, name).ok_or(Refusal::Query);
    let number = |name| text(name)?.parse().map_err(|_| Refusal::Query);
    match (method.as_str(), uri.path()) {
        ("GET", "/state") => Ok(Action::State(After {
            calls: number("calls")?,
            reads: number("reads")?,
            changes: number("changes")?,
        })),
        ("POST", "/rotate") => Ok(Action::Rotate(text("secret")?)),
        ("POST", "/upstream") => {
            let upstream = Upstream::of_label(&text("state")?);
            upstream.map(Action::Upstream).ok_or(Refusal::Query)
        }
        ("POST", "/reader") => text("on")?.parse().map(Action::Reader).map_err(|_| Refusal::Query),
        _ => Err(Refusal::Unknown),
    }
}

/// Returns the query parameter `name`, percent-decoded.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(own, _)| *own == name)?;
    percent_decode_str(value).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Token;

    /// Checks whether a request with the headers `pairs` is admitted. The request also has the right
    /// `Host` header and the right key, unless `pairs` contains these headers.
    #[track_caller]
    fn check(
        method: &Method,
        uri: &str,
        pairs: &[(&str, &str)],
        expected: Result<Action, Refusal>,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                name.parse::<HeaderName>().expect("the test uses valid header names"),
                value.parse().expect("the test uses valid header values"),
            );
        }
        headers.entry(HOST).or_insert(HeaderValue::from_static("127.0.0.1:4000"));
        headers.entry(KEY).or_insert(HeaderValue::from_static("key"));
        let token = Token::new("key".to_owned()).expect("the token is not empty");
        let own = Identity { port: 4000, tokens: Tokens::new(vec![token]) };
        let uri = uri.parse().expect("the test uses valid URIs");
        assert_eq!(admit(method, &uri, &headers, &own), expected, "{method} {uri} {pairs:?}");
    }

    #[test]
    fn only_the_html_needs_no_key() {
        let wrong = [("x-sidekey-page-key", "wrong")];
        check(&Method::GET, "/", &wrong, Ok(Action::Page));
        for (method, uri) in [
            (Method::GET, "/state?calls=0&reads=0&changes=0"),
            (Method::POST, "/rotate?secret=a"),
            (Method::POST, "/upstream?state=fail"),
            (Method::POST, "/reader?on=true"),
            (Method::GET, "/unknown"),
        ] {
            check(&method, uri, &wrong, Err(Refusal::Key));
            let twice = [("x-sidekey-page-key", "key"), ("x-sidekey-page-key", "key")];
            check(&method, uri, &twice, Err(Refusal::Key));
        }
    }

    #[test]
    fn host_must_be_the_address_of_the_page() {
        for host in ["127.0.0.1:4000", "localhost:4000", "LOCALHOST:4000"] {
            check(&Method::GET, "/", &[("host", host)], Ok(Action::Page));
        }
        for host in [
            "evil.example",
            "evil.example:4000",
            "127.0.0.1",
            "127.0.0.1:4001",
            "127.0.0.1:4000.",
            "",
        ] {
            check(&Method::GET, "/", &[("host", host)], Err(Refusal::Host));
        }
        let twice = [("host", "127.0.0.1:4000"), ("host", "127.0.0.1:4000")];
        check(&Method::GET, "/", &twice, Err(Refusal::Host));
        check(&Method::GET, "http://evil.example/", &[], Err(Refusal::Host));
    }

    #[test]
    fn other_pages_are_refused_even_with_the_key() {
        let uri = "/upstream?state=deny";
        let admitted = Ok(Action::Upstream(Upstream::Deny));
        check(&Method::POST, uri, &[("origin", "http://127.0.0.1:4000")], admitted.clone());
        check(&Method::POST, uri, &[("sec-fetch-site", "same-origin")], admitted);
        for pair in [
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:4001"),
            ("origin", "https://127.0.0.1:4000"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            check(&Method::POST, uri, &[pair], Err(Refusal::Origin));
        }
    }

    #[test]
    fn actions_are_parsed() {
        let after = After { calls: 1, reads: 2, changes: 3 };
        let rotate = Action::Rotate("ssm:/a b".to_owned());
        for (method, uri, expected) in [
            (Method::GET, "/state?calls=1&reads=2&changes=3", Ok(Action::State(after))),
            (Method::GET, "/state?calls=1", Err(Refusal::Query)),
            (Method::GET, "/state", Err(Refusal::Query)),
            (Method::POST, "/rotate?secret=ssm:/a%20b", Ok(rotate)),
            (Method::POST, "/rotate?secret=%ff", Err(Refusal::Query)),
            (Method::POST, "/reader?on=false", Ok(Action::Reader(false))),
            (Method::POST, "/reader?on=no", Err(Refusal::Query)),
            (Method::POST, "/upstream?state=broken", Err(Refusal::Query)),
            (Method::GET, "/upstream?state=fail", Err(Refusal::Unknown)),
            (Method::POST, "/", Err(Refusal::Unknown)),
        ] {
            check(&method, uri, &[], expected);
        }
        for upstream in Upstream::ALL {
            let uri = format!("/upstream?state={}", upstream.label());
            check(&Method::POST, &uri, &[], Ok(Action::Upstream(upstream)));
        }
    }
}
