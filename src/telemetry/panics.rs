//! Counts and logs panics. A panic ends one request or one task, but never the whole process.

use super::metrics::Metrics;
use std::panic::PanicHookInfo;
use std::sync::Arc;

/// From now on, counts every panic and logs its file and line. The panic message is not logged,
/// because it may contain a secret's value.
pub fn observe(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        metrics.panics.inc();
        let (file, line) = panic.location().map_or(("unknown", 0), |at| (at.file(), at.line()));
        tracing::error!(
            file,
            line,
            "Sidekey caught a panic; please report the file and line of this panic"
        );
    }));
}
