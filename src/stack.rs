//! The stack of a stuck thread.
//!
//! The watchdog captures: it copies what is on the thread's stack while it is stuck. The reporter
//! resolves: it finds out which calls the copied bytes are. Nothing is prepared before the first
//! stall.
#![allow(dead_code, reason = "the watchdog is connected in a later step")]

mod cut;
mod frame;
mod settings;
mod trace;

#[cfg(all(
    feature = "stack",
    not(loopmon_loom),
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod linux;
#[cfg(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#[allow(unsafe_code, reason = "a thread is asked by a signal, and handles it")]
mod sys;
#[cfg(not(all(
    feature = "stack",
    not(loopmon_loom),
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod unsupported;

use tokio::task;

pub use frame::Frame;
pub use settings::StackTraces;
pub use trace::{Facts, NoStack, Trace};

/// Who a thread says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The worker that it runs.
    pub(crate) worker: Option<usize>,
    /// The task that it polls.
    pub(crate) task: Option<task::Id>,
}
