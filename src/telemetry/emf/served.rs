//! The versions of secrets that readers got in an interval.

use std::time::{Duration, SystemTime};

/// The versions that readers got from the cache in an interval, and their highest age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) versions: Vec<ServedVersion>,
    /// The age that the oldest value had when a reader got the value. `None` if no reader got a
    /// value.
    pub(crate) oldest_age: Option<Duration>,
}

/// A version of a secret that readers got in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedVersion {
    /// The name of the secret.
    pub(crate) secret: Box<str>,
    /// The first characters of the version's id.
    pub(crate) version: Box<str>,
    pub(crate) last_read: SystemTime,
}
