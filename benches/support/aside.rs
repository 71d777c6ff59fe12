//! What is not measured stays on one processor: Secrets Manager, which is another machine's, and who
//! asks. The scheduler would have it take turns with the program that is measured, while another
//! processor is idle.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use tokio::runtime::{Builder, Runtime};

/// Keeps this thread, and what it starts, on the last processor that it may use.
pub(crate) fn stay() {
    let mine = sched_getaffinity(None).expect("the processors can be read");
    let last = (0..CpuSet::MAX_CPU).rev().find(|processor| mine.is_set(*processor));
    let mut aside = CpuSet::new();
    aside.set(last.expect("there is a processor"));
    sched_setaffinity(None, &aside).expect("one of one's own processors can be chosen");
}

/// Returns what runs Secrets Manager.
///
/// # Errors
///
/// Where no thread can be started.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().on_thread_start(stay).build()
}
