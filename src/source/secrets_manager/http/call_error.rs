//! Why a call got no response.

use crate::http1::ExchangeError;
use std::error::Error;

/// Why a call got no response. The messages quote nothing from a response.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The endpoint is an address of this agent, so the call would never reach AWS.
    #[error("the endpoint of an AWS client is an address of Sidekey itself")]
    OwnAddress,
    /// No connection could be opened: the name has no address, no server responds, or the certificate
    /// is not trusted.
    #[error("the connection could not be opened")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke, or the response is not usable.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}
