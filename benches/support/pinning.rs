//! Runs the fake AWS server and the readers on one CPU, because they are not part of the
//! measurement. Otherwise, they could slow down the measured program.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use tokio::runtime::{Builder, Runtime};

/// Makes this thread, and all threads that it starts, run only on the last available CPU.
pub(crate) fn pin_to_last_processor() {
    let mine =
        sched_getaffinity(None).expect("the benchmark must be able to list the available CPUs");
    let last = (0..CpuSet::MAX_CPU).rev().find(|processor| mine.is_set(*processor));
    let mut aside = CpuSet::new();
    aside.set(last.expect("at least one CPU must be available"));
    sched_setaffinity(None, &aside).expect("the benchmark must be able to select a CPU");
}

/// Returns the tokio runtime for the fake AWS server.
///
/// # Errors
///
/// If no thread can be started.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(pin_to_last_processor)
        .build()
}
