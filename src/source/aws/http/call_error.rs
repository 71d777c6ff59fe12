//! Describes why a call to AWS got no usable response.

use crate::http1::ExchangeError;
use std::error::Error;

/// Why a call to AWS got no usable response. The error messages quote nothing from a response,
/// because a response may contain secret values.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the AWS endpoint is an address of Sidekey itself")]
    OwnAddress,
    /// Error: the agent could not connect to AWS. Possible causes are DNS, a server that does not
    /// respond, and a certificate that is not trusted.
    #[error("the connection to the AWS endpoint could not be opened")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// Error: the connection to AWS broke during the call, or the response is not usable.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}
