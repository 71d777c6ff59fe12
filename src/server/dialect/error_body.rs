//! The JSON body of error responses. Errors that AWS's agents send as plain text do not use it.

use crate::server::problem::Problem;
use crate::server::response::{JSON, Response, with_body};
use hyper::StatusCode;
use serde::Serialize;

/// The JSON body of an error response: the error's type, its message, and a hint what to do.
#[derive(Serialize)]
pub(in crate::server) struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    pub(in crate::server) kind: &'a str,
    pub(in crate::server) message: &'a str,
    pub(in crate::server) hint: &'a str,
}

pub(super) fn json_error(status: StatusCode, problem: &Problem) -> Response {
    let message = problem.message();
    let body = ErrorBody { kind: problem.kind(), message: &message, hint: problem.hint() };
    error_response(status, JSON, &body)
}

pub(in crate::server) fn error_response(
    status: StatusCode,
    content_type: &'static str,
    body: &ErrorBody<'_>,
) -> Response {
    let body = serde_json::to_vec(body)
        .expect("the body of an error response must be serializable as JSON");
    with_body(status, content_type, body.into())
}
