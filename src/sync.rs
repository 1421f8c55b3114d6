//! The one switch between the standard library's locks and atomics and those of loom, which explores every
//! interleaving of them; and the lock that is used wherever no thread waits for another's news.

use std::sync::PoisonError;

#[cfg(not(loopmon_loom))]
pub(crate) use std::sync::atomic;
#[cfg(not(loopmon_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(loopmon_loom)]
pub(crate) use loom::sync::atomic;
#[cfg(loopmon_loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

/// A mutex without a guard, so that what runs while it is locked is seen at a glance.
///
/// That is loopmon's own code alone: it moves values in and out. No waker is cloned, woken or dropped
/// there, nothing is dropped that a user gave or that may be the last handle on a runtime, no task is
/// spawned and no channel closed. All of these run code of others, which may panic, block, or come
/// back for the same lock. `tests/it/realtime/hostile` holds it to that.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    #[cfg(not(loopmon_loom))]
    pub(crate) const fn new(value: T) -> Lock<T> {
        Lock(Mutex::new(value))
    }

    #[cfg(loopmon_loom)]
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock(Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
