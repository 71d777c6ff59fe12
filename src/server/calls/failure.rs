//! The answers of the agent to calls that it does not make, and to calls without an answer.

use crate::broker::refusal::CallRefusal;
use crate::cache::ReadError;
use crate::server::dialect::error_body::{ErrorBody, error_response};
use crate::server::gate::Refusal;
use crate::server::problem::Problem;
use crate::server::response::{JSON, Response};
use hyper::StatusCode;

/// Why the agent answers a call itself, instead of passing on the answer of the external API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request has no valid token or comes from another host, or too many connections are open.
    Gate(Box<Problem>, Refusal),
    /// The secret that contains the credential of the call could not be read.
    Secret(Box<Problem>),
    Call(CallRefusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Gate(Box::new(Problem::Refused(refusal)), refusal)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Secret(Box::new(problem))
    }
}

impl From<CallRefusal> for Failure {
    fn from(refusal: CallRefusal) -> Self {
        Self::Call(refusal)
    }
}

impl Failure {
    pub(super) fn into_response(self) -> Response {
        let message = self.message();
        let body = ErrorBody { kind: self.kind(), message: &message, hint: self.hint() };
        error_response(self.status(), JSON, &body)
    }

    pub(super) fn kind(&self) -> &str {
        match self {
            Self::Gate(problem, _) | Self::Secret(problem) => problem.kind(),
            Self::Call(refusal) => refusal.kind(),
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Gate(_, Refusal::Token) => {
                "send the route's phantom token as API key, or the function's AWS_SESSION_TOKEN (or \
                 SIDEKEY_TOKEN) in the header X-Aws-Parameters-Secrets-Token"
            }
            Self::Gate(problem, _) | Self::Secret(problem) => problem.hint(),
            Self::Call(refusal) => refusal.hint(),
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Gate(problem, _) => problem.message(),
            Self::Secret(problem) => {
                format!("no credential can be made from the secret: {}", problem.message())
            }
            Self::Call(refusal) => refusal.to_string(),
        }
    }

    /// Returns the word under which the metrics count this failure.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Gate(..) => "gate",
            Self::Secret(_) => "secret",
            Self::Call(refusal) => refusal.label(),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Gate(_, Refusal::TooManyConnections) => StatusCode::TOO_MANY_REQUESTS,
            Self::Gate(_, Refusal::Token) => StatusCode::FORBIDDEN,
            Self::Gate(..) => StatusCode::BAD_REQUEST,
            Self::Secret(problem) => match **problem {
                Problem::Reference { .. } => StatusCode::BAD_REQUEST,
                Problem::Read(ReadError::OutOfScope) => StatusCode::FORBIDDEN,
                _ => StatusCode::FAILED_DEPENDENCY,
            },
            Self::Call(refusal) => refusal.status(),
        }
    }
}
