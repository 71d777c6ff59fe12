//! Decides whether a request may ask at all.
//!
//! Pure but for the tokens that it reads. It leaves a proof, [`Admitted`].

use super::request::Target;
use crate::tokens::Tokens;
use hyper::header::{FORWARDED, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::{HeaderMap, Uri};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The headers that carry the token: that of AWS's extension and agent, and Vault's, which the agent
/// takes too.
static TOKEN_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("x-aws-parameters-secrets-token"),
    HeaderName::from_static("x-vault-token"),
];

/// The proof that a request may ask. Only [`admit`] makes one.
#[derive(Debug)]
pub struct Admitted {
    /// Whether it showed a good token: some answers say more then, and its connection is kept.
    pub is_trusted: bool,
}

/// Why a request may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every kept connection is busy, and there is no place for another.
    Connections,
    /// It came through a proxy: `X-Forwarded-For`.
    ForwardedFor,
    /// It came through a proxy: `Forwarded`, the standard's name of the same.
    Forwarded,
    /// A browser sent it: `Origin`.
    Origin,
    /// It was meant for another host: DNS rebinding.
    Host,
    /// The token is missing or wrong.
    Token,
    /// The session token of a signed request is wrong.
    Session,
    /// A signed request has no session token: its credentials are static keys.
    NoSession,
}

impl Refusal {
    /// Returns the refusal's name as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ForwardedFor => "forwarded_for",
            Self::Forwarded => "forwarded",
            Self::Origin => "origin",
            Self::Host => "host",
            Self::Token | Self::Session | Self::NoSession => "token",
        }
    }
}

/// The labels of every refusal, for the metrics.
pub const REASONS: [&str; 6] =
    ["connections", "forwarded_for", "forwarded", "origin", "host", "token"];

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A loopback address.
    Loopback,
    /// The Unix socket: there is no host to forge, but a token all the same.
    Socket,
    /// `SIDEKEY_METRICS_LISTEN`: other hosts' probes, and nothing secret.
    Probes,
}

/// Admits a request or says why not. The first failed check counts, in the order of AWS's agent,
/// with Sidekey's own before the token: a page in a browser learns nothing about tokens.
///
/// # Errors
///
/// Why not.
pub fn admit(
    target: Target<'_>,
    door: Door,
    uri: &Uri,
    headers: &HeaderMap,
    tokens: &Tokens,
) -> Result<Admitted, Refusal> {
    if door == Door::Probes {
        return Ok(Admitted { is_trusted: false });
    }
    let shown = Shown::of(headers);
    // Liveness is asked by whoever runs the container, in whatever way.
    if target == Target::Ping {
        return Ok(Admitted { is_trusted: shown.has_token(target, tokens) });
    }
    if shown.is_forwarded_for {
        return Err(Refusal::ForwardedFor);
    }
    if shown.is_forwarded {
        return Err(Refusal::Forwarded);
    }
    if shown.is_of_a_page {
        return Err(Refusal::Origin);
    }
    if door == Door::Loopback && (shown.is_for_another_host || names_another_host(uri)) {
        return Err(Refusal::Host);
    }
    let is_trusted = shown.has_token(target, tokens);
    if is_trusted || target.is_open() {
        return Ok(Admitted { is_trusted });
    }
    Err(match target {
        Target::AwsApi if shown.session.is_some() => Refusal::Session,
        Target::AwsApi => Refusal::NoSession,
        _ => Refusal::Token,
    })
}

/// What the headers say that the gate goes by, read in one pass: looking each up by its name would take
/// longer than everything else here.
#[derive(Default)]
struct Shown<'a> {
    is_forwarded_for: bool,
    is_forwarded: bool,
    /// A browser sends along where a page came from.
    is_of_a_page: bool,
    /// Some `Host` is not this machine.
    is_for_another_host: bool,
    /// The first of each of [`TOKEN_HEADERS`].
    tokens: [Option<&'a HeaderValue>; 2],
    session: Option<&'a HeaderValue>,
}

impl<'a> Shown<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut shown = Self::default();
        for (name, value) in headers {
            if *name == HOST {
                shown.is_for_another_host |= !names_loopback(value.as_bytes());
            } else if let Some(at) = TOKEN_HEADERS.iter().position(|own| own == name) {
                shown.tokens[at].get_or_insert(value);
            } else if *name == SECURITY_TOKEN {
                shown.session.get_or_insert(value);
            } else {
                shown.is_forwarded_for |= *name == FORWARDED_FOR;
                shown.is_forwarded |= *name == FORWARDED;
                shown.is_of_a_page |= *name == ORIGIN;
            }
        }
        shown
    }

    fn has_token(&self, target: Target<'_>, tokens: &Tokens) -> bool {
        if target == Target::AwsApi {
            return self.session.is_some_and(|token| tokens.accepts_session(token.as_bytes()));
        }
        let shown = self.tokens.iter().flatten();
        shown.fold(false, |accepted, token| accepted | tokens.accepts(token.as_bytes()))
    }
}

/// Returns whether a request's target names a host, and not this machine.
fn names_another_host(uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| !names_loopback(authority.as_str().as_bytes()))
}

/// Returns whether a `Host` names this machine, with any port.
fn names_loopback(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port.strip_prefix(':').unwrap_or(port)),
            None => return false,
        },
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let is_port = port.bytes().all(|b| b.is_ascii_digit());
    let is_address = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_port && (is_address || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Token;

    const TOKEN: (&str, &str) = ("x-aws-parameters-secrets-token", "good");

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    /// Checks a request at the loopback door with `Host: localhost:2773` and `pairs`.
    #[track_caller]
    fn check(target: Target<'_>, pairs: &[(&str, &str)], expected: Result<bool, Refusal>) {
        let tokens = Tokens::new(vec![Token::new("good".to_owned()).expect("not empty")]);
        tokens.note_session("session");
        let mut all = headers(pairs);
        all.entry(HOST).or_insert("localhost:2773".parse().expect("a value"));
        let admitted = admit(target, Door::Loopback, &Uri::from_static("/"), &all, &tokens);
        assert_eq!(admitted.map(|admitted| admitted.is_trusted), expected, "{pairs:?}");
    }

    #[test]
    fn a_read_needs_a_token_in_either_header() {
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
    fn the_aws_api_shows_its_session() {
        check(Target::AwsApi, &[("x-amz-security-token", "session")], Ok(true));
        check(Target::AwsApi, &[("x-amz-security-token", "good")], Ok(true));
        check(Target::AwsApi, &[("x-amz-security-token", "other")], Err(Refusal::Session));
        check(Target::AwsApi, &[("x-amz-security-token", "")], Err(Refusal::Session));
        check(Target::AwsApi, &[TOKEN], Err(Refusal::NoSession));
        check(Target::AwsApi, &[], Err(Refusal::NoSession));
        check(Target::Get, &[("x-amz-security-token", "good")], Err(Refusal::Token));
    }

    #[test]
    fn what_did_not_come_from_this_machine_is_refused_with_or_without_a_token() {
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
    fn every_name_of_this_machine_is_a_host() {
        for host in
            ["localhost", "LOCALHOST:2773", "127.0.0.1:2773", "127.1.2.3", "[::1]:2773", "[::1]"]
        {
            check(Target::Get, &[TOKEN, ("host", host)], Ok(true));
        }
    }

    #[test]
    fn open_targets_tell_whether_they_are_trusted() {
        check(Target::Ready, &[], Ok(false));
        check(Target::Ready, &[TOKEN], Ok(true));
        check(Target::Ping, &[], Ok(false));
        check(Target::Ping, &[TOKEN], Ok(true));
        check(Target::Status, &[], Err(Refusal::Token));
    }

    #[test]
    fn the_other_doors() {
        let tokens = Tokens::new(Vec::new());
        let foreign = headers(&[("host", "10.0.0.7:9100"), ("x-forwarded-for", "10.0.0.1")]);
        let uri = Uri::from_static("/");
        assert!(admit(Target::Metrics, Door::Probes, &uri, &foreign, &tokens).is_ok());
        let tokens = Tokens::new(vec![Token::new("good".to_owned()).expect("not empty")]);
        let trusted = headers(&[TOKEN]);
        for target in [Target::Ping, Target::Ready, Target::Metrics] {
            let admitted = admit(target, Door::Probes, &uri, &trusted, &tokens);
            assert_eq!(admitted.map(|admitted| admitted.is_trusted), Ok(false), "{target:?}");
        }
        let host = headers(&[("host", "anything")]);
        let refused = admit(Target::Get, Door::Socket, &uri, &host, &tokens);
        assert_eq!(refused.map(|_| ()), Err(Refusal::Token));
    }

    #[test]
    fn a_foreign_host_in_the_request_target_is_refused_too() {
        let uri = Uri::from_static("http://evil.example/metrics");
        let headers = headers(&[("host", "localhost")]);
        let refused =
            admit(Target::Metrics, Door::Loopback, &uri, &headers, &Tokens::new(Vec::new()));
        assert_eq!(refused.map(|_| ()), Err(Refusal::Host));
    }

    #[test]
    fn every_refusal_has_its_label() {
        use Refusal::*;
        assert_eq!(
            [Connections, ForwardedFor, Forwarded, Origin, Host, Token].map(Refusal::label),
            REASONS
        );
        assert_eq!([Session, NoSession].map(Refusal::label), ["token", "token"]);
    }
}
