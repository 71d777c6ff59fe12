//! Runs independent simulations in parallel.

use std::sync::Mutex;
use std::thread;

/// The number of simulations that run in parallel. More simulations would need more memory.
const WORKERS: usize = 4;

/// Calls `work` for every item, in parallel. Returns the results in the order of the items.
pub(crate) fn all<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let left = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next =
                        left.lock().expect("no thread may panic while it holds the lock").next();
                    let Some((at, item)) = next else { return };
                    let result = work(item);
                    done.lock()
                        .expect("no thread may panic while it holds the lock")
                        .push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread may panic while it holds the lock");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
