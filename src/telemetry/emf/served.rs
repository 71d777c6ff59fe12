//! The versions of secrets that callers got in an interval.

use std::time::{Duration, SystemTime};

/// The versions of secrets that callers got from the cache in an interval, and the age of the
/// oldest value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) versions: Vec<ServedVersion>,
    /// The age that the oldest value had when a caller got the value. `None` if no caller got a
    /// value.
    pub(crate) oldest_age: Option<Duration>,
}

/// A version of a secret that callers got in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedVersion {
    /// The name of the secret.
    pub(crate) secret: Box<str>,
    /// The first characters of the version's id.
    pub(crate) version: Box<str>,
    pub(crate) last_read: SystemTime,
}
