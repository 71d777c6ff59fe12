//! A connection to an AWS endpoint, and why a call over such a connection fails.

use crate::http1::{Connection, ExchangeError, Socket};
use std::error::Error;

/// The maximum number of bytes in the body of a response. The longest response has twenty secrets of
/// 64 KiB, of which each byte is escaped in JSON: 8 MiB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a call got no response. The messages quote nothing from a response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The endpoint is an address of this agent, so the call would never reach AWS.
    #[error("the endpoint of an AWS client is Sidekey itself")]
    Itself,
    /// No connection could be made: the name has no address, no server answers, or the certificate
    /// is not trusted.
    #[error("the connection could not be made")]
    Connecting(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke, or the response is not usable.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// Starts HTTP over a fresh socket, which may be encrypted.
pub(super) async fn over(socket: Box<dyn Socket>) -> Result<Connection, Broken> {
    let connection = Connection::new(socket, ANSWER_BYTES_MAX).await;
    connection.map_err(|error| Broken::Connecting(error.into()))
}
