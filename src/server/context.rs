//! The parts of the agent that all request handlers share.

use super::dialect::Dialect;
use crate::cache::Cache;
use crate::telemetry::log_limiter::LogLimiter;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

/// The parts of the agent that every request handler may use.
#[derive(Debug)]
pub struct Context {
    /// The dialect that this deployment speaks.
    pub dialect: Dialect,
    /// The cache from which secrets are served.
    pub cache: Cache,
    /// The metrics of the agent.
    pub metrics: Arc<Metrics>,
    /// Whether the prefetch is over: every required secret was fetched or failed, or the deadline
    /// passed.
    pub is_settled: AtomicBool,
    /// Whether the configuration has mistakes. Every read then fails with a description of the
    /// mistakes.
    pub is_misconfigured: bool,
    /// Limits the rate of log lines about refused requests, so that a caller in a loop cannot fill the
    /// log.
    pub refusals_logged: LogLimiter,
    /// Cancelled when the agent stops. Long polls are then answered at once.
    pub stop: CancellationToken,
}
