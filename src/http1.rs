//! The client side of an HTTP/1.1 connection. A connection sends one request at a time, and waits
//! for the response before it sends the next request.

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Connection as Driver, SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// The body of a request.
///
/// This is an enum with an error type of its own, because the compiler cannot prove that tasks with
/// a body whose error is a `Box<dyn Error>` are `Send`.
pub enum RequestBody {
    /// The body is complete in memory.
    Complete(Full<Bytes>),
    /// The body is streamed: its pieces are created while the request is sent.
    Pieces(BoxBody<Bytes, IncompleteBody>),
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

/// The error for a request whose body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body of the request is incomplete")]
pub struct IncompleteBody;

impl Body for RequestBody {
    type Data = Bytes;
    type Error = IncompleteBody;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncompleteBody>>> {
        match self.get_mut() {
            Self::Complete(bytes) => match ready!(Pin::new(bytes).poll_frame(context)) {
                Some(frame) => Poll::Ready(Some(frame.map_err(|never| match never {}))),
                None => Poll::Ready(None),
            },
            Self::Pieces(pieces) => Pin::new(pieces).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Complete(bytes) => bytes.is_end_stream(),
            Self::Pieces(pieces) => pieces.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Complete(bytes) => bytes.size_hint(),
            Self::Pieces(pieces) => pieces.size_hint(),
        }
    }
}

/// The reason why a request got no complete response. Neither error messages nor debug output
/// contain parts of the response or headers of the request, because these may be confidential.
#[derive(thiserror::Error)]
pub enum ExchangeError {
    /// The connection was closed before the request was sent, so the server has not seen the
    /// request.
    #[error("the connection was closed before the HTTP request was sent")]
    NotSent {
        /// The request that was not sent. The caller can send this request over another connection.
        request: Box<Request<RequestBody>>,
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
type Driving = Option<Pin<Box<Driver<TokioIo<Box<dyn Socket>>, RequestBody>>>>;

/// An HTTP/1.1 connection from a client to a server.
///
/// The task that waits for the response also reads from and writes to the socket, because waking a
/// separate task for each request would be slower.
pub struct Connection {
    sender: SendRequest<RequestBody>,
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
        poll_fn(|context| Poll::Ready(self.poll_open(context))).await
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> bool {
        drive(&mut self.driver, context);
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Returns whether the connection can send a request now. Unlike [`is_open`](Self::is_open), first
    /// lets the async runtime look for news, so that the connection also counts as closed if the server
    /// closed it, or sent bytes without a request, a moment ago.
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
        let (head, body) = self.send(request.map(in_memory)).await?.into_parts();
        let mut body = pin!(Limited::new(body, self.body_bytes_max).collect());
        let driver = &mut self.driver;
        let body = poll_fn(|context| poll_driven(driver, context, |cx| body.as_mut().poll(cx)));
        Ok(Response::from_parts(head, body.await.map_err(ExchangeError::Body)?.to_bytes()))
    }

    /// Sends a request, and returns the response as soon as its headers have arrived. The body of
    /// the response owns the connection, so that dropping the body closes the connection.
    ///
    /// When the body has been read to its end, `reuse` gets the connection, if it can send another
    /// request. After a 5xx response, the connection is closed instead: there may be several servers
    /// behind one host name, so a new connection may reach a server that works.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection breaks before the response begins.
    pub(crate) async fn stream(
        mut self,
        request: Request<RequestBody>,
        reuse: Reuse,
    ) -> Result<Response<Streamed>, ExchangeError> {
        let response = self.send(request).await?;
        let reuse = (!response.status().is_server_error()).then_some(reuse);
        let mut response = response.map(|body| Streamed { body, connection: Some(self), reuse });
        if response.body().body.is_end_stream() {
            poll_fn(|context| {
                response.body_mut().release(context);
                Poll::Ready(())
            })
            .await;
        }
        Ok(response)
    }

    async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let Self { sender, driver, .. } = self;
        let mut response = pin!(sender.try_send_request(request));
        poll_fn(|context| poll_driven(driver, context, |cx| response.as_mut().poll(cx)))
            .await
            .map_err(|mut error| match error.take_message() {
                Some(request) => {
                    ExchangeError::NotSent { request: Box::new(request), error: error.into_error() }
                }
                None => ExchangeError::NoResponse(error.into_error()),
            })
    }
}

/// Converts a body in memory to the body of a request.
pub(crate) fn in_memory(body: Bytes) -> RequestBody {
    RequestBody::Complete(Full::new(body))
}

/// Polls `work`, which waits for the connection, and lets the HTTP library hyper read from and write
/// to the socket if `work` is not complete.
fn poll_driven<T>(
    driver: &mut Driving,
    context: &mut Context<'_>,
    mut work: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let done = work(context);
    if done.is_ready() {
        return done;
    }
    // The result of `drive` is ignored, because `work` also reports if the connection ended.
    drive(driver, context);
    work(context)
}

/// A function that receives a connection which can send another request.
pub(crate) type Reuse = Box<dyn FnOnce(Connection) + Send>;

/// The body of a response, whose bytes may still be arriving. The task that reads the body also
/// drives the connection, so that the server can send only as fast as the task reads.
pub(crate) struct Streamed {
    body: Incoming,
    /// The connection on which the body arrives. `None` after the complete body has arrived.
    connection: Option<Connection>,
    /// The function that gets the connection after the end of the body. `None` if the connection
    /// must be closed at that time.
    reuse: Option<Reuse>,
}

impl Streamed {
    /// Passes the connection to `reuse` after the end of the body. Closes the connection if it
    /// cannot send another request.
    fn release(&mut self, context: &mut Context<'_>) {
        let (Some(mut connection), Some(reuse)) = (self.connection.take(), self.reuse.take())
        else {
            return;
        };
        if connection.poll_open(context) {
            reuse(connection);
        }
    }
}

impl fmt::Debug for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed").finish_non_exhaustive()
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, connection, .. } = &mut *self;
        let Some(Connection { driver, .. }) = connection else { return Poll::Ready(None) };
        let frame = ready!(poll_driven(driver, context, |cx| Pin::new(&mut *body).poll_frame(cx)));
        if frame.is_none() || self.body.is_end_stream() {
            self.release(context);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
    async fn streamed_body_arrives_in_pieces_and_frees_the_connection() {
        let (connection, mut server) = connected().await;
        let (freed, is_free) = tokio::sync::oneshot::channel();
        let reuse = Box::new(|connection| drop(freed.send(connection)));
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none";
        let sent = request().map(in_memory);
        let (response, ()) =
            tokio::join!(connection.stream(sent, reuse), respond(&mut server, head),);
        let mut body = response.expect("the server responds").into_body();
        let mut next = async || {
            body.frame().await.map(|frame| {
                frame.expect("the connection is open").into_data().expect("the frame has data")
            })
        };
        assert_eq!(next().await.expect("the first piece has arrived"), "one");
        server.write_all(b"two").await.expect("the connection is open");
        assert_eq!(next().await.expect("the second piece has arrived"), "two");
        assert_eq!(next().await, None);
        let mut connection: Connection = is_free.await.expect("the connection is free again");
        assert!(connection.is_open().await);
    }

    #[tokio::test]
    async fn dropped_body_closes_the_connection() {
        let (connection, mut server) = connected().await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none";
        let sent = request().map(in_memory);
        let (response, ()) =
            tokio::join!(connection.stream(sent, Box::new(drop)), respond(&mut server, head),);
        drop(response);
        assert_eq!(server.read(&mut [0]).await.expect("the connection closes cleanly"), 0);
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
            ExchangeError::NotSent { request, .. } => {
                let body = request.into_body().collect().await.expect("the body is in memory");
                assert_eq!(body.to_bytes(), "body");
            }
            other => panic!("the error must contain the request that was not sent: {other:?}"),
        }
        assert!(!connection.is_open().await);
        assert!(connection.ready().await.is_err());
    }
}
