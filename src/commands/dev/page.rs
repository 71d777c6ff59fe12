//! The page of `sidekey dev`: an HTTP server on loopback, which shows in a browser what the agent
//! caches, and with which the user rotates secrets and makes calls to the fake of AWS fail.

mod history;
mod reader;
mod request;
mod stage;
mod upstream;

pub(crate) use stage::{PageState, Stage};

use crate::commands::agent_file::random_token;
use crate::tokens::{Token, Tokens};
use anyhow::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use request::{Action, Identity, Refusal, admit};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The HTML of the page, with its style and its script.
const HTML: &str = include_str!("page/page.html");

/// The word in [`HTML`] that the server replaces by a random nonce. The nonce allows the browser to
/// use the style and the script of the page.
const NONCE: &str = "{{nonce}}";

/// The maximum number of open connections to the page. A browser opens up to 6 connections to one
/// server.
const CONNECTIONS_MAX: usize = 64;

/// How long the server pauses after it could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const HTML_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/json");
const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The headers of each response. The headers forbid caches to store the response, and pages of
/// other sites to show it.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// The server of the page, which listens on a free port of 127.0.0.1.
pub(super) struct Page {
    listener: TcpListener,
    address: SocketAddr,
    key: String,
    html: String,
    policy: HeaderValue,
}

impl Page {
    /// Opens a free port for the page, and generates the random key that requests must contain.
    pub(super) async fn bind() -> anyhow::Result<Self> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = bound.context(
            "Sidekey could not open a port for its page: use `--no-page` to start without the page",
        )?;
        let nonce = random_token()?;
        // The policy forbids all requests to other hosts, and all scripts except that of the page.
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
             img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            key: random_token()?,
            html: HTML.replace(NONCE, &nonce),
            policy: policy.parse()?,
        })
    }

    /// Returns the URL of the page. The key is in the fragment, which browsers do not send, so that
    /// the key appears in no log and in no `Referer` header.
    pub(super) fn url(&self) -> String {
        format!("http://{}/#{}", self.address, self.key)
    }

    /// Serves the page until the caller drops the future. The future also contains the reader, which
    /// reads all secrets again and again while a browser shows the page.
    pub(super) async fn serve(self, stage: Stage<'_>) -> anyhow::Result<Infallible> {
        let tokens = Tokens::new(vec![Token::new(self.key.clone())?]);
        let own = Identity { port: self.address.port(), tokens };
        tokio::select! {
            never = self.accept(&own, &stage) => match never {},
            never = reader::run(&stage) => match never {},
        }
    }

    async fn accept(&self, own: &Identity, stage: &Stage<'_>) -> Infallible {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                    match accepted {
                        Ok((socket, _)) => connections.push(self.connection(socket, own, stage)),
                        Err(_) => stage.clock.sleep(ACCEPT_PAUSE).await,
                    }
                }
                Some(()) = connections.next() => {}
            }
        }
    }

    async fn connection(&self, socket: TcpStream, own: &Identity, stage: &Stage<'_>) {
        let service = service_fn(|request: Request<Incoming>| async move {
            let admitted = admit(request.method(), request.uri(), request.headers(), own);
            Ok::<_, Infallible>(self.respond(admitted, stage))
        });
        // The result is ignored: the browser may close the connection at any time.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
    }

    fn respond(
        &self,
        admitted: Result<Action, Refusal>,
        stage: &Stage<'_>,
    ) -> Response<Full<Bytes>> {
        let ok = |kind, body: String| (StatusCode::OK, kind, body);
        let failed = |status, reason: String| (status, TEXT_TYPE, reason);
        let (status, kind, body) = match admitted {
            Ok(Action::Page) => ok(HTML_TYPE, self.html.clone()),
            Ok(Action::State(after)) => ok(JSON_TYPE, stage.state(after).to_string()),
            Ok(Action::Rotate(secret)) => match stage.rotate(&secret) {
                Ok(()) => ok(TEXT_TYPE, String::new()),
                Err(error) => failed(StatusCode::NOT_FOUND, error.to_string()),
            },
            Ok(Action::Upstream(upstream)) => {
                stage.set_upstream(upstream);
                ok(TEXT_TYPE, String::new())
            }
            Ok(Action::Reader(is_on)) => {
                stage.set_reader(is_on);
                ok(TEXT_TYPE, String::new())
            }
            Err(refusal) => failed(refusal.status(), refusal.to_string()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().extend(HEADERS);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}
