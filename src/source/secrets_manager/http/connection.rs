//! One connection to an endpoint, and one exchange at a time over it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{Connection as Driver, SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// The longest answer that is read. A batch of twenty secrets of 64 KiB, each byte of them escaped
/// in JSON, is 8 MiB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why there is no answer. What it says comes from the libraries below, which quote no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// It would lead to Sidekey itself.
    #[error("the endpoint of an AWS client is Sidekey itself")]
    Itself,
    /// There was no connection: no address, nobody there, or no trust.
    #[error("the connection could not be made")]
    Connecting(#[source] Box<dyn Error + Send + Sync>),
    /// It had ended before the request was sent.
    #[error("the connection was closed")]
    Unsent(Box<Request<Full<Bytes>>>),
    /// It ended, or made no sense, before an answer had begun.
    #[error("the connection broke before the answer")]
    Asking(#[source] hyper::Error),
    /// The answer broke off, or did not end.
    #[error("the answer broke off")]
    Answering(#[source] Box<dyn Error + Send + Sync>),
}

/// A socket, encrypted or not.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// What moves a connection, and is gone once that has ended: a request that it has not sent comes back
/// then.
type Driving = Option<Pin<Box<Driver<TokioIo<Box<dyn Socket>>, Full<Bytes>>>>>;

/// A connection that speaks HTTP/1.1.
///
/// It moves while an exchange is awaited, in that same task: nobody has to be woken to write a
/// request or to read its answer.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driving,
}

impl Connection {
    /// Speaks over a socket that nobody has spoken over, encrypted or not.
    pub(super) async fn over(socket: Box<dyn Socket>) -> Result<Self, Broken> {
        let (sender, driver) = handshake(TokioIo::new(socket)).await.map_err(Broken::Asking)?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    /// Sends a request and reads its answer whole.
    ///
    /// # Errors
    ///
    /// Where the connection breaks, or the answer is longer than any that is expected.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, Broken> {
        let Self { sender, driver } = self;
        let mut answer = pin!(async {
            let answer = sender.try_send_request(request).await;
            let answer = answer.map_err(|mut error| match error.take_message() {
                Some(request) => Broken::Unsent(Box::new(request)),
                None => Broken::Asking(error.into_error()),
            })?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok(Response::from_parts(head, body.map_err(Broken::Answering)?.to_bytes()))
        });
        poll_fn(|context| {
            let done = answer.as_mut().poll(context);
            if done.is_ready() {
                return done;
            }
            // How it ended, the answer tells.
            drive(driver, context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Returns whether another exchange can follow, as far as the peer has let know.
    pub(super) async fn is_open(&mut self) -> bool {
        let Self { sender, driver } = self;
        poll_fn(|context| {
            drive(driver, context);
            Poll::Ready(driver.is_some() && sender.is_ready())
        })
        .await
    }
}

/// Moves a connection on, and drops it once it has ended.
fn drive(driver: &mut Driving, context: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
        *driver = None;
    }
}
