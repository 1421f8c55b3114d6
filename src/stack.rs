//! The stack of a stuck thread: the façade that the rest of the crate uses. It has no code of its own.
//!
//! A stack passes through these files:
//!
//! 1. `settings.rs`: the user chooses whether and how stacks are taken.
//! 2. `sys/threads.rs`: each worker prepares itself to be asked by a signal. It gets a large alternate stack
//!    (`sys/alternate.rs`) and a place among the threads that may be asked (`sys/thread_set.rs`).
//! 3. `snapshot.rs`: the watchdog's inspector suspects a worker, and takes a snapshot of its thread.
//! 4. `linux/capture.rs`: a thread that is blocked is copied through `/proc`. One that runs is asked, but only
//!    if `capture/on_cpu.rs` or `capture/restartable.rs` shows that a signal interrupts no system call.
//! 5. `sys/signal.rs`: leaves a question in `sys/slot.rs`, and sends the signal. `sys/handler.rs` answers it on
//!    the thread: with its registers, a copy of the stack, its worker and its task.
//! 6. `linux/image.rs`: holds the copied bytes until they are resolved.
//! 7. `resolver_thread.rs`: passes each snapshot to `linux/resolve.rs`, on a thread that may wait.
//! 8. `resolve/memory.rs`, `modules.rs`: list the mapped programs and libraries, with their unwind tables.
//! 9. `resolve/unwind.rs`: walks from call to caller. `index.rs` finds the rules of a function and `rules.rs`
//!    applies them; `unwind/search.rs` continues where there are none, by `call_insn.rs` and `prologue.rs`.
//! 10. `resolve/symbols.rs`: names the calls, from debug information (`debug.rs`) or the symbol table
//!     (`elf_file.rs`). `budget.rs`, `paged.rs` and `window.rs` bound what is read.
//! 11. `resolve/user_frames.rs`: finds the part of the stack that is the user's.
//! 12. `resolve/culprit.rs`: finds the call to blame there, by source files (`culprit/source.rs`) or by crates
//!     (`culprit/crates.rs`).
//! 13. `trace.rs`, `frame.rs`: the user reads the trace.

mod frame;
mod interruptions;
#[cfg(feature = "stack")]
mod paths;
mod resolver_thread;
mod settings;
mod snapshot;
mod target;
mod trace;

/// The only place that says which platforms support stacks.
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
        #[allow(
            unsafe_code,
            reason = "a signal handler takes the stack of a running thread"
        )]
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

pub(crate) use frame::Brief;
pub use frame::Frame;
#[cfg(feature = "testing")]
pub(crate) use frame::plain_path;
pub(crate) use interruptions::interruptions;
#[cfg(feature = "testing")]
pub(crate) use paths::paths;
#[cfg(loopmon_fuzzing)]
pub(crate) use platform::fuzzing;
pub(crate) use platform::{
    ARE_TAKEN, ContextAddress, OnCpuTracker, Witness, block_signals, follow, identify, introduce,
    own_id, sleeps, with_signals,
};
pub(crate) use resolver_thread::ResolverThread;
pub use settings::StackCapture;
pub(crate) use snapshot::StackSnapshot;
#[cfg(all(test, not(loopmon_loom)))]
pub(crate) use snapshot::Unresolved;
pub(crate) use target::{Identity, Look, Shows, Target};
pub use trace::{NoStack, StackTrace, ThreadState};
