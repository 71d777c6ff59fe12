//! What does it tell?

pub mod limited;
pub mod lines;
pub mod log;
pub mod metrics;
pub mod panics;
