//! The only unsafe code of the crate: a question that a signal takes to a thread.

mod roll;
mod slot;

#[cfg(not(loopmon_loom))]
mod alternate;
#[cfg(not(loopmon_loom))]
mod handler;
#[cfg(not(loopmon_loom))]
mod program;
#[cfg(not(loopmon_loom))]
mod raw;
#[cfg(not(loopmon_loom))]
mod signal;
#[cfg(not(loopmon_loom))]
mod threads;

#[cfg(not(loopmon_loom))]
pub(super) use handler::{Question, Registers};
#[cfg(not(loopmon_loom))]
pub(super) use signal::{Ask, Asked, Refusal};
#[cfg(not(loopmon_loom))]
pub(crate) use threads::introduce;

/// The calling thread's number in its own pid namespace, by which a signal is sent to it.
#[cfg(not(loopmon_loom))]
pub(crate) fn own_id() -> Option<u32> {
    Some(raw::own_id())
}
