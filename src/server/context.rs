//! The parts of the agent that all request handlers share.

use super::dialect::Dialect;
use crate::cache::Cache;
use crate::telemetry::log_limiter::LogLimiter;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

/// The parts of the agent that all request handlers share.
#[derive(Debug)]
pub(crate) struct Context {
    /// Which of AWS's two agents Sidekey imitates in its answers.
    pub(crate) dialect: Dialect,
    /// The cache from which Sidekey serves secrets.
    pub(crate) cache: Cache,
    /// The metrics of the agent.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the prefetch of listed secrets is over: each required secret was fetched or failed,
    /// or the deadline of the prefetch passed.
    pub(crate) is_settled: AtomicBool,
    /// Whether the configuration has mistakes. If so, every read fails with a description of the
    /// mistakes.
    pub(crate) is_misconfigured: bool,
    /// Limits the rate of log lines about refused requests, so that a caller that repeats such a
    /// request cannot fill the log.
    pub(crate) refusals_logged: LogLimiter,
    /// Is cancelled when the agent stops. Requests that wait for a new version of a secret (long
    /// polls) are then answered at once.
    pub(crate) stop: CancellationToken,
}
