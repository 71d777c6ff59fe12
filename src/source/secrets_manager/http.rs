//! The HTTP client of every AWS client here: HTTP/1.1, over connections kept for a burst of calls,
//! and never to Sidekey itself.

mod connection;
mod dialer;
mod pool;
mod trust;

pub(super) use pool::Idle;
pub use trust::{BadTrust, Trust};

use crate::clock::{Clock, within};
use crate::http1::{Connection, ExchangeError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use connection::Broken;
use dialer::{Dialer, Origin};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use pool::Pool;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

/// Builds the client of every AWS client here.
pub(super) fn client(
    trust: Trust,
    own_ports: Vec<u16>,
    idle: Idle,
    clock: Arc<dyn Clock>,
) -> SharedHttpClient {
    let (dialer, pool) = (Dialer::new(own_ports, trust), Arc::new(Pool::new(idle, clock.clone())));
    SharedHttpClient::new(Client(Arc::new(Calls { dialer, pool, clock })))
}

/// The client, as the SDK takes it.
#[derive(Clone, Debug)]
struct Client(Arc<Calls>);

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let calls = self.0.clone();
        let (connecting, reading) = (settings.connect_timeout(), settings.read_timeout());
        SharedHttpConnector::new(Connector { calls, connecting, reading })
    }
}

/// The client, with the times that one call may take.
#[derive(Debug)]
struct Connector {
    calls: Arc<Calls>,
    connecting: Option<Duration>,
    reading: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (calls, connecting, reading) = (self.calls.clone(), self.connecting, self.reading);
        HttpConnectorFuture::new(async move {
            let call = pin!(calls.call(request, connecting));
            let answer = calls.within(reading, call).await??;
            HttpResponse::try_from(answer.map(SdkBody::from))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Makes calls.
#[derive(Debug)]
struct Calls {
    dialer: Dialer,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
}

impl Calls {
    async fn call(
        &self,
        request: HttpRequest,
        connecting: Option<Duration>,
    ) -> Result<Response<Bytes>, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| unfit(error.into()))?;
        let uri = request.uri().clone();
        let origin = Origin::of(&uri).ok_or_else(|| unfit("no URL of HTTP's".into()))?;
        let mut request = sendable(request)?;
        if let Some(kept) = self.pool.take(&origin).await {
            match self.exchange(kept, &origin, request).await {
                // It was closed in the moment in which it was taken, and nobody was asked.
                Err(ExchangeError::NotSent { request: unsent, .. }) => request = *unsent,
                answer => return answer.map_err(|error| failed(error.into())),
            }
        }
        let fresh = pin!(self.dialer.dial(&origin, &uri));
        let fresh = self.within(connecting, fresh).await?.map_err(failed)?;
        self.exchange(fresh, &origin, request).await.map_err(|error| failed(error.into()))
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        origin: &Origin,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let answer = connection.exchange(request).await?;
        // Who fails may be one of several behind one name: the next call looks for another.
        if !answer.status().is_server_error() {
            self.pool.keep(origin.clone(), connection).await;
        }
        Ok(answer)
    }

    /// Awaits `work` for no longer than `span`. It stays where it is: a future is large, and each
    /// hand that it goes through would keep room for it.
    async fn within<T>(
        &self,
        span: Option<Duration>,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, ConnectorError> {
        match span {
            None => Ok(work.await),
            Some(span) => within(&*self.clock, span, work)
                .await
                .ok_or_else(|| ConnectorError::timeout("no answer in time".into())),
        }
    }
}

/// Makes of a request what goes over a connection: to a path, with a host and a body at hand.
fn sendable(request: Request<SdkBody>) -> Result<Request<Bytes>, ConnectorError> {
    let (mut head, body) = request.into_parts();
    let body = body.bytes().ok_or_else(|| unfit("the body is a stream".into()))?;
    if !head.headers.contains_key(HOST) {
        let host = HeaderValue::from_str(signed_host(&head.uri));
        head.headers.insert(HOST, host.map_err(|error| unfit(error.into()))?);
    }
    head.uri = head.uri.into_parts().path_and_query.map_or_else(Uri::default, Uri::from);
    Ok(Request::from_parts(head, Bytes::copy_from_slice(body)))
}

/// Returns the host that a call is signed for: without a port where that is the scheme's own.
fn signed_host(uri: &Uri) -> &str {
    let host = match (uri.scheme_str(), uri.port_u16()) {
        (Some("https"), Some(443)) | (Some("http"), Some(80)) => uri.host(),
        _ => uri.authority().map(hyper::http::uri::Authority::as_str),
    };
    host.unwrap_or_default()
}

/// Makes the error of a request that cannot be sent to anybody.
fn unfit(why: Box<dyn std::error::Error + Send + Sync>) -> ConnectorError {
    ConnectorError::io(why)
}

fn failed(broken: Broken) -> ConnectorError {
    match broken {
        Broken::Itself => ConnectorError::user(broken.into()),
        Broken::Exchange(ExchangeError::Body(_)) => ConnectorError::other(broken.into(), None),
        // The error drops the request, which contains credentials.
        Broken::Exchange(ExchangeError::NotSent { .. }) => {
            ConnectorError::io("the connection was closed".into())
        }
        _ => ConnectorError::io(broken.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_one_that_a_call_is_signed_for() {
        for (url, expected) in [
            ("https://vpce.amazonaws.com/", "vpce.amazonaws.com"),
            ("https://vpce.amazonaws.com:443", "vpce.amazonaws.com"),
            ("https://vpce.amazonaws.com:8443", "vpce.amazonaws.com:8443"),
            ("http://127.0.0.1:80/", "127.0.0.1"),
            ("http://[::1]:443/", "[::1]:443"),
        ] {
            assert_eq!(signed_host(&url.parse().expect("a URL")), expected, "{url}");
        }
    }
}
