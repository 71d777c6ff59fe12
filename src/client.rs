//! An HTTP client for a running agent. Commands such as `sidekey get` and `sidekey exec` use this
//! client to read secrets.

mod ready;
pub(crate) mod route;
pub(crate) mod secret;
pub(crate) mod status;

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

/// The HTTP header with the caller's token in a GET request. AWS's Lambda extension for secrets
/// uses the same header.
const READER_TOKEN: HeaderName = HeaderName::from_static("x-aws-parameters-secrets-token");

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// The HTTP header with the caller's token in a request of the AWS API. In requests to AWS, this
/// header contains a session token.
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The maximum size of the body of an agent's answer, in bytes.
///
/// A secret has up to 64 KiB. JSON may need six bytes for one byte of a secret, as in `\u0000`. The
/// remaining 128 KiB are for metadata.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// The address at which an agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The agent listens at this IP address and port on the same machine.
    Loopback(SocketAddr),
    /// The agent listens at the Unix socket with this path.
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

/// The reason why a client got no answer, or no complete answer, from an agent.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No process accepts connections at the agent's address.
    #[error("no agent listens at {0}")]
    NoAgent(Address, #[source] io::Error),
    /// The connection to the agent broke before the agent answered.
    #[error("the connection to the agent broke before the agent answered")]
    Broken(#[from] hyper::Error),
    /// The body of the agent's answer is longer than the client accepts, or it ended early.
    #[error("the agent's answer is too long or incomplete")]
    BadAnswer,
    /// The client did not send the request, because the path or the token contains a character that
    /// HTTP does not allow.
    #[error(
        "the request was not sent, because its path or its token has a character that HTTP does \
         not allow; check SIDEKEY_TOKEN"
    )]
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

/// An open HTTP connection to an agent.
#[derive(Debug)]
pub struct Client {
    host: String,
    token: Option<HeaderValue>,
    connection: Connection,
}

/// An agent's answer to an HTTP request.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status of the agent's answer.
    pub status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: SecretValue,
}

impl Client {
    /// Connects to an agent. Each request on the connection carries `token`.
    ///
    /// # Errors
    ///
    /// Returns an error if no agent listens at the address, or if the token contains a character
    /// that an HTTP header must not contain.
    pub async fn connect(address: &Address, token: Option<&Token>) -> Result<Self, ClientError> {
        Self::connect_for(address, token, ANSWER_BYTES_MAX).await
    }

    /// Connects to an agent, for answers whose bodies have at most `body_bytes_max` bytes.
    async fn connect_for(
        address: &Address,
        token: Option<&Token>,
        body_bytes_max: usize,
    ) -> Result<Self, ClientError> {
        let (socket, host) = match address {
            Address::Loopback(at) => (tcp(*at).await, at.to_string()),
            Address::Socket(path) => (unix(path).await, "localhost".to_owned()),
        };
        let socket = socket.map_err(|error| ClientError::NoAgent(address.clone(), error))?;
        let token = token.map(header).transpose()?;
        let connection = Connection::new(socket, body_bytes_max).await?;
        Ok(Self { host, token, connection })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        let request = self.authorized(Request::get(path), READER_TOKEN);
        self.exchange(request, Bytes::new()).await
    }

    /// Calls an operation of the AWS API, such as `secretsmanager.GetSecretValue`, and sends the
    /// call to the agent instead of AWS. `parameters` is the JSON object with the parameters of the
    /// operation.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection breaks, or if the answer is too long or incomplete.
    pub async fn call(
        &mut self,
        operation: &str,
        parameters: String,
    ) -> Result<Answer, ClientError> {
        let request = Request::post("/")
            .header(TARGET, operation)
            .header(CONTENT_TYPE, "application/x-amz-json-1.1");
        self.exchange(self.authorized(request, SECURITY_TOKEN), parameters.into()).await
    }

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

fn header(token: &Token) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_bytes(token.reveal()).map_err(|_| ClientError::Unsendable)?;
    value.set_sensitive(true);
    Ok(value)
}
