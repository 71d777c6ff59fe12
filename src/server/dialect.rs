//! A wire format in which a reader asks and is answered.

pub mod agent;
pub mod aws_api;
pub mod extension;
pub mod resolve;

use super::Response;
use super::problem::Problem;
use super::request::{Target, Unknown};
use crate::cache::entry::Entry;
use crate::cache::rendered::Form;
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use std::io::{self, Write};
use zeroize::Zeroizing;

/// The dialect of a deployment. The AWS API is always spoken beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// That of AWS's agent.
    Agent,
    /// That of AWS's Lambda extension.
    Extension,
}

impl Dialect {
    /// Returns the dialect's name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Extension => "extension",
        }
    }

    /// Returns what becomes of a parameter that there is not.
    pub fn unknown(self) -> Unknown {
        match self {
            Self::Agent => Unknown::Refused,
            Self::Extension => Unknown::Ignored,
        }
    }

    /// Returns an entry as this dialect writes it, rendered once.
    pub fn body(self, entry: &Entry) -> &SecretValue {
        entry.answer(
            Form::Dialect,
            match self {
                Self::Agent => agent::body,
                Self::Extension => extension::body,
            },
        )
    }

    /// Returns the answer to a request that failed. What asked the AWS API is answered in its form,
    /// whatever the deployment's dialect; and what `/resolve` says, which neither agent has, is always
    /// JSON.
    pub fn problem(self, target: Target<'_>, problem: &Problem) -> Response {
        let is_of_gate =
            matches!(problem, Problem::Refused(_) | Problem::Method | Problem::MethodPost);
        match (target, self) {
            (Target::AwsApi, _) => aws_api::problem(problem),
            (Target::Resolve, _) if *problem == Problem::TooManyBodies => {
                json_error(StatusCode::SERVICE_UNAVAILABLE, problem)
            }
            (Target::Resolve, _) if !is_of_gate => json_error(StatusCode::BAD_REQUEST, problem),
            (_, Self::Agent) => agent::problem(problem),
            (_, Self::Extension) => extension::problem(problem),
        }
    }
}

/// A value as JSON has it: text as it is, or bytes in base64.
enum Value<'a> {
    Text(&'a str),
    Binary(Zeroizing<String>),
}

impl<'a> Value<'a> {
    fn of(content: &'a Content) -> Self {
        match content {
            Content::Text(text) => Self::text_of(text),
            Content::Binary(bytes) => Self::Binary(Zeroizing::new(STANDARD.encode(bytes.expose()))),
        }
    }

    fn text_of(text: &'a SecretValue) -> Self {
        Self::Text(std::str::from_utf8(text.expose()).expect("what is a text was a `String`"))
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    fn binary(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Binary(base64) => Some(base64),
        }
    }
}

/// The form of every error that no dialect fixes another for.
#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    kind: &'a str,
    message: &'a str,
    hint: &'a str,
}

fn json_error(status: StatusCode, problem: &Problem) -> Response {
    let message = problem.message();
    json_error_of(status, problem.kind(), &message, problem.hint(), "application/json")
}

fn json_error_of(
    status: StatusCode,
    kind: &str,
    message: &str,
    hint: &str,
    content_type: &'static str,
) -> Response {
    let body = ErrorBody { kind, message, hint };
    let body = serde_json::to_vec(&body).expect("strings are always JSON");
    answer(status, content_type, body.into())
}

/// Makes an answer of a body.
pub fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Renders JSON that holds a secret into a buffer of exactly its size: one that grew would leave
/// copies behind that nobody wipes.
fn render(value: &impl Serialize) -> SecretValue {
    render_as(value, CompactFormatter)
}

fn render_as<F>(value: &impl Serialize, format: F) -> SecretValue
where
    F: Formatter + Clone,
{
    render_sized(value, size(value, format.clone()), format)
}

fn size(value: &impl Serialize, format: impl Formatter) -> usize {
    let mut size = Counter(0);
    let mut serializer = serde_json::Serializer::with_formatter(&mut size, format);
    value.serialize(&mut serializer).expect("counting never fails");
    size.0
}

fn render_sized(value: &impl Serialize, size: usize, format: impl Formatter) -> SecretValue {
    let mut body = Vec::with_capacity(size);
    let mut serializer = serde_json::Serializer::with_formatter(&mut body, format);
    value.serialize(&mut serializer).expect("a vector takes every byte");
    SecretValue::new(body)
}

/// Counts bytes instead of keeping them.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
