//! Metrics, the log and panics: what the agent reports about itself.

pub mod limited;
pub mod lines;
pub mod log;
pub mod metrics;
pub mod panics;
