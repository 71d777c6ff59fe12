//! The JSON body of errors. Some errors have no JSON body, because the imitated AWS agent sends
//! them as plain text.

use crate::server::problem::Problem;
use crate::server::response::{JSON, Response, with_body};
use hyper::StatusCode;
use serde::Serialize;

/// The JSON body of an error: its type, message and hint.
#[derive(Serialize)]
pub(in crate::server) struct ErrorBody<'a> {
    /// The type of the error, such as `AccessDeniedException`.
    #[serde(rename = "__type")]
    pub(in crate::server) kind: &'a str,
    pub(in crate::server) message: &'a str,
    /// Advice for the caller or the operator: what to do about the error.
    pub(in crate::server) hint: &'a str,
}

/// Builds the JSON response to a failed request: the type, message and hint of `problem`.
pub(super) fn json_error(status: StatusCode, problem: &Problem) -> Response {
    let message = problem.message();
    let body = ErrorBody { kind: problem.kind(), message: &message, hint: problem.hint() };
    error_response(status, JSON, &body)
}

pub(super) fn error_response(
    status: StatusCode,
    content_type: &'static str,
    body: &ErrorBody<'_>,
) -> Response {
    let body = serde_json::to_vec(body).expect("a struct of strings serialises to JSON");
    with_body(status, content_type, body.into())
}
