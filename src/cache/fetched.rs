//! The results of calls to AWS, with the time at which each call was sent.

use crate::clock::Moment;
use crate::secret::version::Version;
use crate::source::FetchError;

#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) moment: Moment,
    /// How many SnapStart restores Sidekey had noticed when it sent the call to AWS.
    pub(super) epoch: u64,
}

/// When a call to AWS for one secret or parameter was sent, and the answer of AWS.
pub(super) type Fetched = (Sent, Result<Version, FetchError>);

/// The answer to a call for several secrets or parameters: one result for each of them, or the error
/// if the whole call failed.
pub(super) type BatchAnswer = Result<Vec<Result<Version, FetchError>>, FetchError>;
