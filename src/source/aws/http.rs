//! The HTTP/1.1 client for all calls to AWS, also those of the AWS SDK for credentials. The HTTP client
//! reuses connections for calls in quick succession, and refuses to call the agent itself.

mod pool;
mod dialer;
mod origin;
mod trust;
mod call_error;
#[cfg(feature = "host")]
mod sdk_client;

pub(super) use pool::IdlePolicy;
pub(crate) use trust::Trust;

use crate::clock::{Clock, within};
use crate::http1::{Connection, ExchangeError};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use call_error::CallError;
use dialer::Dialer;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use origin::Origin;
use pool::Pool;
use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

/// The maximum time for opening a connection to AWS, including the TLS handshake. The AWS SDK has
/// the same default.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// The HTTP client for calls to AWS. All clones share their idle connections.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Transport>);

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
    /// Creates the HTTP client. `own_ports` are the loopback ports on which the agent itself
    /// listens. The client refuses to call these ports, because the agent would call itself.
    pub(super) fn new(
        trust: Trust,
        own_ports: Vec<u16>,
        idle_policy: IdlePolicy,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let dialer = Dialer::new(own_ports, trust);
        let pool = Arc::new(Pool::new(idle_policy, clock.clone()));
        Self(Arc::new(Transport { dialer, pool, clock }))
    }

    /// Sends one request to AWS, and returns the complete response. The URI of `request` must be a
    /// full URL. The function does not retry a failed call.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        timeouts: Timeouts,
    ) -> Result<Response<Bytes>, ConnectorError> {
        let call = pin!(self.0.call(request, Some(timeouts.connect)));
        self.0.within(Some(timeouts.attempt), call).await?
    }
}

#[derive(Debug)]
struct Transport {
    dialer: Dialer,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
}

impl Transport {
    async fn call(
        &self,
        request: Request<Bytes>,
        connect_timeout: Option<Duration>,
    ) -> Result<Response<Bytes>, ConnectorError> {
        let uri = request.uri().clone();
        let origin = Origin::of(&uri).ok_or_else(|| {
            unsendable("the URL of the AWS endpoint is not an http or https URL with a host".into())
        })?;
        let mut request = to_wire(request)?;
        if let Some(reused) = self.pool.take(&origin).await {
            match self.exchange(reused, &origin, request).await {
                // The server closed the reused connection before the request was sent. The agent
                // sends the request again over a new connection.
                Err(ExchangeError::NotSent { request: unsent, .. }) => request = *unsent,
                result => return result.map_err(|error| to_connector_error(error.into())),
            }
        }
        let dial = pin!(self.dialer.dial(&origin, &uri));
        let dialed = self.within(connect_timeout, dial).await?.map_err(to_connector_error)?;
        self.exchange(dialed, &origin, request)
            .await
            .map_err(|error| to_connector_error(error.into()))
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        origin: &Origin,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let response = connection.exchange(request).await?;
        // A connection is not reused after a 5xx response. There may be several servers behind one
        // host name, so a new connection may reach a server that works.
        if !response.status().is_server_error() {
            self.pool.put(origin.clone(), connection).await;
        }
        Ok(response)
    }

    /// Awaits the future `work`, and returns an error if `work` takes longer than `timeout`. `work`
    /// is a pinned reference, because a future that is passed by value needs memory for another
    /// copy.
    async fn within<T>(
        &self,
        timeout: Option<Duration>,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, ConnectorError> {
        match timeout {
            None => Ok(work.await),
            Some(timeout) => within(&*self.clock, timeout, work).await.ok_or_else(|| {
                ConnectorError::timeout("the call to AWS did not finish within the timeout".into())
            }),
        }
    }
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
/// unknown. Returns `None` if the connection was open: a later error may quote the response of AWS,
/// which may contain secret values.
pub(super) fn connect_failure(error: &ConnectorError) -> Option<String> {
    let CallError::Connect(cause) = error.source()?.downcast_ref()? else { return None };
    let mut root: &dyn Error = &**cause;
    while let Some(next) = root.source() {
        root = next;
    }
    Some(root.to_string())
}

fn to_connector_error(error: CallError) -> ConnectorError {
    match error {
        CallError::OwnAddress => ConnectorError::user(error.into()),
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
