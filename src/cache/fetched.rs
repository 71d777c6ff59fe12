//! The results of calls to AWS, with the time at which each call was sent.

use crate::clock::Moment;
use crate::secret::version::Version;
use crate::source::{BatchResult, FetchError};

/// The circumstances of one call to AWS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) moment: Moment,
    /// The number of SnapStart restores before Sidekey sent the call to AWS.
    pub(super) epoch: u64,
    /// A random number from `[0, 1)` that decides when everything that the call fetched is fetched
    /// again. Parameters of one call then share their next call too.
    pub(super) draw: f64,
}

/// When Sidekey sent a call to AWS for one secret or parameter, and the answer of AWS.
pub(super) type Fetched = (Sent, Result<Version, FetchError>);

/// The answer of AWS to a call for several secrets or parameters: one result for each of them, or
/// one error if the whole call failed.
pub(super) type BatchAnswer = Result<Vec<BatchResult>, FetchError>;
