//! The parts of the agent that all handlers of HTTP requests share, such as the cache and the
//! metrics.

use super::dialect::Dialect;
use crate::cache::Cache;
use crate::secret::role_rules::RoleRules;
use crate::telemetry::log_limiter::LogLimiter;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) dialect: Dialect,
    pub(crate) cache: Cache,
    /// The rules that choose the role with which Sidekey reads a secret.
    pub(crate) role_rules: RoleRules,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the agent has tried to fetch each required secret of `SIDEKEY_SECRETS` after its
    /// start, or has exceeded the time limit for this.
    pub(crate) is_settled: AtomicBool,
    /// Whether the configuration has mistakes. If so, every read of a secret fails with a
    /// description of the mistakes.
    pub(crate) is_misconfigured: bool,
    /// Whether the agent has received a stop signal, and still answers requests for the time
    /// `SIDEKEY_DRAIN_DELAY`. Meanwhile `/ready` answers with status 503.
    pub(crate) is_stopping: AtomicBool,
    /// Limits the rate of log lines about refused requests, so that a caller that repeats a refused
    /// request cannot fill the log.
    pub(crate) refusals_logged: LogLimiter,
    /// Signals that the agent stops. The agent then answers long polls (requests that wait until a
    /// secret changes) at once.
    pub(crate) stop: CancellationToken,
}
