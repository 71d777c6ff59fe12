//! Runs the fake AWS server and the readers on one CPU, because they are not part of the
//! measurement. Otherwise, they could slow down the measured program.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::process::Child;
use tokio::runtime::{Builder, Runtime};

/// Makes this thread, and all threads that it starts, run only on the last available CPU.
pub(crate) fn pin_to_last_processor() {
    let last = processors().pop().expect("at least one CPU must be available");
    sched_setaffinity(None, &only(last)).expect("the benchmark must be able to select a CPU");
}

/// Makes the main thread of a program run only on the CPU `processor`, a number from [`processors`].
#[allow(dead_code, reason = "only one bench pins programs")]
pub(crate) fn pin_program(program: &Child, processor: usize) -> io::Result<()> {
    Ok(sched_setaffinity(Some(Pid::from_child(program)), &only(processor))?)
}

/// Returns the numbers of the CPUs on which this thread may run.
pub(crate) fn processors() -> Vec<usize> {
    let mine =
        sched_getaffinity(None).expect("the benchmark must be able to list the available CPUs");
    (0..CpuSet::MAX_CPU).filter(|processor| mine.is_set(*processor)).collect()
}

fn only(processor: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(processor);
    set
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
