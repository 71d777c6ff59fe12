//! What an admitted request asks for.
//!
//! Pure: request parts in, what is asked out. It takes the gate's proof.

use super::dialect::Dialect;
use super::dialect::aws_api::operation::Operation;
use super::gate::{Admitted, Door};
use super::problem::{NotServed, Problem};
use super::request::{Query, Target};
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Whether the process lives.
    Ping,
    /// Whether everything listed is held; with names, if the caller is trusted.
    Ready {
        /// Whether the caller showed a token.
        is_trusted: bool,
    },
    /// The metrics.
    Metrics,
    /// Every entry, without values.
    Status,
    /// To let it be known that the process was restored from a snapshot.
    Restore,
    /// Every reference of a message or an event, which is still to be read.
    Resolve,
    /// A secret.
    Secret(Query<'a>),
    /// An operation of the AWS API, whose body is still to be read.
    Call(Operation),
}

/// Routes a request. The first failed check counts, in the order of AWS's agent: method, path,
/// query.
///
/// # Errors
///
/// What is wrong with the request.
pub fn route<'a>(
    admitted: &Admitted,
    door: Door,
    target: Target<'a>,
    method: &Method,
    query: &'a str,
    headers: &HeaderMap,
    dialect: Dialect,
) -> Result<Asked<'a>, Problem> {
    if target == Target::AwsApi && door != Door::Probes {
        return Ok(Asked::Call(Operation::of(headers)?));
    }
    match target {
        Target::Restore | Target::Resolve if door == Door::Probes => return Err(Problem::Method),
        Target::Restore | Target::Resolve if *method != Method::POST => {
            return Err(Problem::MethodPost);
        }
        Target::Restore => return Ok(Asked::Restore),
        Target::Resolve => return Ok(Asked::Resolve),
        _ if *method != Method::GET => return Err(Problem::Method),
        _ => {}
    }
    if has_body(headers) {
        return Err(Problem::Body);
    }
    match target {
        Target::Ping => Ok(Asked::Ping),
        Target::Ready => Ok(Asked::Ready { is_trusted: admitted.is_trusted }),
        Target::Metrics => Ok(Asked::Metrics),
        _ if door == Door::Probes => Err(Problem::Path),
        Target::Status => Ok(Asked::Status),
        Target::Get => secret(Query::of_get(query, dialect.unknown())?),
        Target::V1(id) => secret(Query::of_v1(id, query, dialect.unknown())?),
        Target::Parameters => Err(Problem::NotServed(NotServed::Parameters)),
        Target::AwsApi | Target::Restore | Target::Resolve | Target::Unknown => Err(Problem::Path),
    }
}

fn secret(query: Query<'_>) -> Result<Asked<'_>, Problem> {
    if query.role_arn {
        return Err(Problem::NotServed(NotServed::RoleArn));
    }
    Ok(Asked::Secret(query))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::gate::admit;
    use crate::tokens::{Token, Tokens};
    use hyper::Uri;

    /// Routes `method` and `uri` at `door` with a good token and `header`.
    #[track_caller]
    fn check(
        door: Door,
        method: &Method,
        uri: &str,
        header: Option<(&'static str, &str)>,
        expected: Result<&str, &str>,
    ) {
        let uri: Uri = uri.parse().expect("a good URI");
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-vault-token", "t"), ("x-amz-security-token", "t")].into_iter().chain(header)
        {
            headers.insert(name, value.parse().expect("a good value"));
        }
        let tokens = Tokens::new(vec![Token::new("t".to_owned()).expect("not empty")]);
        let target = Target::of(method, uri.path());
        let admitted = admit(target, door, &uri, &headers, &tokens).expect("admitted");
        let query = uri.query().unwrap_or_default();
        let asked = match route(&admitted, door, target, method, query, &headers, Dialect::Agent) {
            Ok(asked) => Ok(format!("{asked:?}")),
            Err(problem) => Err(problem.kind().to_owned()),
        };
        match (asked, expected) {
            (Ok(asked), Ok(expected)) => assert!(asked.starts_with(expected), "{asked}"),
            (asked, expected) => assert_eq!(asked.as_deref().map_err(|e| &**e), expected),
        }
    }

    #[test]
    fn requests_find_their_way() {
        let get = |uri, expected| check(Door::Loopback, &Method::GET, uri, None, expected);
        get("/ping", Ok("Ping"));
        get("/ready", Ok("Ready { is_trusted: true }"));
        get("/metrics", Ok("Metrics"));
        get("/status", Ok("Status"));
        get("/secretsmanager/get?secretId=x", Ok("Secret"));
        get("/v1/x?field=y", Ok("Secret"));
        get("/nothing", Err("NotFoundException"));
        get("/secretsmanager/get", Err("ValidationException"));
        get("/secretsmanager/get?secretId=x&roleArn=y", Err("UnsupportedOperationException"));
        get("/systemsmanager/parameters/get?name=x", Err("UnsupportedOperationException"));
    }

    #[test]
    fn only_get_is_served_and_without_a_body() {
        let post = |uri, expected| check(Door::Loopback, &Method::POST, uri, None, expected);
        post("/secretsmanager/get?secretId=x", Err("MethodNotAllowedException"));
        post("/nothing", Err("MethodNotAllowedException"));
        post("/", Err("UnsupportedOperationException"));
        let target = Some(("x-amz-target", "secretsmanager.GetSecretValue"));
        check(Door::Loopback, &Method::POST, "/", target, Ok("Call(GetSecretValue)"));
        check(Door::Probes, &Method::POST, "/", target, Err("MethodNotAllowedException"));
        post("/restore", Ok("Restore"));
        check(Door::Loopback, &Method::GET, "/restore", None, Err("MethodNotAllowedException"));
        check(Door::Probes, &Method::POST, "/restore", None, Err("MethodNotAllowedException"));
        post("/resolve", Ok("Resolve"));
        check(Door::Loopback, &Method::GET, "/resolve", None, Err("MethodNotAllowedException"));
        check(Door::Probes, &Method::POST, "/resolve", None, Err("MethodNotAllowedException"));
        let uri = "/secretsmanager/get?secretId=x";
        let body =
            |header, expected| check(Door::Loopback, &Method::GET, uri, Some(header), expected);
        body(("content-length", "5"), Err("BadRequestException"));
        body(("transfer-encoding", "chunked"), Err("BadRequestException"));
        body(("content-length", "0"), Ok("Secret"));
    }

    #[test]
    fn at_the_probes_door_there_are_probes_only() {
        let get = |uri, expected| check(Door::Probes, &Method::GET, uri, None, expected);
        get("/ping", Ok("Ping"));
        get("/metrics", Ok("Metrics"));
        get("/ready", Ok("Ready { is_trusted: false }"));
        get("/status", Err("NotFoundException"));
        get("/secretsmanager/get?secretId=x", Err("NotFoundException"));
    }
}
