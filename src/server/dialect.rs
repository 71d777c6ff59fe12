//! The dialects: which of AWS's agents Sidekey imitates in bodies, statuses and errors.

pub mod agent;
pub mod extension;
pub mod aws_api;
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

/// The dialect of a deployment. The AWS API is served in addition, whatever the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The dialect of AWS's Secrets Manager Agent.
    Agent,
    /// The dialect of AWS's Parameters and Secrets Lambda Extension.
    Extension,
}

impl Dialect {
    /// Returns the name of the dialect, as in `SIDEKEY_DIALECT`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Extension => "extension",
        }
    }

    /// Returns how the dialect handles query parameters with unknown names.
    pub fn unknown_parameter(self) -> UnknownParameter {
        match self {
            Self::Agent => UnknownParameter::Refuse,
            Self::Extension => UnknownParameter::Ignore,
        }
    }

    /// Returns the body with which this dialect answers a read of an entry. The body is rendered at the
    /// first read, and cached with the entry.
    pub fn body(self, entry: &Entry) -> &SecretValue {
        entry.answer(
            Form::Dialect,
            match self {
                Self::Agent => agent::body,
                Self::Extension => extension::body,
            },
        )
    }

    /// Builds the response to a request that failed.
    ///
    /// Two targets have the same format in both dialects: the AWS API, and `/resolve`, which neither of
    /// AWS's agents has.
    pub fn problem(self, target: Target<'_>, problem: &Problem) -> Response {
        // The checks before `/resolve` itself are those of AWS's agents, and so are their answers.
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
