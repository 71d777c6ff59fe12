//! The log and the metrics of the agent.

pub(crate) mod log_limiter;
pub(crate) mod lines;
pub mod log;
pub mod emf;
pub mod metrics;
pub mod panics;
