//! Decides which headers of a call and of its answer pass the agent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use zeroize::Zeroizing;

/// The headers that describe one connection and not the request (RFC 9110, section 7.6.1), and the
/// headers of the body's length, which the HTTP library writes itself. If the agent passed them on,
/// two programs could disagree about where the body ends.
const OF_CONNECTION: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// The headers that the agent does not pass on, because they are for the agent, or say where the
/// call comes from or goes to.
const OF_AGENT: [HeaderName; 9] = [
    HOST,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    VIA,
    HeaderName::from_static("x-aws-parameters-secrets-token"),
    HeaderName::from_static("x-vault-token"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-real-ip"),
];

/// The agent passes on no header whose name begins with one of these texts.
const PREFIXES: [&str; 2] = ["x-forwarded-", "x-sidekey-"];

/// The header in which a caller names the secret for a call to another server.
pub(crate) const REFERENCE: HeaderName = HeaderName::from_static("x-sidekey-reference");

/// The header in which a caller names the tenant (a customer) for which it makes a call.
pub(crate) const TENANT: HeaderName = HeaderName::from_static("x-sidekey-tenant");

/// The response header by which the agent says that it made the call twice, because the secret had
/// changed.
pub(crate) const RETRIED: HeaderName = HeaderName::from_static("x-sidekey-retried");

/// Returns the headers that the agent sends to the server of a route: the permitted headers of the
/// call, the host, and the credential.
///
/// A header `Authorization` whose value is the phantom token does not pass. `is_phantom` returns
/// whether a value of this header is the phantom token.
pub(crate) fn sent_on(
    call: &HeaderMap,
    host: &HeaderValue,
    credential: (&HeaderName, HeaderValue),
    is_phantom: impl Fn(&HeaderValue) -> bool,
) -> HeaderMap {
    let named = named_by_connection(call);
    let passes = |name: &HeaderName, value: &HeaderValue| {
        !OF_AGENT.contains(name)
            && is_end_to_end(name, &named)
            && name != credential.0
            && !(*name == AUTHORIZATION && is_phantom(value))
    };
    let mut sent = HeaderMap::with_capacity(call.len() + 2);
    sent.insert(HOST, host.clone());
    for (name, value) in call.iter().filter(|(name, value)| passes(name, value)) {
        sent.append(name, value.clone());
    }
    sent.insert(credential.0, credential.1);
    sent
}

/// Removes the headers of an answer that describe only the connection to the server of a route, and
/// headers that only the agent may set.
pub(crate) fn keep_end_to_end(answer: &mut HeaderMap) {
    // If an answer has both headers, `Transfer-Encoding` decides where the body ends (RFC 9112, section
    // 6.3).
    if answer.contains_key(TRANSFER_ENCODING) {
        answer.remove(CONTENT_LENGTH);
    }
    let named = named_by_connection(answer);
    let removed: Vec<HeaderName> =
        answer.keys().filter(|name| !is_end_to_end(name, &named)).cloned().collect();
    for name in removed {
        answer.remove(name);
    }
}

/// Returns whether the header `name` of a call is set by the agent or the HTTP library, or is never
/// passed on. A route cannot send its credential in such a header.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    OF_AGENT.contains(name) || !is_end_to_end(name, &[])
}

fn is_end_to_end(name: &HeaderName, named: &[HeaderName]) -> bool {
    !OF_CONNECTION.contains(name)
        && !named.contains(name)
        && PREFIXES.iter().all(|prefix| !name.as_str().starts_with(prefix))
}

/// Returns the headers that the header `Connection` names. They all describe only one connection.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// Returns the parts of an `Authorization` header that may be a key: the bearer token, or the user and
/// the password of Basic authentication.
pub(crate) fn keys_of_authorization(value: &HeaderValue) -> Vec<Zeroizing<Vec<u8>>> {
    parse_authorization(value).unwrap_or_default()
}

fn parse_authorization(value: &HeaderValue) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    let bytes = value.as_bytes();
    let (scheme, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b' ')?);
    let text = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(vec![text.to_vec().into()]);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(text).ok()?);
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(vec![pair[..colon].to_vec().into(), pair[colon + 1..].to_vec().into()])
}

/// Returns a header's value without the constant text `prefix` at its beginning.
pub(super) fn value_after<'a>(prefix: &str, value: &'a [u8]) -> &'a [u8] {
    value.strip_prefix(prefix.as_bytes()).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (
                name.parse::<HeaderName>().expect("the name is valid"),
                HeaderValue::from_str(value).expect("the value is valid"),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[track_caller]
    fn check(call: &[(&str, &str)], has_phantom: bool, expected: &[(&str, &str)]) {
        let host = HeaderValue::from_static("api.example");
        let credential = HeaderValue::from_static("key");
        let name = HeaderName::from_static("x-api-key");
        let is_phantom = |value: &HeaderValue| has_phantom && value == "Bearer phantom";
        assert_eq!(sent_on(&map(call), &host, (&name, credential), is_phantom), map(expected));
    }

    const ADDED: [(&str, &str); 2] = [("host", "api.example"), ("x-api-key", "key")];

    #[test]
    fn only_end_to_end_headers_of_a_call_pass() {
        let passing = [("accept", "*/*"), ("cookie", "a"), ("cookie", "b"), ("user-agent", "x")];
        check(&passing, false, &[&passing[..], &ADDED].concat());
        for removed in [
            ("host", "evil.example"),
            ("connection", "close"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "close"),
            ("forwarded", "host=evil.example"),
            ("x-forwarded-host", "evil.example"),
            ("via", "x"),
            ("x-aws-parameters-secrets-token", "token"),
            ("x-vault-token", "token"),
            ("x-amz-security-token", "token"),
            ("x-sidekey-reference", "app/db"),
            ("x-api-key", "phantom"),
        ] {
            check(
                &[removed, ("accept", "*/*")],
                false,
                &[&[("accept", "*/*")], &ADDED[..]].concat(),
            );
        }
    }

    #[test]
    fn headers_that_the_connection_header_names_do_not_pass() {
        let call = [("connection", "close, X-Hop,, x-api-key"), ("x-hop", "1")];
        check(&call, false, &ADDED);
        let mut answer = map(&[
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("x-sidekey-retried", "1"),
            ("content-type", "text/plain"),
            ("content-length", "3"),
        ]);
        keep_end_to_end(&mut answer);
        assert_eq!(answer, map(&[("content-type", "text/plain")]));
        let mut answer = map(&[("content-length", "3")]);
        keep_end_to_end(&mut answer);
        assert_eq!(answer, map(&[("content-length", "3")]));
    }

    #[test]
    fn authorization_of_the_caller_passes_unless_it_is_the_phantom_token() {
        let call = [("authorization", "Bearer x")];
        check(&call, false, &[&call[..], &ADDED].concat());
        // The caller proved itself with another header.
        check(&call, true, &[&call[..], &ADDED].concat());
        check(&[("authorization", "Bearer phantom")], true, &ADDED);
    }
}
