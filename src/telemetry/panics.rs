//! Counts and logs panics. A panic ends one request or one task, but never the whole process.

use super::metrics::Metrics;
use std::panic::PanicHookInfo;
use std::sync::Arc;

/// Sets a hook that counts each panic, and logs the file and line of the panic. The hook does not
/// log the message of the panic, because the message may contain a secret.
pub fn observe(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        metrics.panics.inc();
        let (file, line) = panic.location().map_or(("unknown", 0), |at| (at.file(), at.line()));
        tracing::error!(
            file,
            line,
            "Sidekey has a bug: a part of its code panicked; please report the file and line"
        );
    }));
}
