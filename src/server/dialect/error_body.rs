//! The JSON body of errors, for all cases in which a dialect does not demand another format.

use crate::server::problem::Problem;
use crate::server::response::{JSON, Response, with_body};
use hyper::StatusCode;
use serde::Serialize;

/// The JSON body of an error.
#[derive(Serialize)]
pub(in crate::server) struct ErrorBody<'a> {
    /// The error type, such as `AccessDeniedException`.
    #[serde(rename = "__type")]
    pub(in crate::server) kind: &'a str,
    /// What happened.
    pub(in crate::server) message: &'a str,
    /// What the caller or the operator should do.
    pub(in crate::server) hint: &'a str,
}

/// Builds the JSON response to a request that failed, with the problem's own type and message.
pub(super) fn json_error(status: StatusCode, problem: &Problem) -> Response {
    let message = problem.message();
    let body = ErrorBody { kind: problem.kind(), message: &message, hint: problem.hint() };
    error_response(status, JSON, &body)
}

/// Builds an error response with the given body and content type.
pub(super) fn error_response(
    status: StatusCode,
    content_type: &'static str,
    body: &ErrorBody<'_>,
) -> Response {
    let body = serde_json::to_vec(body).expect("a struct of strings serialises to JSON");
    with_body(status, content_type, body.into())
}
