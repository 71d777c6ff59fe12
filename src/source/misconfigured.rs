//! The source of secrets of an agent whose configuration is invalid.

use super::{BatchResult, FetchError, FetchErrorKind, FetchFuture, Source};
use crate::secret::key::Key;
use crate::secret::version::Version;
use std::time::Duration;

/// Replaces AWS as the source of secrets if the agent's configuration is invalid. Every fetch
/// fails, and the error message lists the mistakes in the configuration, so that the mistakes
/// appear in the application's log.
#[derive(Debug)]
pub(crate) struct Misconfigured(FetchError);

impl Misconfigured {
    pub(crate) fn new(mistakes: &str) -> Self {
        let kind = FetchErrorKind::Misconfigured;
        Self(FetchError::new(kind, "InvalidConfigurationException", mistakes))
    }
}

impl Source for Misconfigured {
    fn deadline(&self, _key: &Key) -> Duration {
        Duration::ZERO
    }

    fn fetch<'a>(&'a self, _key: &'a Key) -> FetchFuture<'a, Version> {
        Box::pin(async { Err(self.0.clone()) })
    }

    fn fetch_batch<'a>(&'a self, _keys: &'a [Key]) -> FetchFuture<'a, Vec<BatchResult>> {
        Box::pin(async { Err(self.0.clone()) })
    }
}
