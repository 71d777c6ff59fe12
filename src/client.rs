//! An HTTP client of a running agent, for the commands and for `exec`.

pub mod secret;

use crate::http1::{Connection, ExchangeError, Socket};
use crate::secret::value::SecretValue;
use crate::tokens::Token;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{HeaderMap, Request, StatusCode};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::net::{TcpStream, UnixStream};

/// The header that carries the token of a plain GET request.
const READER_TOKEN: HeaderName = HeaderName::from_static("x-aws-parameters-secrets-token");

/// The header that names the operation of an AWS API call.
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// The header that carries the token of an AWS API call.
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The maximum number of bytes in the body of an answer.
///
/// A secret has up to 64 KiB, and JSON may need six bytes for each byte of the secret.
/// The rest is for metadata.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// The address at which an agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port on this machine.
    Loopback(SocketAddr),
    /// The path of a Unix socket.
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

/// Why an agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No process accepts connections at the address.
    #[error("no agent listens at {0}")]
    NoAgent(Address, #[source] io::Error),
    /// The connection broke before the answer began.
    #[error("the connection to the agent broke before it answered")]
    Broken(#[from] hyper::Error),
    /// The answer is too large, or it broke off.
    #[error("the agent's answer is too long or incomplete")]
    BadAnswer,
    /// The path or the token contains characters that HTTP does not allow.
    #[error("the path or the token has a character that HTTP does not allow; check SIDEKEY_TOKEN")]
    Unsendable,
}

impl From<ExchangeError> for ClientError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::NotSent { error, .. } | ExchangeError::NoResponse(error) => {
                Self::Broken(error)
            }
            ExchangeError::Body(_) => Self::BadAnswer,
        }
    }
}

/// An open connection to an agent.
#[derive(Debug)]
pub struct Client {
    host: String,
    token: Option<HeaderValue>,
    connection: Connection,
}

/// An HTTP answer of an agent.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The body, which may contain a secret.
    pub body: SecretValue,
}

impl Client {
    /// Connects to an agent. Each request on this connection carries `token`.
    ///
    /// # Errors
    ///
    /// If no agent listens at the address, or the token cannot be sent in a header.
    pub async fn connect(address: &Address, token: Option<&Token>) -> Result<Self, ClientError> {
        let (socket, host) = match address {
            Address::Loopback(at) => (tcp(*at).await, at.to_string()),
            Address::Socket(path) => (unix(path).await, "localhost".to_owned()),
        };
        let socket = socket.map_err(|error| ClientError::NoAgent(address.clone(), error))?;
        let token = token.map(header).transpose()?;
        let connection = Connection::new(socket, ANSWER_BYTES_MAX).await?;
        Ok(Self { host, token, connection })
    }

    /// Sends a GET request for `path`.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or the answer cannot be read.
    pub async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        let request = self.authorized(Request::get(path), READER_TOKEN);
        self.exchange(request, Bytes::new()).await
    }

    /// Calls an operation of the AWS API. `parameters` is a JSON object.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or the answer cannot be read.
    pub async fn call(
        &mut self,
        operation: &str,
        parameters: String,
    ) -> Result<Answer, ClientError> {
        let request = Request::post("/")
            .header(TARGET, format!("secretsmanager.{operation}"))
            .header(CONTENT_TYPE, "application/x-amz-json-1.1");
        self.exchange(self.authorized(request, SECURITY_TOKEN), parameters.into()).await
    }

    /// Adds the token to a request, if the client has a token.
    fn authorized(&self, request: request::Builder, header: HeaderName) -> request::Builder {
        match &self.token {
            Some(token) => request.header(header, token),
            None => request,
        }
    }

    async fn exchange(
        &mut self,
        request: request::Builder,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let request = request.header(HOST, &self.host).body(body);
        let request = request.map_err(|_| ClientError::Unsendable)?;
        self.connection.ready().await?;
        let (head, body) = self.connection.exchange(request).await?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: SecretValue::new(body.to_vec()),
        })
    }
}

async fn tcp(address: SocketAddr) -> io::Result<Box<dyn Socket>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(Box::new(socket))
}

async fn unix(path: &Path) -> io::Result<Box<dyn Socket>> {
    Ok(Box::new(UnixStream::connect(path).await?))
}

/// Converts a token to a header value that debug output does not show.
fn header(token: &Token) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_bytes(token.reveal()).map_err(|_| ClientError::Unsendable)?;
    value.set_sensitive(true);
    Ok(value)
}
