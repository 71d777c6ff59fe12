//! What the agent reports about itself: metrics, a log, and panics.

pub mod log_limiter;
pub mod lines;
pub mod log;
pub mod metrics;
pub mod panics;
