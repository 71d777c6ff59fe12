//! The three calls of Lambda's Extensions API that Sidekey makes.
//!
//! Lenient in what it reads: whatever is not needed may be missing, of another type or new.
//!
//! Source: "Lambda Extensions API" in AWS's Lambda developer guide.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::pin::pin;
use tokio::net::TcpStream;

/// The path of every call, behind whatever prefix the environment gives.
const VERSION: &str = "/2020-01-01/extension";

const NAME: &str = "lambda-extension-name";
const FEATURES: &str = "lambda-extension-accept-feature";
const IDENTIFIER: &str = "lambda-extension-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";

/// The largest answer that is read. An event is far below 1 KiB, its tracing header included.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The address of the API makes no sense.
    #[error("AWS_LAMBDA_RUNTIME_API is not HOST:PORT")]
    Address,
    /// The API could not be reached.
    #[error("the Extensions API could not be reached")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection to the Extensions API broke")]
    Http(#[from] hyper::Error),
    /// The answer was too large or broke off.
    #[error("the answer of the Extensions API could not be read")]
    Answer,
    /// The API refused.
    #[error("the Extensions API refused with {status}: {kind}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its own name of the error.
        kind: String,
    },
    /// A registration without identifier.
    #[error("the Extensions API gave no identifier")]
    NoIdentifier,
}

/// Where the Extensions API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Api {
    authority: String,
    prefix: String,
}

/// A registration.
#[derive(Debug)]
pub(crate) struct Registered {
    api: Api,
    identifier: String,
    /// The account the function runs in, where Lambda tells.
    pub(crate) account: Option<String>,
}

/// What Lambda wants of an extension that registered for shutdown only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The environment ends, for a reason that is not ours to judge.
    Shutdown(String),
    /// Something else, which needs no answer.
    Other(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Refusal {
    error_type: Value,
}

impl Api {
    /// Parses `AWS_LAMBDA_RUNTIME_API`: `HOST:PORT`, and what emulators make of it, with a scheme
    /// and a path.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (authority, prefix) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.is_empty() {
            return Err(ApiError::Address);
        }
        let prefix = prefix.trim_end_matches('/');
        Ok(Self { authority: authority.to_owned(), prefix: prefix.to_owned() })
    }

    /// Registers under `name`, for shutdown only: an extension that is called at each invocation
    /// adds its own time to it, and Managed Instances refuse it.
    pub(crate) async fn register(self, name: &str) -> Result<Registered, ApiError> {
        let headers = [(NAME, name), (FEATURES, "accountId")];
        let body = json!({"events": ["SHUTDOWN"]});
        let (headers, answer) = self.call(Method::POST, "/register", &headers, &body).await?;
        let identifier = headers.get(IDENTIFIER).and_then(|value| value.to_str().ok());
        let identifier = identifier.ok_or(ApiError::NoIdentifier)?.to_owned();
        Ok(Registered { api: self, identifier, account: account(&answer) })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<(HeaderMap, Bytes), ApiError> {
        let socket = TcpStream::connect(self.address()).await.map_err(ApiError::Connect)?;
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("{}{VERSION}{path}", self.prefix))
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if method == Method::GET { Bytes::new() } else { body.to_string().into() };
        let request = request.body(Full::new(body)).map_err(|_| ApiError::Address)?;
        // The connection is polled beside the answer, and ends with it: a call that waits through a
        // freeze shares its connection with nobody.
        let mut answer = pin!(async {
            let answer = sender.send_request(request).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|_| ApiError::Answer)?.to_bytes();
            Ok::<_, ApiError>((head, body))
        });
        let (head, body) = tokio::select! {
            biased;
            answer = &mut answer => answer?,
            ended = connection => {
                ended?;
                // All that the peer sent before it closed is there by now.
                answer.await?
            }
        };
        if !head.status.is_success() {
            let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
            let kind = refusal.error_type.as_str().unwrap_or("unknown").to_owned();
            return Err(ApiError::Refused { status: head.status, kind });
        }
        Ok((head.headers, body))
    }

    /// Returns what to connect to: emulators say `[::]` where they mean this machine.
    fn address(&self) -> String {
        match self.authority.strip_prefix("[::]") {
            Some(port) => format!("[::1]{port}"),
            None if self.authority.contains(':') => self.authority.clone(),
            None => format!("{}:80", self.authority),
        }
    }
}

impl Registered {
    /// Waits for the next event. It blocks for as long as the environment lives, frozen or not.
    pub(crate) async fn next(&self) -> Result<Event, ApiError> {
        let headers = [(IDENTIFIER, &*self.identifier)];
        let (_, body) = self.api.call(Method::GET, "/event/next", &headers, &Value::Null).await?;
        Ok(event(&body))
    }

    /// Has Lambda fail the start of the function. The process is to exit afterwards.
    pub(crate) async fn fail_init(&self, kind: &str, message: &str) -> Result<(), ApiError> {
        let headers = [(IDENTIFIER, &*self.identifier), (ERROR_TYPE, kind)];
        let body = json!({"errorType": kind, "errorMessage": message, "stackTrace": []});
        self.api.call(Method::POST, "/init/error", &headers, &body).await.map(drop)
    }
}

/// Reads an event by its type alone. Lambda sends the shutdown event as text/plain.
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
    fn addresses_come_with_and_without_scheme_and_path() {
        for (text, authority, prefix, address) in [
            ("127.0.0.1:9001", "127.0.0.1:9001", "", "127.0.0.1:9001"),
            ("http://127.0.0.1:9001/", "127.0.0.1:9001", "", "127.0.0.1:9001"),
            ("http://[::]:9000/.rt", "[::]:9000", "/.rt", "[::1]:9000"),
            ("sandbox.localdomain", "sandbox.localdomain", "", "sandbox.localdomain:80"),
        ] {
            let api = Api::parse(text).expect("an address");
            assert_eq!((&*api.authority, &*api.prefix), (authority, prefix));
            assert_eq!(api.address(), address);
        }
        assert!(matches!(Api::parse("http:///x"), Err(ApiError::Address)));
    }

    #[test]
    fn events_are_read_leniently() {
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

    /// Answers one connection with `answer` and returns what was asked.
    async fn answering(answer: &'static str) -> (Api, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let api = Api::parse(&listener.local_addr().expect("bound").to_string()).expect("good");
        let asked = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut asked = Vec::new();
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                socket.read_buf(&mut asked).await.expect("a request");
            }
            socket.write_all(answer.as_bytes()).await.expect("an answer");
            String::from_utf8(asked).expect("text")
        });
        (api, asked)
    }

    #[tokio::test]
    async fn registers_for_shutdown_only_and_keeps_what_it_needs() {
        let (api, asked) = answering(
            "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id-1\r\ncontent-length: 28\r\n\r\n\
             {\"accountId\":\"123456789012\"}",
        )
        .await;
        let registered = api.register("sidekey").await.expect("registered");
        assert_eq!(registered.identifier, "id-1");
        assert_eq!(registered.account.as_deref(), Some("123456789012"));
        let asked = asked.await.expect("asked");
        assert!(asked.starts_with("POST /2020-01-01/extension/register HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("lambda-extension-name: sidekey\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_tells_its_type() {
        let (api, _asked) = answering(
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 47\r\n\r\n\
             {\"errorType\":\"Extension.RegistrationClosed\"   }",
        )
        .await;
        let refused = api.register("sidekey").await.expect_err("refused");
        assert!(refused.to_string().contains("Extension.RegistrationClosed"), "{refused}");
    }

    #[tokio::test]
    async fn a_connection_that_ends_is_an_error_and_no_hang() {
        let (api, _asked) = answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
        assert!(api.register("sidekey").await.is_err());
    }

    proptest! {
        #[test]
        fn for_any_body_an_event_is_read_by_its_type(
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
        fn for_any_address_there_is_a_host_and_a_port(text in "(http:|/|:|[a-z]|[0-9]|\\[::\\]|é){0,10}") {
            if let Ok(api) = Api::parse(&text) {
                prop_assert!(!api.authority.is_empty() && !api.authority.contains('/'));
                prop_assert!(api.address().contains(':'));
                prop_assert!(!api.prefix.ends_with('/'));
            }
        }
    }
}
