//! Panics are counted and logged, and end one request or one task, never the process.

use super::metrics::Metrics;
use std::panic::PanicHookInfo;
use std::sync::Arc;

/// Has every panic counted and logged by its place. Its message is left out: it may hold a value.
pub fn observe(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        metrics.panics.inc();
        let (file, line) = panic.location().map_or(("unknown", 0), |at| (at.file(), at.line()));
        tracing::error!(file, line, "caught a panic; please report it");
    }));
}
