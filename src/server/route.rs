//! Chooses the handler that answers a request.
//!
//! The module has no side effects. A request can be routed only with the proof that its headers and
//! token were checked.

use super::gate::{Admitted, ListenerKind};
use super::head::{Head, Headers};
use super::operation::Operation;
use super::problem::Problem;
use super::request::{Query, Target, UnknownParameter};
use hyper::Method;

/// The maximum size of the body of a GET request, in bytes, by its `Content-Length` header. Some
/// HTTP clients add a small body to each request, such as `{}` or `null`, which Sidekey ignores.
const IGNORED_BODY_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// The request asks whether the process is alive.
    Ping,
    /// The request asks whether all required secrets are cached.
    Ready {
        /// Whether the request has a valid token. If so, the answer names the required secrets that
        /// are not cached.
        is_trusted: bool,
    },
    /// The request asks for the metrics.
    Metrics,
    /// The request asks for a list of all cached secrets, without their values.
    Status,
    /// The request reports that SnapStart has resumed the process from a snapshot.
    Restore,
    /// The request asks to read all secrets that a message or an SQS event refers to. The body of
    /// the request has not been read yet.
    Resolve,
    /// The request asks for one secret or parameter.
    Secret(Query<'a>),
    /// The request calls this operation of the AWS API. The body of the request has not been read
    /// yet.
    Call(Operation),
}

/// Chooses the handler of a request. The method, path and query are checked in this order, as in
/// AWS's agent.
///
/// # Errors
///
/// Fails with the error of the first check that failed.
pub(crate) fn route<'a>(
    admitted: &Admitted,
    listener: ListenerKind,
    target: Target<'a>,
    head: &Head<'a, impl Headers>,
    unknown: UnknownParameter,
) -> Result<Route<'a>, Problem> {
    let Head { method, query, headers, .. } = *head;
    let is_metrics_port = listener == ListenerKind::Metrics;
    if matches!(target, Target::AwsApi(_)) && !is_metrics_port {
        return Ok(Route::Call(Operation::of(headers)?));
    }
    match target {
        Target::Restore | Target::Resolve if is_metrics_port => return Err(Problem::MethodNotGet),
        Target::Restore | Target::Resolve if *method != Method::POST => {
            return Err(Problem::MethodNotPost);
        }
        Target::Restore => return Ok(Route::Restore),
        Target::Resolve => return Ok(Route::Resolve),
        // hyper (the HTTP library) omits the body of an answer to a HEAD request.
        _ if *method == Method::HEAD && target.is_public() => {}
        _ if *method != Method::GET => return Err(Problem::MethodNotGet),
        _ => {}
    }
    if declared_length(headers) > IGNORED_BODY_BYTES_MAX {
        return Err(Problem::IgnoredBodyTooLarge(IGNORED_BODY_BYTES_MAX));
    }
    match target {
        Target::Ping => Ok(Route::Ping),
        Target::Ready => Ok(Route::Ready { is_trusted: admitted.is_trusted }),
        Target::Metrics => Ok(Route::Metrics),
        _ if is_metrics_port => Err(Problem::UnknownPath),
        Target::Status => Ok(Route::Status),
        Target::Get => Ok(Route::Secret(Query::of_get(query, unknown)?)),
        Target::V1(id) => Ok(Route::Secret(Query::of_v1(id, query, unknown)?)),
        Target::Parameters => Ok(Route::Secret(Query::of_parameter(query, unknown)?)),
        Target::AwsApi(_) | Target::Restore | Target::Resolve | Target::Unknown => {
            Err(Problem::UnknownPath)
        }
    }
}

/// Returns the length of a request's body in bytes, from its `Content-Length` header, or 0 if the
/// request has no such header.
fn declared_length(headers: &impl Headers) -> u64 {
    let length = headers.values("content-length").next();
    let length = length.and_then(|length| str::from_utf8(length).ok());
    length.map_or(0, |length| length.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::gate::admit;
    use crate::tokens::{Token, Tokens};
    use hyper::HeaderMap;

    /// Checks which handler answers a request with a valid token. `expected` is the beginning of the
    /// route's debug format, or the type of the error.
    #[track_caller]
    fn check(
        listener: ListenerKind,
        method: &Method,
        uri: &str,
        header: Option<(&'static str, &str)>,
        expected: Result<&str, &str>,
    ) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-vault-token", "t"), ("x-amz-security-token", "t")].into_iter().chain(header)
        {
            headers.insert(name, value.parse().expect("the header value must be valid"));
        }
        let tokens =
            Tokens::new(vec![Token::new("t".to_owned()).expect("the token must not be empty")]);
        let target = Target::of(method, path, &headers);
        let head = Head { method, authority: None, path, query, headers: &headers };
        let admitted =
            admit(target, listener, &head, &tokens).expect("the request must be admitted");
        let route = route(&admitted, listener, target, &head, UnknownParameter::Refuse)
            .map(|route| format!("{route:?}"))
            .map_err(|problem| problem.kind().to_owned());
        match (route, expected) {
            (Ok(route), Ok(expected)) => assert!(route.starts_with(expected), "{route}"),
            (route, expected) => assert_eq!(route.as_deref().map_err(|kind| &**kind), expected),
        }
    }

    #[test]
    fn requests_are_routed_by_path() {
        let get = |uri, expected| check(ListenerKind::Loopback, &Method::GET, uri, None, expected);
        get("/ping", Ok("Ping"));
        get("/ready", Ok("Ready { is_trusted: true }"));
        get("/metrics", Ok("Metrics"));
        get("/status", Ok("Status"));
        get("/secretsmanager/get?secretId=x", Ok("Secret"));
        get("/v1/x?field=y", Ok("Secret"));
        get("/nothing", Err("NotFoundException"));
        get("/secretsmanager/get", Err("ValidationException"));
        get("/secretsmanager/get/?secretId=x", Ok("Secret"));
        get("/secretsmanager/get?secretId=x&roleArn=y", Err("ValidationException"));
        get(
            "/secretsmanager/get?secretId=x&roleArn=arn:aws:iam::123456789012:role/x",
            Ok("Secret"),
        );
        get("/systemsmanager/parameters/get?name=x", Ok("Secret"));
        get("/systemsmanager/parameters/get/?name=x&label=y", Ok("Secret"));
        get("/systemsmanager/parameters/get", Err("ValidationException"));
        get(
            "/systemsmanager/parameters/get?name=x&roleArn=arn:aws:iam::123456789012:role/x",
            Ok("Secret"),
        );
    }

    #[test]
    fn only_probes_answer_head() {
        let head =
            |uri, expected| check(ListenerKind::Loopback, &Method::HEAD, uri, None, expected);
        head("/ping", Ok("Ping"));
        head("/ready", Ok("Ready"));
        head("/metrics", Ok("Metrics"));
        for uri in ["/status", "/secretsmanager/get?secretId=x", "/v1/x", "/resolve", "/nothing"] {
            head(uri, Err("MethodNotAllowedException"));
        }
        check(ListenerKind::Metrics, &Method::HEAD, "/ready", None, Ok("Ready"));
    }

    #[test]
    fn reads_need_get_and_no_large_body() {
        let post =
            |uri, expected| check(ListenerKind::Loopback, &Method::POST, uri, None, expected);
        post("/secretsmanager/get?secretId=x", Err("MethodNotAllowedException"));
        post("/nothing", Err("MethodNotAllowedException"));
        post("/", Err("UnsupportedOperationException"));
        let target = Some(("x-amz-target", "secretsmanager.GetSecretValue"));
        check(ListenerKind::Loopback, &Method::POST, "/", target, Ok("Call(GetSecretValue)"));
        check(ListenerKind::Metrics, &Method::POST, "/", target, Err("MethodNotAllowedException"));
        post("/restore", Ok("Restore"));
        check(
            ListenerKind::Loopback,
            &Method::GET,
            "/restore",
            None,
            Err("MethodNotAllowedException"),
        );
        check(
            ListenerKind::Metrics,
            &Method::POST,
            "/restore",
            None,
            Err("MethodNotAllowedException"),
        );
        post("/resolve", Ok("Resolve"));
        check(
            ListenerKind::Loopback,
            &Method::GET,
            "/resolve",
            None,
            Err("MethodNotAllowedException"),
        );
        check(
            ListenerKind::Metrics,
            &Method::POST,
            "/resolve",
            None,
            Err("MethodNotAllowedException"),
        );
        let uri = "/secretsmanager/get?secretId=x";
        let body = |header, expected| {
            check(ListenerKind::Loopback, &Method::GET, uri, Some(header), expected)
        };
        body(("content-length", "0"), Ok("Secret"));
        body(("content-length", "65536"), Ok("Secret"));
        body(("content-length", "65537"), Err("BadRequestException"));
        body(("content-length", "99999999999999999999"), Err("BadRequestException"));
        body(("transfer-encoding", "chunked"), Ok("Secret"));
    }

    #[test]
    fn metrics_port_serves_only_probes() {
        let get = |uri, expected| check(ListenerKind::Metrics, &Method::GET, uri, None, expected);
        get("/ping", Ok("Ping"));
        get("/metrics", Ok("Metrics"));
        get("/ready", Ok("Ready { is_trusted: false }"));
        get("/status", Err("NotFoundException"));
        get("/secretsmanager/get?secretId=x", Err("NotFoundException"));
        get("/systemsmanager/parameters/get?name=x", Err("NotFoundException"));
    }
}
