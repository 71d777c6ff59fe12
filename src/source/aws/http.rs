//! Sends HTTP requests to AWS. The AWS SDK, which gets credentials, uses the same client.

#[cfg(feature = "host")]
mod sdk_client;

use crate::clock::within;
use crate::http1::{ExchangeError, in_memory};
use crate::outbound::{CallError, Outbound};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

/// The maximum time for opening a connection to AWS, including the TLS handshake. The AWS SDK has
/// the same default.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// The maximum size of a response body from AWS in bytes, about twice the size of the largest
/// possible response. That response contains 20 secrets of 64 KiB, and JSON escapes make each byte
/// up to six times as long.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The HTTP client for calls to AWS. All clones share their idle connections.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Outbound>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// The maximum time for opening a connection, including the TLS handshake.
    pub(super) connect: Duration,
    /// The maximum time for the whole call, including the time to open a connection.
    pub(super) attempt: Duration,
}

impl Timeouts {
    pub(super) fn for_attempt(attempt: Duration) -> Self {
        Self { connect: CONNECT_TIMEOUT.min(attempt), attempt }
    }
}

impl Client {
    pub(super) fn new(outbound: Arc<Outbound>) -> Self {
        Self(outbound)
    }

    /// Sends one request to AWS, and returns the complete response. The URI of `request` must be a
    /// full URL. The function does not retry a failed call.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        timeouts: Timeouts,
    ) -> Result<Response<Bytes>, ConnectorError> {
        let call = pin!(call(&self.0, request, Some(timeouts.connect)));
        within_timeout(&self.0, Some(timeouts.attempt), call).await?
    }
}

async fn call(
    outbound: &Outbound,
    request: Request<Bytes>,
    connect_timeout: Option<Duration>,
) -> Result<Response<Bytes>, ConnectorError> {
    let server = request.uri().clone();
    let request = to_wire(request)?.map(in_memory);
    let response = outbound.send(&server, request, connect_timeout).await;
    let (head, body) = response.map_err(to_connector_error)?.into_parts();
    let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
    let body = body.map_err(|error| to_connector_error(ExchangeError::Body(error).into()))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// Awaits the future `work`, and returns an error if `work` takes longer than `timeout`. `work` is
/// a pinned reference, because a future that is passed by value needs memory for another copy.
async fn within_timeout<T>(
    outbound: &Outbound,
    timeout: Option<Duration>,
    work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, ConnectorError> {
    match timeout {
        None => Ok(work.await),
        Some(timeout) => within(&**outbound.clock(), timeout, work).await.ok_or_else(timed_out),
    }
}

fn timed_out() -> ConnectorError {
    ConnectorError::timeout("the call to AWS did not finish within the timeout".into())
}

/// Converts a request to the form in which HTTP/1.1 sends it: with a path instead of a full URL,
/// and with a `Host` header.
fn to_wire(request: Request<Bytes>) -> Result<Request<Bytes>, ConnectorError> {
    let (mut head, body) = request.into_parts();
    if !head.headers.contains_key(HOST) {
        let host = HeaderValue::from_str(signed_host(&head.uri));
        head.headers.insert(HOST, host.map_err(|error| unsendable(error.into()))?);
    }
    head.uri = head.uri.into_parts().path_and_query.map_or_else(Uri::default, Uri::from);
    Ok(Request::from_parts(head, body))
}

/// Returns the value of the HTTP header `Host` for a request to `uri`, with the port unless it is
/// the default port of http or https. The agent must send exactly this value, because AWS's
/// signature of the request contains it.
fn signed_host(uri: &Uri) -> &str {
    let host = match (uri.scheme_str(), uri.port_u16()) {
        (Some("https"), Some(443)) | (Some("http"), Some(80)) => uri.host(),
        _ => uri.authority().map(hyper::http::uri::Authority::as_str),
    };
    host.unwrap_or_default()
}

fn unsendable(reason: Box<dyn Error + Send + Sync>) -> ConnectorError {
    ConnectorError::io(reason)
}

/// Returns why a connection to AWS could not be opened, for example because the host name is
/// unknown. Returns `None` for errors after the connection was opened, because their texts may
/// quote the response of AWS, which may contain secret values.
pub(super) fn connect_failure(error: &ConnectorError) -> Option<String> {
    error.source()?.downcast_ref::<CallError>()?.connect_failure()
}

fn to_connector_error(error: CallError) -> ConnectorError {
    match error {
        CallError::OwnAddress => ConnectorError::user(error.into()),
        CallError::ConnectTimeout => timed_out(),
        CallError::BadUrl => {
            unsendable("the URL of the AWS endpoint is not an http or https URL with a host".into())
        }
        CallError::Exchange(ExchangeError::Body(_)) => ConnectorError::other(error.into(), None),
        // The original error is dropped, because it contains the request with AWS credentials.
        CallError::Exchange(ExchangeError::NotSent { .. }) => {
            ConnectorError::io("AWS closed the connection before Sidekey sent the request".into())
        }
        _ => ConnectorError::io(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_host_has_no_default_port() {
        for (url, expected) in [
            ("https://vpce.amazonaws.com/", "vpce.amazonaws.com"),
            ("https://vpce.amazonaws.com:443", "vpce.amazonaws.com"),
            ("https://vpce.amazonaws.com:8443", "vpce.amazonaws.com:8443"),
            ("http://127.0.0.1:80/", "127.0.0.1"),
            ("http://[::1]:443/", "[::1]:443"),
        ] {
            assert_eq!(
                signed_host(&url.parse().expect("the test URL must be valid")),
                expected,
                "{url}"
            );
        }
    }
}
