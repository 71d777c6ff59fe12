//! Locks the mutexes that the handles of a fake share.

use std::sync::{Mutex, MutexGuard};

/// Locks `mutex`. No code in this crate panics while it holds such a lock, so the lock is never
/// poisoned.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
