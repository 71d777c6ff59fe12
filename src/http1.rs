//! The client side of an HTTP/1.1 connection. A connection sends one request at a time, and waits
//! for the response before it sends the next request.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{Connection as Driver, SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// The reason why a request got no complete response. Neither error messages nor debug output
/// contain parts of the response or headers of the request, because these may be confidential.
#[derive(thiserror::Error)]
pub enum ExchangeError {
    /// The connection was closed before the request was sent, so the server has not seen the
    /// request.
    #[error("the connection was closed before the HTTP request was sent")]
    NotSent {
        /// The request that was not sent. The caller can send this request over another connection.
        request: Box<Request<Bytes>>,
        /// The error that the HTTP library hyper reported.
        #[source]
        error: hyper::Error,
    },
    /// The connection broke before the response began, or the response is not valid HTTP.
    #[error("the connection broke before the HTTP response began")]
    NoResponse(#[source] hyper::Error),
    /// The response ended early, or the body of the response is longer than the client allows.
    #[error("the HTTP response ended early, or its body is too long")]
    Body(#[source] Box<dyn Error + Send + Sync>),
}

impl fmt::Debug for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent { error, .. } => {
                f.debug_struct("NotSent").field("error", error).finish_non_exhaustive()
            }
            Self::NoResponse(error) => f.debug_tuple("NoResponse").field(error).finish(),
            Self::Body(error) => f.debug_tuple("Body").field(error).finish(),
        }
    }
}

/// The byte stream under an HTTP connection: TCP, TLS or a Unix socket.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A future of the HTTP library hyper, which reads from and writes to the socket. `None` after this
/// future has completed.
///
/// A completed future must be dropped at once, because only then does hyper return a request that
/// it could not send.
type Driving = Option<Pin<Box<Driver<TokioIo<Box<dyn Socket>>, Full<Bytes>>>>>;

/// An HTTP/1.1 connection from a client to a server.
///
/// The task that waits for the response also reads from and writes to the socket, because waking a
/// separate task for each request would be slower.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driving,
    body_bytes_max: usize,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("body_bytes_max", &self.body_bytes_max)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Creates an HTTP connection over a new socket. If the body of a response has more than
    /// `body_bytes_max` bytes, the request fails.
    ///
    /// # Errors
    ///
    /// Returns an error if the HTTP library cannot set up the connection.
    pub async fn new(socket: Box<dyn Socket>, body_bytes_max: usize) -> Result<Self, hyper::Error> {
        let (sender, driver) = handshake(TokioIo::new(socket)).await?;
        Ok(Self { sender, driver: Some(Box::pin(driver)), body_bytes_max })
    }

    /// Waits until the connection can send the next request. Returns an error if the connection was
    /// closed.
    pub(crate) async fn ready(&mut self) -> Result<(), hyper::Error> {
        let Self { sender, driver, .. } = self;
        poll_fn(|context| {
            drive(driver, context);
            sender.poll_ready(context)
        })
        .await
    }

    /// Returns whether the connection can send a request now. The next request may still fail,
    /// because the server may close the connection at any time.
    ///
    /// If the server has sent bytes without a request, the connection is closed, because these
    /// bytes would otherwise count as the response to the next request.
    pub(crate) async fn is_open(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        poll_fn(|context| {
            drive(driver, context);
            Poll::Ready(driver.is_some() && sender.is_ready())
        })
        .await
    }

    /// Returns whether the connection can send a request now. Unlike [`is_open`](Self::is_open),
    /// also checks for bytes that arrived a moment ago, by letting the async runtime look for them
    /// first.
    pub(crate) async fn is_still_open(&mut self) -> bool {
        tokio::task::yield_now().await;
        self.is_open().await
    }

    /// Sends a request, and returns the complete response.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection breaks, or if the body of the response is too long.
    pub async fn exchange(
        &mut self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let Self { sender, driver, body_bytes_max } = self;
        let mut response = pin!(async {
            let (head, body) = sender
                .try_send_request(request.map(Full::new))
                .await
                .map_err(|mut error| match error.take_message() {
                    Some(request) => ExchangeError::NotSent {
                        request: Box::new(
                            request.map(|body| body.into_inner().unwrap_or_default()),
                        ),
                        error: error.into_error(),
                    },
                    None => ExchangeError::NoResponse(error.into_error()),
                })?
                .into_parts();
            let body = Limited::new(body, *body_bytes_max).collect().await;
            Ok(Response::from_parts(head, body.map_err(ExchangeError::Body)?.to_bytes()))
        });
        poll_fn(|context| {
            let done = response.as_mut().poll(context);
            if done.is_ready() {
                return done;
            }
            // The result of `drive` is ignored, because `response` also reports if the connection
            // ended.
            drive(driver, context);
            response.as_mut().poll(context)
        })
        .await
    }
}

/// Lets the HTTP library hyper read from and write to the socket. Drops the future `driver` when it
/// has completed.
fn drive(driver: &mut Driving, context: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
        *driver = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::{TcpListener, TcpStream};

    const BODY_BYTES_MAX: usize = 8;

    async fn connected() -> (Connection, DuplexStream) {
        let (client, server) = duplex(1024);
        let connection = Connection::new(Box::new(client), BODY_BYTES_MAX).await;
        (connection.expect("the connection starts"), server)
    }

    async fn respond(server: &mut (impl AsyncRead + AsyncWrite + Unpin), response: &str) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            server.read_buf(&mut request).await.expect("the client must send a request");
        }
        server.write_all(response.as_bytes()).await.expect("the client must read the response");
    }

    fn request() -> Request<Bytes> {
        Request::get("/").body(Bytes::new()).expect("the request is valid")
    }

    #[tokio::test]
    async fn one_connection_serves_several_exchanges() {
        let (mut connection, mut server) = connected().await;
        for body in ["one", "two"] {
            connection.ready().await.expect("the connection is open");
            let response = format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{body}");
            let (exchanged, ()) =
                tokio::join!(connection.exchange(request()), respond(&mut server, &response));
            assert_eq!(exchanged.expect("the server responds").body(), body.as_bytes());
            assert!(connection.is_open().await);
        }
    }

    #[tokio::test]
    async fn body_over_the_limit_is_an_error() {
        let (mut connection, mut server) = connected().await;
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789";
        let (exchanged, ()) =
            tokio::join!(connection.exchange(request()), respond(&mut server, response));
        assert!(matches!(exchanged, Err(ExchangeError::Body(_))), "{exchanged:?}");
    }

    #[tokio::test]
    async fn connection_that_ends_without_response_is_an_error() {
        let (mut connection, mut server) = connected().await;
        let (exchanged, ()) = tokio::join!(connection.exchange(request()), async {
            respond(&mut server, "").await;
            drop(server);
        });
        assert!(matches!(exchanged, Err(ExchangeError::NoResponse(_))), "{exchanged:?}");
    }

    #[tokio::test]
    async fn bytes_that_arrive_unasked_close_the_connection() {
        for is_delayed in [false, true] {
            let (mut connection, mut server) = connected().await;
            let (response, unasked) =
                ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none", "HTTP/1.1 200 OK\r\n");
            let first =
                if is_delayed { response.to_owned() } else { format!("{response}{unasked}") };
            let (exchanged, ()) =
                tokio::join!(connection.exchange(request()), respond(&mut server, &first));
            assert_eq!(exchanged.expect("the server responds").body(), "one");
            if is_delayed {
                server.write_all(unasked.as_bytes()).await.expect("the connection is open");
            }
            assert!(!connection.is_open().await, "delayed: {is_delayed}");
            let unsent = connection.exchange(request()).await;
            assert!(matches!(unsent, Err(ExchangeError::NotSent { .. })), "{unsent:?}");
        }
    }

    /// The server sends bytes after the async runtime has last looked for arrived bytes.
    #[tokio::test]
    async fn bytes_that_have_just_arrived_close_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port can be bound");
        let address = listener.local_addr().expect("the socket is bound");
        let client = TcpStream::connect(address).await.expect("the listener accepts");
        let (mut server, _) = listener.accept().await.expect("the connection opens");
        let connection = Connection::new(Box::new(client), BODY_BYTES_MAX).await;
        let mut connection = connection.expect("the connection starts");
        let exchange = async {
            let response = connection.exchange(request()).await.expect("the server responds");
            assert_eq!(response.body(), "one");
        };
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";
        tokio::join!(exchange, respond(&mut server, response));
        assert!(connection.is_open().await);
        let written = server.try_write(response.as_bytes());
        assert_eq!(written.expect("the connection is open"), response.len());
        assert!(!connection.is_still_open().await);
    }

    #[tokio::test]
    async fn closed_connection_returns_the_unsent_request() {
        let (mut connection, server) = connected().await;
        drop(server);
        let mut sent = request();
        *sent.body_mut() = Bytes::from_static(b"body");
        sent.headers_mut()
            .insert("x-token", "t0k3n".parse().expect("the header's value must be valid"));
        let error = connection.exchange(sent).await.expect_err("the server is gone");
        let printed = format!("{error:?} {error:#?}");
        assert!(!printed.contains("t0k3n") && !printed.contains("body"), "{printed}");
        match error {
            ExchangeError::NotSent { request, .. } => assert_eq!(request.body(), "body"),
            other => panic!("the error must contain the request that was not sent: {other:?}"),
        }
        assert!(!connection.is_open().await);
        assert!(connection.ready().await.is_err());
    }
}
