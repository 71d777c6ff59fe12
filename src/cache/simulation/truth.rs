//! A secret as it really is, and what goes wrong with calls for it.

use crate::source::FetchErrorKind;
use std::time::Duration;

/// What goes wrong with calls for one secret.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    None,
    Fail(FetchErrorKind),
    /// Every other call fails.
    Flaky(FetchErrorKind),
    /// Calls end at their deadline.
    Hang,
}

/// A secret as it really is.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) name: String,
    /// How often it has been made anew.
    pub(super) generation: u32,
    /// The numbers of its versions, in the order of their creation.
    pub(super) versions: Vec<u32>,
    /// Which version was made current, and when by the steady clock.
    pub(super) history: Vec<(Duration, u32)>,
    pub(super) is_deleted: bool,
    pub(super) fault: Fault,
    /// How far some replicas are behind.
    pub(super) lag: Duration,
}

impl Truth {
    pub(super) fn arn(&self) -> String {
        let (name, generation) = (&self.name, self.generation);
        format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-Gen{generation:03}")
    }

    /// Returns the number of the version that was current at `at`.
    pub(super) fn current(&self, at: Duration) -> u32 {
        let earlier = self.history.iter().rev().find(|(since, _)| *since <= at);
        earlier.or_else(|| self.history.first()).expect("a secret has a version").1
    }
}
