//! The only unsafe code of the crate: a question that a signal takes to a thread.
//!
//! The handler runs on top of whatever the thread was doing, so it takes no lock, allocates nothing
//! and follows no pointer of the interrupted program. It hands out the registers that the kernel has
//! saved, and has the kernel copy the stack through `/proc/self/mem`, which reads what can be read
//! and cannot fault.

mod slot;

#[cfg(not(loopmon_loom))]
mod signal;

#[cfg(not(loopmon_loom))]
pub(super) use signal::{Ask, Asked, Question, Refusal, Registers};
#[cfg(not(loopmon_loom))]
pub(crate) use signal::{introduce, own_id};
