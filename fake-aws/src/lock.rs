//! Locks mutexes without returning an error for a poisoned mutex.

use std::sync::{Mutex, MutexGuard};

/// Locks a mutex. The mutex is never poisoned, because no code in this crate panics while it holds
/// a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("the mutex must not be poisoned, because no code panics while it holds the lock")
}
