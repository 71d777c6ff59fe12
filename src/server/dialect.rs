//! Builds HTTP responses in the format of the AWS agent that Sidekey imitates, which the setting
//! `SIDEKEY_DIALECT` selects.

pub(crate) mod agent;
pub(crate) mod extension;
pub(crate) mod aws_api;
pub(in crate::server) mod error_body;
mod go_json;
pub(in crate::server) mod parameter;
pub(in crate::server) mod json;

use super::problem::Problem;
use super::request::{Target, UnknownParameter};
use super::response::Response;
use crate::cache::entry::Entry;
use crate::cache::rendered::Form;
use crate::secret::value::SecretValue;
use crate::secret::version::Details;
use error_body::json_error;
use hyper::StatusCode;
use parameter::Answer;

/// The AWS agent whose response format Sidekey imitates: AWS's Secrets Manager Agent, or AWS's
/// Parameters and Secrets Lambda Extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Agent,
    Extension,
}

impl Dialect {
    /// Returns the value of the setting `SIDEKEY_DIALECT` that selects this format of responses:
    /// `agent` or `extension`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Extension => "extension",
        }
    }

    /// Returns whether Sidekey refuses or ignores query parameters with unknown names. Sidekey does
    /// the same as the AWS agent that it imitates.
    pub(crate) fn unknown_parameter(self) -> UnknownParameter {
        match self {
            Self::Agent => UnknownParameter::Refuse,
            Self::Extension => UnknownParameter::Ignore,
        }
    }

    /// Returns the body of the answer to a read of a cached secret or parameter, in the format of
    /// the AWS agent that Sidekey imitates.
    ///
    /// AWS's Secrets Manager Agent serves no parameters, so parameters always have the format of
    /// AWS's Lambda extension. The cache stores the body for later reads.
    pub(crate) fn body(self, entry: &Entry) -> &SecretValue {
        entry.answer(Form::Dialect, |version| match (&version.details, self) {
            (Details::Parameter(parameter), _) => {
                Answer::of_parameter(version, parameter, &entry.selector).body()
            }
            (_, Self::Agent) => agent::body(version),
            (_, Self::Extension) => extension::body(version),
        })
    }

    /// Builds the response to a failed request, in the format of the AWS agent that Sidekey
    /// imitates. AWS API calls and `/resolve` requests have their own formats, because AWS's agents
    /// serve neither.
    pub(crate) fn problem(self, target: Target<'_>, problem: &Problem) -> Response {
        // `/resolve` has its own error format, but not if the check of the headers, the token or
        // the method fails. Such an error has the format of the imitated AWS agent.
        let is_failed_check =
            matches!(problem, Problem::Refused(_) | Problem::MethodNotGet | Problem::MethodNotPost);
        match (target, self) {
            (Target::AwsApi(service), _) => aws_api::problem(problem, service),
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
