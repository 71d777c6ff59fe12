//! Gets AWS credentials from the container credentials endpoint. Lambda provides this endpoint to
//! functions with SnapStart.
//!
//! All builds except the Lambda layer use the AWS SDK's provider for this endpoint. In the layer,
//! that provider would be most of the included code of the SDK.

use crate::outbound::host::is_this_machine;
use crate::source::aws::http::{self, Timeouts};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

/// The variable with the URL of the container credentials endpoint, such as
/// `http://127.0.0.1:9001/2021-04-23/credentials`.
const URL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// The variable with the value of the HTTP header `Authorization` that the container credentials
/// endpoint expects.
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

#[derive(Clone)]
pub(super) struct ContainerProvider {
    http: http::Client,
    timeouts: Timeouts,
    url: Option<Box<str>>,
    token: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response<'a> {
    #[serde(borrow)]
    access_key_id: Cow<'a, str>,
    #[serde(borrow)]
    secret_access_key: Cow<'a, str>,
    #[serde(borrow)]
    token: Cow<'a, str>,
    #[serde(borrow)]
    expiration: Cow<'a, str>,
}

/// The `Debug` output omits the token.
impl fmt::Debug for ContainerProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerProvider").field("url", &self.url).finish_non_exhaustive()
    }
}

impl ContainerProvider {
    pub(super) fn new(
        environment: &BTreeMap<String, String>,
        http: http::Client,
        timeouts: Timeouts,
    ) -> Self {
        let value = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let [url, token] = [URL, TOKEN].map(|name| value(name).map(|value| value.as_str().into()));
        Self { http, timeouts, url, token }
    }

    /// Asks the container credentials endpoint for credentials. Like the AWS SDK, asks once more if
    /// the endpoint is unreachable, or if its response has no credentials.
    async fn credentials(&self) -> provider::Result {
        match self.ask().await {
            Err(CredentialsError::ProviderError(_)) => self.ask().await,
            result => result,
        }
    }

    async fn ask(&self) -> provider::Result {
        let request = self.request()?;
        let response = self.http.send(request, self.timeouts).await;
        // The error is dropped, because it may quote the response.
        let response = response.map_err(|error| match error.is_timeout() {
            true => CredentialsError::provider_timed_out(self.timeouts.attempt),
            false => CredentialsError::provider_error(
                "the container credentials endpoint did not respond",
            ),
        })?;
        let credentials = parsed(response.body()).filter(|_| response.status().is_success());
        credentials.ok_or_else(|| {
            CredentialsError::provider_error(
                "the response of the container credentials endpoint has no credentials",
            )
        })
    }

    fn request(&self) -> Result<hyper::Request<Bytes>, CredentialsError> {
        let url: Option<&str> = self.url.as_deref();
        let url = url.ok_or_else(|| {
            CredentialsError::not_loaded("AWS_CONTAINER_CREDENTIALS_FULL_URI is not set")
        })?;
        let url: Option<hyper::Uri> = url.parse().ok();
        // The token must not leave this machine.
        let url = url.filter(|url| url.host().is_some_and(is_this_machine));
        let request = url.and_then(|url| {
            let request = hyper::Request::get(url).header(ACCEPT, "application/json");
            match &self.token {
                Some(token) => request.header(AUTHORIZATION, &**token),
                None => request,
            }
            .body(Bytes::new())
            .ok()
        });
        request.ok_or_else(|| {
            CredentialsError::invalid_configuration(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL of this machine",
            )
        })
    }
}

impl ProvideCredentials for ContainerProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

fn parsed(json: &[u8]) -> Option<Credentials> {
    let response: Response<'_> = serde_json::from_slice(json).ok()?;
    let expiry = DateTime::from_str(&response.expiration, Format::DateTime).ok()?;
    Some(Credentials::new(
        response.access_key_id,
        response.secret_access_key,
        Some(response.token.into_owned()),
        Some(SystemTime::try_from(expiry).ok()?),
        "container",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::outbound::{IdlePolicy, Outbound, Trust};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const KEYS: &str = r#"{"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"hunter2","Token":"t",
        "Expiration":"2099-01-01T00:00:00Z"}"#;

    /// Before Lambda takes a SnapStart snapshot, its endpoint returns credentials that expired in
    /// the year 1.
    #[test]
    fn credentials_that_expired_in_the_year_1_are_read() {
        let json = KEYS.replace("2099", "0001");
        let credentials = parsed(json.as_bytes()).expect("the response must have credentials");
        assert!(credentials.expiry().is_some_and(|expiry| expiry < SystemTime::UNIX_EPOCH));
    }

    fn provider(url: &str) -> ContainerProvider {
        let clock = Arc::new(SystemClock::new());
        let outbound = Outbound::new(Trust::default(), Vec::new(), IdlePolicy::Close, clock);
        let http = http::Client::new(Arc::new(outbound));
        let environment = [(URL, url), (TOKEN, "secret-token")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let timeouts = Timeouts::for_attempt(Duration::from_secs(60));
        ContainerProvider::new(&environment.into(), http, timeouts)
    }

    /// Starts an endpoint that answers the first request with the first of `answers` (a status and
    /// a body), and so on. Returns the result of the provider, and the last request.
    async fn answered(answers: &[(&str, &str)]) -> (provider::Result, String) {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the test must be able to bind a free port");
        let address = listener.local_addr().expect("the bound socket must have an address");
        let provider = provider(&format!("http://{address}/2021-04-23/credentials"));
        let serving = async {
            let mut request = Vec::new();
            for (status, body) in answers {
                let (mut socket, _) = listener.accept().await.expect("the provider must connect");
                request.clear();
                while !request.ends_with(b"\r\n\r\n") {
                    let byte =
                        socket.read_u8().await.expect("the provider must send a complete request");
                    request.push(byte);
                }
                let length = body.len();
                let response =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
                let written = socket.write_all(response.as_bytes()).await;
                written.expect("the provider must read the response");
            }
            String::from_utf8(request).expect("the request must be ASCII")
        };
        tokio::join!(provider.credentials(), serving)
    }

    #[tokio::test]
    async fn credentials_come_from_the_endpoint_with_its_token() {
        let (credentials, request) = answered(&[("200 OK", KEYS)]).await;
        let credentials = credentials.expect("the response must have credentials");
        assert_eq!(credentials.access_key_id(), "ASIAEXAMPLE");
        assert_eq!(credentials.secret_access_key(), "hunter2");
        assert_eq!(credentials.session_token(), Some("t"));
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(4_070_908_800);
        assert_eq!(credentials.expiry(), Some(expiry));
        assert!(request.starts_with("GET /2021-04-23/credentials HTTP/1.1\r\n"), "{request}");
        let has_token = request.lines().any(|line| {
            line.split_once(": ").is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("authorization") && value == "secret-token"
            })
        });
        assert!(has_token, "{request}");
    }

    #[tokio::test]
    async fn response_without_credentials_is_an_error_and_never_quoted() {
        for (status, body) in [
            ("404 Not Found", KEYS),
            ("200 OK", r#"{"AccessKeyId":"hunter2"}"#),
            ("200 OK", "hunter2"),
            ("200 OK", ""),
        ] {
            let (credentials, _) = answered(&[(status, body); 2]).await;
            let error =
                credentials.expect_err("a response without credentials must cause an error");
            assert!(matches!(error, CredentialsError::ProviderError(_)), "{status} {body}");
            assert!(!format!("{error:?}").contains("hunter2"), "{status} {body}");
        }
    }

    #[tokio::test]
    async fn endpoint_is_asked_once_more_after_a_failure() {
        let failed = ("503 Service Unavailable", "");
        let escaped = KEYS.replace("hunter2", r"a\/b").replace(r#""t""#, r#""t\u003d""#);
        let (credentials, _) = answered(&[failed, ("200 OK", &escaped)]).await;
        let credentials = credentials.expect("the credentials of the second response must be used");
        assert_eq!(credentials.secret_access_key(), "a/b");
        assert_eq!(credentials.session_token(), Some("t="));
    }

    #[tokio::test]
    async fn token_is_never_sent_to_another_machine() {
        for url in ["http://10.0.0.1/", "http://127.0.0.1.example.com/", "not a url", "/path"] {
            let error = provider(url).credentials().await.expect_err("the URL must be refused");
            assert!(matches!(error, CredentialsError::InvalidConfiguration(_)), "{url}: {error:?}");
        }
        let error =
            provider("").credentials().await.expect_err("a missing endpoint must be an error");
        assert!(matches!(error, CredentialsError::CredentialsNotLoaded(_)), "{error:?}");
        assert!(!format!("{:?}", provider("http://127.0.0.1/")).contains("secret-token"));
    }
}
