//! Reads responses in the JSON protocol of AWS.
//!
//! A response may contain secret values, so no error quotes a response.

use super::aws_error::{self, ErrorResponse};
use crate::secret::service::Service;
use crate::source::FetchError;
use bytes::Bytes;
use serde::Deserialize;
use std::fmt;
use std::mem;
use zeroize::Zeroize;

/// The maximum length of an AWS error code in bytes. AWS's error codes are shorter than 50 bytes.
const CODE_BYTES_MAX: usize = 100;

/// The body of a successful response of an AWS service. Dropping this value overwrites the bytes,
/// unless the HTTP library still uses the same memory as its buffer.
pub(super) struct Body(Bytes);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Ok(mut unshared) = mem::take(&mut self.0).try_into_mut() {
            unshared[..].zeroize();
        }
    }
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(rename = "__type")]
    code: Option<Box<str>>,
    message: Option<Box<str>>,
    /// The same field as `message`. Some services write its name with a capital letter.
    #[serde(rename = "Message")]
    capitalized_message: Option<Box<str>>,
}

/// Returns the body of a successful response of `service`. Otherwise returns the error that the
/// response describes. A response of more than `bytes_max` bytes is an error.
pub(super) fn body(
    response: hyper::Response<Bytes>,
    service: Service,
    bytes_max: usize,
) -> Result<Body, FetchError> {
    let (head, body) = response.into_parts();
    let body = Body(body);
    if body.0.len() > bytes_max {
        let message = format!("the response of {} has more than {bytes_max} bytes", service.name());
        return Err(aws_error::unreadable(&message));
    }
    if head.status.is_success() {
        return Ok(body);
    }
    let error: ErrorBody = serde_json::from_slice(&body.0).unwrap_or_default();
    let (code, message) = (error.code, error.message.or(error.capitalized_message));
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let response = ErrorResponse {
        status: head.status.as_u16(),
        code: header("x-amzn-errortype")
            .and_then(plain_code)
            .or_else(|| plain_code(code.as_deref()?)),
        message: message.as_deref(),
        request_id: header("x-amzn-requestid"),
    };
    Err(aws_error::from_response(service.into(), &response))
}

/// Returns an error code without the namespace before it and the URL after it, which AWS may add:
/// `com.amazonaws.ssm#ParameterNotFound` or `ParameterNotFound:http://...`. Returns `None` if the
/// text is not an error code.
fn plain_code(text: &str) -> Option<&str> {
    let code = text.split(':').next()?;
    let code = code.rsplit('#').next()?.trim();
    let is_code = !code.is_empty()
        && code.len() <= CODE_BYTES_MAX
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'));
    is_code.then_some(code)
}

/// Parses the JSON of a response of `service`. The parser's error is dropped, because it may quote
/// the response.
pub(super) fn parsed<'a, T: Deserialize<'a>>(
    body: &'a Body,
    service: Service,
) -> Result<T, FetchError> {
    serde_json::from_slice(&body.0).map_err(|_| {
        let message = format!("the response of {} could not be read", service.name());
        aws_error::unreadable(&message)
    })
}

/// Returns the value in `part`. If `part` is `None`, returns the error that the response of AWS
/// does not contain `name`.
pub(super) fn required<T>(part: Option<T>, name: &str) -> Result<T, FetchError> {
    part.ok_or_else(|| aws_error::unreadable(&format!("the response of AWS contains no {name}")))
}
