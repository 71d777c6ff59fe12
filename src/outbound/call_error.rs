//! Describes why a call to another server got no usable response.

use crate::http1::ExchangeError;
use std::error::Error;

/// Why a call to another server got no usable response. The error messages quote nothing from a
/// response, because a response may contain secret values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Error: the URL of the call is not an http or https URL with a host.
    #[error("the URL of the server is not an http or https URL with a host")]
    BadUrl,
    #[error("the server's address is an address of Sidekey itself")]
    OwnAddress,
    /// Error: no connection to the server could be opened. Possible causes are DNS, a server that
    /// does not respond, and a certificate that is not trusted.
    #[error("the connection to the server could not be opened")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    #[error("the connection to the server could not be opened in time")]
    ConnectTimeout,
    /// Error: the connection to the server broke during the call, or the response is not usable.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

impl CallError {
    /// Returns why no connection to the server could be opened, for example because the host name
    /// is unknown. Returns `None` if the connection was opened: the error may then quote the
    /// server's response, which may contain secret values.
    pub(crate) fn connect_failure(&self) -> Option<String> {
        let Self::Connect(cause) = self else { return None };
        let mut root: &dyn Error = &**cause;
        while let Some(next) = root.source() {
            root = next;
        }
        Some(root.to_string())
    }
}
