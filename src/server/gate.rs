//! Decides whether Sidekey answers or refuses a request, by the request's headers and token, and by
//! the address at which the request arrived.
//!
//! The module has no side effects.

use super::head::{Head, Headers, is_named};
use super::request::Target;
use crate::tokens::Tokens;
use std::net::IpAddr;

/// The headers in which a caller may send its token. AWS's agent accepts both headers, AWS's
/// extension only the first, and Vault uses the second.
const TOKEN_HEADERS: [&str; 2] = ["x-aws-parameters-secrets-token", "x-vault-token"];

/// The proof that a request passed the checks of its headers and token. Only [`admit`] creates this
/// proof.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Whether the request has a valid token. If so, the connection stays open, and some answers
    /// contain more information, such as the names of missing secrets.
    pub(crate) is_trusted: bool,
}

/// Why Sidekey refuses a request because of its headers, its token, or the number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Refused: too many connections that have sent a valid token are open, and all of them are
    /// busy.
    TooManyConnections,
    /// Refused: the request came through a proxy, because it has the header `X-Forwarded-For`.
    ForwardedFor,
    /// Refused: the request came through a proxy, because it has the header `Forwarded` of RFC
    /// 7239.
    Forwarded,
    /// Refused: a browser sent the request, because it has the header `Origin`.
    Origin,
    /// Refused: the `Host` header of the request names another machine, as in a DNS rebinding
    /// attack.
    Host,
    /// Refused: the token of the request is missing or wrong.
    Token,
    /// Refused: a signed AWS API call has an unknown session token. The token may belong to new
    /// credentials, so the server refreshes the agent's credentials and checks the call again.
    WrongSessionToken,
    /// Refused: a signed AWS API call has no session token, because its caller uses static access
    /// keys.
    NoSessionToken,
    /// Refused: a signed AWS API call, while the agent itself has no session token to compare with.
    /// The caller must send the token that is configured for the agent instead.
    NoSessionKnown,
}

impl Refusal {
    /// Returns the reason that Sidekey gives to the caller. If the agent itself has no session
    /// token, no caller's session token can be right, so the reason is
    /// [`NoSessionKnown`](Self::NoSessionKnown).
    pub(crate) fn explained(self, tokens: &Tokens) -> Self {
        match self {
            Self::WrongSessionToken | Self::NoSessionToken if !tokens.has_session() => {
                Self::NoSessionKnown
            }
            other => other,
        }
    }

    /// Returns a short name of the reason, such as `host`, under which the metrics count the
    /// refused request.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::TooManyConnections => "connections",
            Self::ForwardedFor => "forwarded_for",
            Self::Forwarded => "forwarded",
            Self::Origin => "origin",
            Self::Host => "host",
            Self::Token | Self::WrongSessionToken | Self::NoSessionToken | Self::NoSessionKnown => {
                "token"
            }
        }
    }
}

/// The reason under which the metrics count requests whose request line or headers are invalid, are
/// too large, or arrive too slowly.
pub(super) const BAD_HEAD: &str = "head";

/// All reasons under which the metrics count refused requests. The metrics contain each reason from
/// the start, even if its count is 0.
pub const REASONS: [&str; 7] =
    ["connections", "forwarded_for", "forwarded", "origin", "host", "token", BAD_HEAD];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    /// The request arrived at a loopback address of this machine.
    Loopback,
    /// The request arrived at the Unix socket. Such a request needs a token, but its `Host` header
    /// is not checked.
    UnixSocket,
    /// The request arrived at the metrics port (`SIDEKEY_METRICS_LISTEN`). This port serves probes
    /// and metrics to other hosts, but no secrets.
    Metrics,
}

/// Checks whether Sidekey answers a request. The token is checked last: Sidekey refuses a request
/// from a browser before this check, so a web page cannot find out whether a token is valid.
///
/// # Errors
///
/// Fails with the [`Refusal`] of the first check that failed.
pub(crate) fn admit(
    target: Target<'_>,
    listener: ListenerKind,
    head: &Head<'_, impl Headers>,
    tokens: &Tokens,
) -> Result<Admitted, Refusal> {
    if listener == ListenerKind::Metrics {
        return Ok(Admitted { is_trusted: false });
    }
    let checked = CheckedHeaders::of(head.headers);
    // An orchestrator may send liveness probes through a proxy, with any host name and without a
    // token.
    if target == Target::Ping {
        return Ok(Admitted { is_trusted: checked.has_good_token(target, tokens) });
    }
    checked.refuse_foreign(listener, head.authority)?;
    let is_trusted = checked.has_good_token(target, tokens);
    if is_trusted || target.is_public() {
        return Ok(Admitted { is_trusted });
    }
    Err(match target {
        Target::AwsApi(_) if checked.session.is_some() => Refusal::WrongSessionToken,
        Target::AwsApi(_) => Refusal::NoSessionToken,
        _ => Refusal::Token,
    })
}

/// The kind of token with which a caller proved that it may make calls to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallProof {
    /// The request has the ordinary token, which also allows the caller to read secrets.
    Token,
    /// The request has a phantom token, which allows only calls to one external API.
    Phantom,
}

/// Checks whether Sidekey makes a call to another server. `has_phantom` returns whether the request
/// has a valid phantom token, which allows only calls to one external API. The checks have the same
/// order as in [`admit`].
///
/// # Errors
///
/// Fails with the [`Refusal`] of the first check that failed.
pub(crate) fn admit_call(
    listener: ListenerKind,
    head: &Head<'_, impl Headers>,
    tokens: &Tokens,
    has_phantom: impl FnOnce() -> bool,
) -> Result<CallProof, Refusal> {
    let checked = CheckedHeaders::of(head.headers);
    checked.refuse_foreign(listener, head.authority)?;
    if checked.has_good_token(Target::Unknown, tokens) {
        return Ok(CallProof::Token);
    }
    if has_phantom() { Ok(CallProof::Phantom) } else { Err(Refusal::Token) }
}

/// The headers that decide whether Sidekey answers a request, collected in one pass. A separate
/// search for each header would take longer than all other checks.
#[derive(Default)]
struct CheckedHeaders<'a> {
    is_forwarded_for: bool,
    is_forwarded: bool,
    /// Whether a browser sent the request for a web page. Browsers then add an `Origin` header.
    is_from_browser: bool,
    /// Whether a `Host` header of the request names a host that is not this machine.
    is_for_another_host: bool,
    /// The first value of each of the [`TOKEN_HEADERS`]. `None` if the request does not have the
    /// header.
    tokens: [Option<&'a [u8]>; 2],
    /// The session token of a signed AWS API call. `None` if the request has no session token.
    session: Option<&'a [u8]>,
}

impl<'a> CheckedHeaders<'a> {
    fn of(headers: &'a impl Headers) -> Self {
        let mut checked = Self::default();
        for (name, value) in headers.iter() {
            let is = |header: &str| is_named(name.as_bytes(), header);
            // Most headers have another length than the checked headers, so that a comparison of
            // lengths is enough for them.
            match name.len() {
                4 if is("host") => checked.is_for_another_host |= !names_loopback(value),
                6 if is("origin") => checked.is_from_browser = true,
                9 if is("forwarded") => checked.is_forwarded = true,
                13 if is(TOKEN_HEADERS[1]) => _ = checked.tokens[1].get_or_insert(value),
                15 if is("x-forwarded-for") => checked.is_forwarded_for = true,
                20 if is("x-amz-security-token") => _ = checked.session.get_or_insert(value),
                30 if is(TOKEN_HEADERS[0]) => _ = checked.tokens[0].get_or_insert(value),
                _ => {}
            }
        }
        checked
    }

    /// Refuses a request that came through a proxy or from a browser, or that names another host.
    #[inline]
    fn refuse_foreign(
        &self,
        listener: ListenerKind,
        authority: Option<&str>,
    ) -> Result<(), Refusal> {
        if self.is_forwarded_for {
            return Err(Refusal::ForwardedFor);
        }
        if self.is_forwarded {
            return Err(Refusal::Forwarded);
        }
        if self.is_from_browser {
            return Err(Refusal::Origin);
        }
        if listener == ListenerKind::Loopback
            && (self.is_for_another_host || names_another_host(authority))
        {
            return Err(Refusal::Host);
        }
        Ok(())
    }

    fn has_good_token(&self, target: Target<'_>, tokens: &Tokens) -> bool {
        if matches!(target, Target::AwsApi(_)) {
            return self.session.is_some_and(|token| tokens.accepts_session(token));
        }
        // Every token in the request is compared, even after a match, so that the response time
        // does not show which token is valid.
        self.tokens.iter().flatten().fold(false, |accepted, token| accepted | tokens.accepts(token))
    }
}

/// Returns whether the host in the request line, if there is one, is not this machine.
fn names_another_host(authority: Option<&str>) -> bool {
    authority.is_some_and(|authority| !names_loopback(authority.as_bytes()))
}

/// Returns whether the value of a `Host` header names this machine, with or without a port.
fn names_loopback(host: &[u8]) -> bool {
    let (name, port) = match host.strip_prefix(b"[") {
        Some(rest) => match split_once(rest, b']') {
            Some((name, port)) => (name, port.strip_prefix(b":").unwrap_or(port)),
            None => return false,
        },
        None => split_once(host, b':').unwrap_or((host, b"")),
    };
    let is_address = || {
        let address = str::from_utf8(name).ok().and_then(|name| name.parse::<IpAddr>().ok());
        address.is_some_and(|address| address.is_loopback())
    };
    // Most requests name `localhost` or this address. Parsing an address takes longer than these
    // comparisons.
    let is_usual = name == b"127.0.0.1" || is_named(name, "localhost");
    let is_loopback = is_usual || is_address();
    is_loopback && port.iter().all(u8::is_ascii_digit)
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::service::Service;
    use crate::tokens::Token;
    use hyper::header::{HOST, HeaderName};
    use hyper::{HeaderMap, Method};

    const AWS_API: Target<'_> = Target::AwsApi(Service::SecretsManager);

    const TOKEN: (&str, &str) = ("x-aws-parameters-secrets-token", "good");

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (
                name.parse::<HeaderName>().expect("the test's header names must be valid"),
                value.parse().expect("the test's header values must be valid"),
            )
        };
        pairs.iter().map(pair).collect()
    }

    fn head<'a>(authority: Option<&'a str>, headers: &'a HeaderMap) -> Head<'a, HeaderMap> {
        Head { method: &Method::GET, authority, path: "/", query: "", headers }
    }

    /// Checks whether a request to a loopback address is admitted. Its headers are `pairs`, plus
    /// `Host: localhost:2773` if `pairs` contains no `host`.
    #[track_caller]
    fn check(target: Target<'_>, pairs: &[(&str, &str)], expected: Result<bool, Refusal>) {
        let tokens =
            Tokens::new(vec![Token::new("good".to_owned()).expect("the token must not be empty")]);
        tokens.add_session("session");
        let mut all = headers(pairs);
        all.entry(HOST)
            .or_insert("localhost:2773".parse().expect("the test's header values must be valid"));
        let admitted = admit(target, ListenerKind::Loopback, &head(None, &all), &tokens);
        assert_eq!(admitted.map(|admitted| admitted.is_trusted), expected, "{pairs:?}");
    }

    #[test]
    fn read_needs_token_in_either_header() {
        check(Target::Get, &[TOKEN], Ok(true));
        check(Target::V1("x"), &[("x-vault-token", "good")], Ok(true));
        check(Target::Get, &[("x-vault-token", "bad"), TOKEN], Ok(true));
        check(Target::Get, &[("x-vault-token", "good"), TOKEN], Ok(true));
        check(Target::Get, &[], Err(Refusal::Token));
        check(Target::Get, &[("x-vault-token", "bad")], Err(Refusal::Token));
        check(Target::Unknown, &[], Err(Refusal::Token));
        check(Target::Get, &[("x-aws-parameters-secrets-token", "session")], Err(Refusal::Token));
    }

    #[test]
    fn aws_api_call_needs_known_session_token() {
        check(AWS_API, &[("x-amz-security-token", "session")], Ok(true));
        check(AWS_API, &[("x-amz-security-token", "good")], Ok(true));
        check(AWS_API, &[("x-amz-security-token", "other")], Err(Refusal::WrongSessionToken));
        check(AWS_API, &[("x-amz-security-token", "")], Err(Refusal::WrongSessionToken));
        check(AWS_API, &[TOKEN], Err(Refusal::NoSessionToken));
        check(AWS_API, &[], Err(Refusal::NoSessionToken));
        check(Target::Get, &[("x-amz-security-token", "good")], Err(Refusal::Token));
    }

    #[test]
    fn agent_without_a_session_token_says_so() {
        let tokens =
            Tokens::new(vec![Token::new("good".to_owned()).expect("the token must not be empty")]);
        for (refusal, expected) in [
            (Refusal::WrongSessionToken, Refusal::NoSessionKnown),
            (Refusal::NoSessionToken, Refusal::NoSessionKnown),
            (Refusal::Token, Refusal::Token),
        ] {
            assert_eq!(refusal.explained(&tokens), expected);
        }
        tokens.add_session("session");
        assert_eq!(Refusal::NoSessionToken.explained(&tokens), Refusal::NoSessionToken);
    }

    #[test]
    fn foreign_requests_are_refused_with_or_without_token() {
        for (header, expected) in [
            (("x-forwarded-for", "10.0.0.1"), Refusal::ForwardedFor),
            (("forwarded", "for=10.0.0.1"), Refusal::Forwarded),
            (("origin", "https://evil.example"), Refusal::Origin),
            (("host", "evil.example"), Refusal::Host),
            (("host", "127.0.0.1.evil.example:2773"), Refusal::Host),
            (("host", "localhost:2773@evil.example"), Refusal::Host),
            (("host", "169.254.169.254"), Refusal::Host),
            (("host", ""), Refusal::Host),
        ] {
            check(Target::Get, &[TOKEN, header], Err(expected));
            check(Target::Metrics, &[header], Err(expected));
            check(Target::Ping, &[header], Ok(false));
        }
    }

    #[test]
    fn every_name_of_this_machine_is_accepted_as_host() {
        for host in
            ["localhost", "LOCALHOST:2773", "127.0.0.1:2773", "127.1.2.3", "[::1]:2773", "[::1]"]
        {
            check(Target::Get, &[TOKEN, ("host", host)], Ok(true));
        }
    }

    #[test]
    fn open_targets_are_trusted_only_with_token() {
        check(Target::Ready, &[], Ok(false));
        check(Target::Ready, &[TOKEN], Ok(true));
        check(Target::Ping, &[], Ok(false));
        check(Target::Ping, &[TOKEN], Ok(true));
        check(Target::Status, &[], Err(Refusal::Token));
    }

    #[test]
    fn metrics_port_needs_no_token_and_unix_socket_needs_one() {
        let tokens = Tokens::new(Vec::new());
        let foreign = headers(&[("host", "10.0.0.7:9100"), ("x-forwarded-for", "10.0.0.1")]);
        let foreign = head(None, &foreign);
        assert!(admit(Target::Metrics, ListenerKind::Metrics, &foreign, &tokens).is_ok());
        let tokens =
            Tokens::new(vec![Token::new("good".to_owned()).expect("the token must not be empty")]);
        let trusted = headers(&[TOKEN]);
        for target in [Target::Ping, Target::Ready, Target::Metrics] {
            let admitted = admit(target, ListenerKind::Metrics, &head(None, &trusted), &tokens);
            assert_eq!(admitted.map(|admitted| admitted.is_trusted), Ok(false), "{target:?}");
        }
        let host = headers(&[("host", "anything")]);
        let refused = admit(Target::Get, ListenerKind::UnixSocket, &head(None, &host), &tokens);
        assert_eq!(refused.map(|_| ()), Err(Refusal::Token));
    }

    #[test]
    fn foreign_host_in_request_uri_is_refused() {
        let headers = headers(&[("host", "localhost")]);
        let refused = admit(
            Target::Metrics,
            ListenerKind::Loopback,
            &head(Some("evil.example"), &headers),
            &Tokens::new(Vec::new()),
        );
        assert_eq!(refused.map(|_| ()), Err(Refusal::Host));
    }

    #[test]
    fn every_refusal_has_its_label() {
        use Refusal::*;
        assert_eq!(
            [TooManyConnections, ForwardedFor, Forwarded, Origin, Host, Token].map(Refusal::label)
                [..],
            REASONS[..6]
        );
        assert_eq!(
            [WrongSessionToken, NoSessionToken, NoSessionKnown].map(Refusal::label),
            ["token"; 3]
        );
    }
}
