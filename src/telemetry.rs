//! Metrics, the log and panics: what the agent reports about itself.

pub mod log_limiter;
pub mod lines;
pub mod log;
pub mod metrics;
pub mod panics;
