//! A client for Lambda's Extensions API, with which an extension registers, waits for the next
//! event, and reports a failed start.
//!
//! The parsers read only the fields of Lambda's answers that the extension needs. Other fields may
//! be missing or invalid.
//!
//! Source: AWS's page *Lambda Extensions API* in the Lambda developer guide.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use sidekey::http1::{Connection, ExchangeError};
use std::io;
use tokio::net::TcpStream;

const VERSION: &str = "/2020-01-01/extension";

const NAME: &str = "lambda-extension-name";
const FEATURES: &str = "lambda-extension-accept-feature";

/// The HTTP header with the identifier of the extension. Lambda sends the identifier in its answer
/// to the registration, and the extension sends it in each later request.
const IDENTIFIER: &str = "lambda-extension-identifier";

const ERROR_TYPE: &str = "lambda-extension-function-error-type";

/// The maximum size of an answer from Lambda's Extensions API, in bytes. Real answers have less
/// than 1 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the environment variable AWS_LAMBDA_RUNTIME_API does not contain HOST:PORT")]
    Address,
    #[error("could not connect to Lambda's Extensions API")]
    Connect(#[source] io::Error),
    #[error("the connection to Lambda's Extensions API broke before Lambda answered")]
    Http(#[from] hyper::Error),
    #[error("the answer from Lambda's Extensions API is too long or incomplete")]
    Answer,
    #[error("Lambda's Extensions API returned the error {kind}, with HTTP status {status}")]
    Refused {
        status: StatusCode,
        /// The error type in Lambda's answer, such as `Extension.RegistrationClosed`.
        kind: String,
    },
    #[error("Lambda accepted the registration of the extension, but sent no identifier for it")]
    NoIdentifier,
}

impl From<ExchangeError> for ApiError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::NotSent { error, .. } | ExchangeError::NoResponse(error) => {
                Self::Http(error)
            }
            ExchangeError::Body(_) => Self::Answer,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Api {
    authority: String,
    prefix: String,
}

#[derive(Debug)]
pub(crate) struct Registered {
    api: Api,
    identifier: String,
    pub(crate) account: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Lambda will shut down the execution environment. The string is the reason that Lambda gives,
    /// such as `spindown`.
    Shutdown(String),
    /// Any other event from Lambda. The string is the type of the event, such as `INVOKE`.
    Other(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Refusal {
    error_type: Value,
}

impl Api {
    /// Parses the address of Lambda's API, as it is in the variable `AWS_LAMBDA_RUNTIME_API`.
    ///
    /// On Lambda, the address is `HOST:PORT`. The parser also accepts a scheme, such as `http://`,
    /// and a path, because emulators of Lambda may add them.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (authority, prefix) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.is_empty() {
            return Err(ApiError::Address);
        }
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Self { authority: authority.to_owned(), prefix })
    }

    /// Registers the extension with Lambda under `name`. Lambda will send the extension only the
    /// shutdown event.
    ///
    /// The extension does not ask for an event at each invocation, because Lambda would then wait
    /// for the extension at each invocation. On Lambda Managed Instances, the registration would
    /// even fail.
    pub(crate) async fn register(self, name: &str) -> Result<Registered, ApiError> {
        let headers = [(NAME, name), (FEATURES, "accountId")];
        let body = json!({"events": ["SHUTDOWN"]});
        let (headers, answer) = self.call(Method::POST, "/register", &headers, &body).await?;
        let identifier = headers.get(IDENTIFIER).and_then(|value| value.to_str().ok());
        let identifier = identifier.ok_or(ApiError::NoIdentifier)?.to_owned();
        Ok(Registered { api: self, identifier, account: account(&answer) })
    }

    /// Makes one call to Lambda's Extensions API over a new connection.
    ///
    /// Connections are not reused, because they can break while the environment is frozen. The call
    /// for the next event may take hours, and Lambda may freeze the environment meanwhile.
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<(HeaderMap, Bytes), ApiError> {
        let socket = TcpStream::connect(self.address()).await.map_err(ApiError::Connect)?;
        let mut connection = Connection::new(Box::new(socket), ANSWER_BYTES_MAX).await?;
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("{}{VERSION}{path}", self.prefix))
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if method == Method::GET { Bytes::new() } else { body.to_string().into() };
        let request = request.body(body).map_err(|_| ApiError::Address)?;
        let (head, body) = connection.exchange(request).await?.into_parts();
        if !head.status.is_success() {
            let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
            let kind = refusal.error_type.as_str().unwrap_or("unknown").to_owned();
            return Err(ApiError::Refused { status: head.status, kind });
        }
        Ok((head.headers, body))
    }

    /// Returns the `HOST:PORT` to which the extension connects for Lambda's API.
    ///
    /// Replaces the host `[::]`, which some emulators of Lambda give, by the loopback address
    /// `[::1]`, because a client cannot connect to `[::]`.
    fn address(&self) -> String {
        match self.authority.strip_prefix("[::]") {
            Some(port) => format!("[::1]{port}"),
            None if self.authority.contains(':') => self.authority.clone(),
            None => format!("{}:80", self.authority),
        }
    }
}

impl Registered {
    /// Waits for the next event from Lambda. The wait has no timeout, because the event may come
    /// hours later.
    pub(crate) async fn next(&self) -> Result<Event, ApiError> {
        let headers = [(IDENTIFIER, &*self.identifier)];
        let (_, body) = self.api.call(Method::GET, "/event/next", &headers, &Value::Null).await?;
        Ok(event(&body))
    }

    /// Reports to Lambda that the extension could not start. Lambda then does not start the
    /// function, and the extension must exit.
    pub(crate) async fn fail_init(&self, kind: &str, message: &str) -> Result<(), ApiError> {
        let headers = [(IDENTIFIER, &*self.identifier), (ERROR_TYPE, kind)];
        let body = json!({"errorType": kind, "errorMessage": message, "stackTrace": []});
        self.api.call(Method::POST, "/init/error", &headers, &body).await.map(drop)
    }
}

/// Parses the JSON body of an event from Lambda. The body of the shutdown event is also JSON,
/// although Lambda sends it with the content type `text/plain`.
fn event(body: &[u8]) -> Event {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| event[name].as_str().unwrap_or("unknown").to_owned();
    match text("eventType").as_str() {
        "SHUTDOWN" => Event::Shutdown(text("shutdownReason")),
        other => Event::Other(other.to_owned()),
    }
}

fn account(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    answer["accountId"].as_str().filter(|account| !account.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn address_may_have_a_scheme_and_a_path() {
        for (text, authority, prefix, address) in [
            ("127.0.0.1:9001", "127.0.0.1:9001", "", "127.0.0.1:9001"),
            ("http://127.0.0.1:9001/", "127.0.0.1:9001", "", "127.0.0.1:9001"),
            ("http://[::]:9000/.rt", "[::]:9000", "/.rt", "[::1]:9000"),
            ("sandbox.localdomain", "sandbox.localdomain", "", "sandbox.localdomain:80"),
        ] {
            let api = Api::parse(text).expect("the address must be valid");
            assert_eq!((&*api.authority, &*api.prefix), (authority, prefix));
            assert_eq!(api.address(), address);
        }
        assert!(matches!(Api::parse("http:///x"), Err(ApiError::Address)));
    }

    #[test]
    fn unknown_and_malformed_events_are_tolerated() {
        for (body, expected) in [
            (
                r#"{"eventType":"SHUTDOWN","deadlineMs":1,"shutdownReason":"spindown"}"#,
                Event::Shutdown("spindown".to_owned()),
            ),
            (r#"{"eventType":"SHUTDOWN"}"#, Event::Shutdown("unknown".to_owned())),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":7,"deadlineMs":"soon"}"#,
                Event::Shutdown("unknown".to_owned()),
            ),
            (r#"{"eventType":"INVOKE","requestId":"1"}"#, Event::Other("INVOKE".to_owned())),
            (r#"{"new":true}"#, Event::Other("unknown".to_owned())),
            ("not JSON", Event::Other("unknown".to_owned())),
        ] {
            assert_eq!(event(body.as_bytes()), expected, "{body}");
        }
    }

    /// Starts a fake server of Lambda's API, which accepts one connection and sends `answer`. The
    /// returned task completes with the request that the fake server received.
    async fn serve_one(answer: &'static str) -> (Api, tokio::task::JoinHandle<String>) {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.expect("the fake server must get a free port");
        let api =
            Api::parse(&listener.local_addr().expect("the listener must be bound").to_string())
                .expect("the address must be valid");
        let request = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("the client must connect");
            let mut received = Vec::new();
            while !received.windows(4).any(|end| end == b"\r\n\r\n") {
                socket.read_buf(&mut received).await.expect("the client must send a request");
            }
            socket.write_all(answer.as_bytes()).await.expect("the client must read the answer");
            String::from_utf8(received).expect("the request must be UTF-8")
        });
        (api, request)
    }

    #[tokio::test]
    async fn registration_returns_identifier_and_account() {
        let (api, request) = serve_one(
            "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id-1\r\ncontent-length: 28\r\n\r\n\
             {\"accountId\":\"123456789012\"}",
        )
        .await;
        let registered = api.register("sidekey").await.expect("the registration must succeed");
        assert_eq!(registered.identifier, "id-1");
        assert_eq!(registered.account.as_deref(), Some("123456789012"));
        let request = request.await.expect("the fake server must receive a request");
        assert!(
            request.starts_with("POST /2020-01-01/extension/register HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("lambda-extension-name: sidekey\r\n"), "{request}");
    }

    #[tokio::test]
    async fn refusal_reports_the_error_type() {
        let (api, _request) = serve_one(
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 47\r\n\r\n\
             {\"errorType\":\"Extension.RegistrationClosed\"   }",
        )
        .await;
        let refused = api
            .register("sidekey")
            .await
            .expect_err("the fake server must refuse the registration");
        assert!(refused.to_string().contains("Extension.RegistrationClosed"), "{refused}");
    }

    #[tokio::test]
    async fn broken_connection_is_an_error_and_does_not_hang() {
        let (api, _request) = serve_one("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
        assert!(api.register("sidekey").await.is_err());
    }

    proptest! {
        #[test]
        fn for_any_body_the_type_of_the_event_is_found(
            kind in "[A-Z\"\\\\{}:,]{0,10}",
            tail in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let known = json!({"eventType": kind, "shutdownReason": kind, "accountId": kind}).to_string();
            prop_assert_eq!(event(known.as_bytes()), Event::Other(kind.clone()));
            prop_assert_eq!(account(known.as_bytes()).unwrap_or_default(), kind);
            let mut cut = known.into_bytes();
            cut.truncate(tail.len());
            cut.extend(tail);
            prop_assert_eq!(event(&cut), Event::Other("unknown".to_owned()));
        }

        #[test]
        fn for_any_address_host_and_port_are_found(text in "(http:|/|:|[a-z]|[0-9]|\\[::\\]|é){0,10}") {
            if let Ok(api) = Api::parse(&text) {
                prop_assert!(!api.authority.is_empty() && !api.authority.contains('/'));
                prop_assert!(api.address().contains(':'));
                prop_assert!(!api.prefix.ends_with('/'));
            }
        }
    }
}
