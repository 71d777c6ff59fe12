//! A client of a running agent.

pub mod secret;

use crate::secret::value::SecretValue;
use crate::tokens::Token;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// The header in which readers show their token.
const READER_TOKEN: HeaderName = HeaderName::from_static("x-aws-parameters-secrets-token");

/// The headers of the AWS API: which operation, and with which token.
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The largest answer that is read: a value of 64 KiB, each byte of it escaped by six, with room for
/// what stands beside it.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// Where an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On loopback.
    Loopback(SocketAddr),
    /// At a Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// Why an agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent answers at {0}")]
    NoAgent(Address, #[source] io::Error),
    /// The connection broke.
    #[error("the connection to the agent broke")]
    Broken(#[from] hyper::Error),
    /// The answer was too large or broke off.
    #[error("the agent's answer could not be read")]
    Answer,
    /// A path or a token has characters that HTTP does not carry.
    #[error("the path or the token has characters that cannot be sent")]
    Unsendable,
}

/// A kept connection to an agent.
#[derive(Debug)]
pub struct Client {
    host: String,
    token: Option<HeaderValue>,
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection until it is dropped.
    driver: JoinHandle<()>,
}

/// What an agent answered.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, which may hold a secret.
    pub body: SecretValue,
}

impl Client {
    /// Connects, and shows `token` from now on.
    ///
    /// # Errors
    ///
    /// Where nobody listens, or the token cannot be sent.
    pub async fn connect(address: &Address, token: Option<&Token>) -> Result<Self, AskError> {
        let no_agent = |error| AskError::NoAgent(address.clone(), error);
        match address {
            Address::Loopback(at) => {
                let socket = TcpStream::connect(at).await.map_err(no_agent)?;
                socket.set_nodelay(true).map_err(no_agent)?;
                Self::over(socket, at.to_string(), token).await
            }
            Address::Socket(path) => {
                let socket = UnixStream::connect(path).await.map_err(no_agent)?;
                Self::over(socket, "localhost".to_owned(), token).await
            }
        }
    }

    async fn over<S>(socket: S, host: String, token: Option<&Token>) -> Result<Self, AskError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let token = token.map(header).transpose()?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        let driver = tokio::spawn(async move {
            // A broken connection shows at the next request.
            let _ = connection.await;
        });
        Ok(Self { host, token, sender, driver })
    }

    /// Asks for a path, as readers do.
    ///
    /// # Errors
    ///
    /// Where the connection breaks, or the answer cannot be read.
    pub async fn get(&mut self, path: &str) -> Result<Answered, AskError> {
        let request = Request::get(path);
        let request = match &self.token {
            Some(token) => request.header(READER_TOKEN, token),
            None => request,
        };
        self.exchange(request, Bytes::new()).await
    }

    /// Calls an operation of the AWS API with members in JSON, as SDKs do.
    ///
    /// # Errors
    ///
    /// Where the connection breaks, or the answer cannot be read.
    pub async fn call(&mut self, operation: &str, members: String) -> Result<Answered, AskError> {
        let request = Request::post("/")
            .header(TARGET, format!("secretsmanager.{operation}"))
            .header(CONTENT_TYPE, "application/x-amz-json-1.1");
        let request = match &self.token {
            Some(token) => request.header(SECURITY_TOKEN, token),
            None => request,
        };
        self.exchange(request, members.into()).await
    }

    async fn exchange(
        &mut self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Answered, AskError> {
        let request = request.header(HOST, &self.host).body(Full::new(body));
        let request = request.map_err(|_| AskError::Unsendable)?;
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| AskError::Answer)?.to_bytes();
        Ok(Answered {
            status: head.status,
            headers: head.headers,
            body: SecretValue::new(body.to_vec()),
        })
    }
}

/// Writes a token for a header, as one that is not printed.
fn header(token: &Token) -> Result<HeaderValue, AskError> {
    let mut value = HeaderValue::from_bytes(token.reveal()).map_err(|_| AskError::Unsendable)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
