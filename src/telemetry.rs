//! What the agent reports about itself: metrics, a log, and panics.

pub(crate) mod log_limiter;
pub(crate) mod lines;
pub mod log;
pub mod metrics;
pub mod panics;
