//! Locks the mutexes that several handles of a fake share.

use std::sync::{Mutex, MutexGuard};

/// Locks `mutex`. The lock is never poisoned, because no code in this crate panics while holding a
/// lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
