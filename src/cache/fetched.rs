//! The results of calls to AWS, with the time at which each call was sent.

use super::state::State;
use crate::clock::Moment;
use crate::secret::version::Version;
use crate::source::{BatchResult, FetchError};
use bytes::Bytes;

/// The time at which a call to AWS was sent, and a random number for the call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) moment: Moment,
    /// The number of SnapStart restores before Sidekey sent the call to AWS.
    pub(super) epoch: u64,
    /// A random number from `[0, 1)` that decides when the agent refreshes the secrets or
    /// parameters that the call fetched. All of them have the same number, so parameters that share
    /// this call also share the next call.
    pub(super) draw: f64,
}

impl Sent {
    /// Returns the current time and a random number, for a call to AWS that is sent now.
    pub(super) fn now(state: &State) -> Self {
        let moment = state.clock.now();
        state.detect_restore(moment);
        Self { moment, epoch: state.epoch(), draw: state.draw() }
    }
}

/// The version of a secret or parameter that AWS returned.
#[derive(Debug)]
pub(super) enum Answer {
    /// The version comes from the region of the secret or parameter itself.
    Home(Version),
    /// The version comes from the failover region, because the home region failed.
    Replica(Box<Replica>),
}

impl Answer {
    /// Returns the version from the secret's own region.
    ///
    /// # Errors
    ///
    /// Returns the error of this region if the version comes from a replica.
    pub(super) fn into_home(self) -> Result<Version, FetchError> {
        match self {
            Self::Home(version) => Ok(version),
            Self::Replica(replica) => Err(replica.home),
        }
    }
}

/// The version of a secret that its replica returned, after the home region failed.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) version: Version,
    /// The AWS region of the replica, such as `eu-west-1`.
    pub(super) region: Bytes,
    /// Why the call to the home region failed.
    pub(super) home: FetchError,
}

/// The result of one call to AWS for one secret or parameter: the time at which Sidekey sent the
/// call, and the answer of AWS.
pub(super) type Fetched = (Sent, Result<Answer, FetchError>);

/// The answer of AWS to a call for several secrets or parameters: one result for each of them, or
/// one error if the whole call failed.
pub(super) type BatchAnswer = Result<Vec<BatchResult>, FetchError>;
