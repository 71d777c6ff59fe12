//! The HTTP client in the form that the AWS SDK needs to get credentials.

use super::{Client, call, unsendable, within_timeout};
use crate::outbound::Outbound;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use hyper::Request;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

impl From<&Client> for SharedHttpClient {
    fn from(client: &Client) -> Self {
        Self::new(client.clone())
    }
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            outbound: self.0.clone(),
            connect_timeout: settings.connect_timeout(),
            read_timeout: settings.read_timeout(),
        })
    }
}

/// The HTTP client that the AWS SDK uses. The AWS SDK sets the timeouts of each request.
#[derive(Debug)]
struct Connector {
    outbound: Arc<Outbound>,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let outbound = self.outbound.clone();
        let (connect_timeout, read_timeout) = (self.connect_timeout, self.read_timeout);
        HttpConnectorFuture::new(async move {
            let call = pin!(call(&outbound, without_stream(request)?, connect_timeout));
            let response = within_timeout(&outbound, read_timeout, call).await??;
            HttpResponse::try_from(response.map(SdkBody::from))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Converts a request of the AWS SDK to a request whose body is in memory.
fn without_stream(request: HttpRequest) -> Result<Request<Bytes>, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| unsendable(error.into()))?;
    let (head, sdk_body) = request.into_parts();
    let body = sdk_body.bytes().ok_or_else(|| {
        unsendable("the AWS SDK must send the request body as a whole, not as a stream".into())
    })?;
    Ok(Request::from_parts(head, Bytes::copy_from_slice(body)))
}
