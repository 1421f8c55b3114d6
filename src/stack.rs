//! The stack of a stuck thread.
//!
//! The inspector captures it: it copies what is on the thread's stack while that is stuck
//! (`linux/capture.rs`, which waits for no lock). A thread of its own resolves what was copied to functions,
//! files and lines (`linux/resolve.rs`, which may take its time). This file hands on what the rest of the
//! crate uses of it, and has nothing of its own.

#[cfg(any(feature = "tracing", feature = "opentelemetry"))]
mod culprit;
mod frame;
mod resolver_thread;
mod settings;
mod snapshot;
mod target;
mod trace;

/// The only place that says where stacks are taken.
macro_rules! platform {
    ($taken:meta, $loom:meta) => {
        #[cfg(not(all($taken, not($loom))))]
        mod unsupported;
        #[cfg(not(all($taken, not($loom))))]
        use unsupported as platform;

        #[cfg(all($taken, not($loom)))]
        mod linux;
        #[cfg(all($taken, not($loom)))]
        use linux as platform;

        #[cfg($taken)]
        #[allow(unsafe_code, reason = "a thread is asked by a signal, and handles it")]
        mod sys;
    };
}
platform!(
    all(
        feature = "stack",
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ),
    loopmon_loom
);

#[cfg(any(feature = "tracing", feature = "opentelemetry"))]
pub(crate) use culprit::culprit;
pub use frame::Frame;
pub(crate) use platform::{ARE_TAKEN, OnCpuTracker, follow, identify, introduce, own_id};
pub(crate) use resolver_thread::ResolverThread;
pub use settings::StackCapture;
pub(crate) use snapshot::StackSnapshot;
#[cfg(test)]
pub(crate) use snapshot::Unresolved;
pub(crate) use target::{Identity, Shows, Target};
pub use trace::{NoStack, StackTrace, ThreadState};
