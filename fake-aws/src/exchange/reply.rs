//! Builds the HTTP response for the result of an operation or for an error, and injects the faults
//! that change a response.

use super::response_body::ResponseBody;
use crate::clock::wait;
use crate::error::AwsError;
use crate::faults::Fault;
use crate::operation::{Operation, Service};
use crate::random;
use crate::sts::query;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const XML_TYPE: HeaderValue = HeaderValue::from_static("text/xml");

/// The response body for the fault [`Fault::Garbage`]. These bytes are neither valid JSON nor valid
/// UTF-8.
const GARBAGE: &[u8] = b"\xff\xfe<html>502 Bad Gateway</html>";

pub(crate) struct Reply {
    status: StatusCode,
    content_type: HeaderValue,
    request_id: String,
    body: Bytes,
    error_type: Option<String>,
}

impl Reply {
    /// Creates the response for an operation that succeeded. `result` is the JSON or XML that the
    /// operation produced.
    pub(crate) fn success(operation: Operation, result: String) -> Self {
        let request_id = random::uuid();
        let (content_type, text) = match operation.service() {
            Service::SecretsManager | Service::ParameterStore => (JSON_TYPE, result),
            Service::Sts => (XML_TYPE, query::envelope(operation, &result, &request_id)),
        };
        let (status, body) = (StatusCode::OK, text.into());
        Self { status, content_type, request_id, body, error_type: None }
    }

    /// Creates an error response. Its body is XML if `service` is STS, and JSON for all other
    /// services.
    pub(crate) fn error(service: Service, error: &AwsError) -> Self {
        let request_id = random::uuid();
        let (content_type, code, text) = match service {
            Service::SecretsManager | Service::ParameterStore => {
                (JSON_TYPE, error.status, error.to_json().to_string())
            }
            Service::Sts => {
                let (code, xml) = query::error_envelope(error, &request_id);
                (XML_TYPE, code, xml)
            }
        };
        // A test may inject an error whose status is not a valid HTTP status. Such an error gets
        // status 500.
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error_type = Some(error.kind.to_string());
        Self { status, content_type, request_id, body: text.into(), error_type }
    }

    /// Returns the error type in this response, such as `ThrottlingException`, or `None` if the
    /// response contains a result.
    pub(crate) fn error_type(&self) -> Option<String> {
        self.error_type.clone()
    }

    /// Returns the HTTP response, with a fault injected. For example, a fault can truncate the
    /// response body.
    pub(crate) async fn send_with(mut self, fault: Fault) -> Response<ResponseBody> {
        match fault {
            Fault::Truncated => self.send(ResponseBody::truncated),
            Fault::Drip(interval) => self.send(|bytes| ResponseBody::drip(bytes, interval)),
            Fault::Delay(span) => {
                wait(span).await;
                self.send(ResponseBody::complete)
            }
            Fault::Garbage => {
                self.body = Bytes::from_static(GARBAGE);
                self.send(ResponseBody::complete)
            }
            Fault::ContentType(name) => {
                let plain = HeaderValue::from_static("text/plain");
                self.content_type = HeaderValue::try_from(name).unwrap_or(plain);
                self.send(ResponseBody::complete)
            }
            _ => self.send(ResponseBody::complete),
        }
    }

    /// Returns the HTTP response. The function `to_body` determines how the fake AWS server sends
    /// the body: at once, truncated or byte by byte.
    pub(crate) fn send(
        self,
        to_body: impl FnOnce(Bytes) -> ResponseBody,
    ) -> Response<ResponseBody> {
        Response::builder()
            .status(self.status)
            .header(CONTENT_TYPE, self.content_type)
            .header("x-amzn-requestid", self.request_id)
            .body(to_body(self.body))
            .expect("the response must be valid, because its status and headers are valid")
    }
}
