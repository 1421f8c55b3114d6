//! The one switch between the standard library's locks and atomics and those of loom, which explores
//! every interleaving of them.

#[cfg(not(loopmon_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(loopmon_loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
