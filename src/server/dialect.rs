//! The dialects. A dialect is the AWS agent whose responses Sidekey imitates: their bodies,
//! statuses and errors.

pub(crate) mod agent;
pub(crate) mod extension;
pub(crate) mod aws_api;
pub(in crate::server) mod error_body;
pub(in crate::server) mod json;

use super::problem::Problem;
use super::request::{Target, UnknownParameter};
use super::response::Response;
use crate::cache::entry::Entry;
use crate::cache::rendered::Form;
use crate::secret::value::SecretValue;
use error_body::json_error;
use hyper::StatusCode;

/// The dialect: the AWS agent whose responses Sidekey imitates. Sidekey serves the AWS API in both
/// dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Sidekey imitates AWS's Secrets Manager Agent.
    Agent,
    /// Sidekey imitates AWS's Parameters and Secrets Lambda Extension.
    Extension,
}

impl Dialect {
    /// Returns the name of the dialect (the AWS agent whose responses Sidekey imitates), as written
    /// in the setting `SIDEKEY_DIALECT`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Extension => "extension",
        }
    }

    /// Returns whether Sidekey refuses or ignores query parameters with unknown names. The imitated
    /// AWS agent decides this.
    pub(crate) fn unknown_parameter(self) -> UnknownParameter {
        match self {
            Self::Agent => UnknownParameter::Refuse,
            Self::Extension => UnknownParameter::Ignore,
        }
    }

    /// Returns the body of the answer to a read of a cached secret, in the format of the imitated
    /// AWS agent.
    ///
    /// The first read renders the body. The cache entry keeps the body for later reads.
    pub(crate) fn body(self, entry: &Entry) -> &SecretValue {
        entry.answer(
            Form::Dialect,
            match self {
                Self::Agent => agent::body,
                Self::Extension => extension::body,
            },
        )
    }

    /// Builds the response to a failed request, in the format of the imitated AWS agent.
    ///
    /// Errors of the AWS API and of `/resolve` have the same format for both agents.
    pub(crate) fn problem(self, target: Target<'_>, problem: &Problem) -> Response {
        // If a request for `/resolve` fails the check of its headers, token or method, the answer
        // has the format of the imitated agent of AWS.
        let is_failed_check =
            matches!(problem, Problem::Refused(_) | Problem::MethodNotGet | Problem::MethodNotPost);
        match (target, self) {
            (Target::AwsApi, _) => aws_api::problem(problem),
            (Target::Resolve, _) if *problem == Problem::Overloaded => {
                json_error(StatusCode::SERVICE_UNAVAILABLE, problem)
            }
            (Target::Resolve, _) if !is_failed_check => {
                json_error(StatusCode::BAD_REQUEST, problem)
            }
            (_, Self::Agent) => agent::problem(problem),
            (_, Self::Extension) => extension::problem(problem),
        }
    }
}
