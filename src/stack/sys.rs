//! The only unsafe code of the crate: a question that a signal takes to a thread.
//!
//! # The handler's rules
//!
//! The handler runs on top of whatever the thread was doing, be it in the allocator, the loader or the
//! middle of a panic. Each rule has the test that holds it. Where one cannot be shown to hold, no signal
//! is sent, and the trace says why.
//!
//! **What it may touch.** The question, while its turn is the handler's (`slot`, by loom); the registers
//! that the kernel has saved; two of the thread's own variables. It takes no lock, neither allocates nor
//! frees (`a_thread_that_has_introduced_itself_answers_without_allocating`), and follows no pointer of
//! the interrupted program: the kernel copies the stack through `/proc/self/mem`, which reads what can be
//! read and cannot fault (`what_can_be_read_is_and_nothing_fails_loudly`). What it could meet there, it
//! meets in `linux::tests::stress`.
//!
//! **No function of the C library.** Its two system calls are its own instructions (`raw`): so there is no
//! point where the thread may be cancelled, `errno` stays (`the_interrupted_code_keeps_its_error_number`),
//! and no function has to be found first, under the loader's lock.
//!
//! **No thread-local variable outside of the main program's block.** In a library a look at one may set
//! it up, or free what is left of a library that was closed, and all of it under the allocator's lock. So
//! there is no handler in a library (`program`, `tests/plugin.sh`), and none where Rust's own library is
//! one. The variables in question are `RUNS_TOKIO` and what Tokio keeps; neither is set up by the handler,
//! as `introduce` has been there first.
//!
//! **It is not unloaded.** The main program stays. A library may be closed: one more reason for no handler
//! in it.
//!
//! **On which threads.** On those that have called `introduce` and live. Another is not sent a signal
//! (`a_thread_that_has_not_introduced_itself_is_not_asked`). A thread's number may be another thread's by
//! the time that the signal comes; that one answers nothing
//! (`a_thread_that_has_the_number_of_one_that_was_meant_does_not_answer_for_it`), and in another process
//! nothing comes at all, as `tgkill` is told the process.
//!
//! **On which stack.** On an alternate one, as the thread may have little left of its own. That has room for
//! what the kernel saves at most (`AT_MINSIGSTKSZ`: 12 KiB with AMX) and `HANDLER_BYTES`, on top of another
//! handler of as much and 8 KiB; where the thread's has not, it gets one that has (`alternate`), for as long
//! as it lives. Measured: 1.0 KiB in a dev build, less than 0.1 KiB in a release build, 3.1 KiB under
//! AddressSanitizer (`the_handler_takes_no_more_of_the_stack_than_it_is_given_room_for`, with AMX in use where there is any).
//!
//! **Under which mask.** All signals wait until it is done: a profiler's handler, which expects a whole
//! stack, is never on top of ours (`a_profilers_handler_is_never_called_on_top_of_ours`). The C library keeps
//! two signals to itself that do not wait; for their handlers there is room. The other way round, ours comes
//! on top of any handler that does not mask it, as of Go's or a JVM's, and finds room
//! (`ours_has_room_on_top_of_the_programs_own`).
//!
//! **A signal that the program handles is left to it**, unless it says that it shares it. Then ours takes the
//! place of the program's under the same mask, and on the stack that it was made for, and calls it for what
//! is not ours (`signal::tests`). A program with Go code in it handles SIGURG; a JVM handles others. What the
//! program sets later stays (`a_handler_that_replaces_ours_is_not_fought`).
//!
//! **No signal to who cannot take it.** To a thread that masks it, or has one of ours pending, none is sent:
//! real-time ones would pile up (`no_signal_is_sent_to_who_masks_it`).
//!
//! **It always comes back.** A handler that interrupted ours and left it by `siglongjmp` would keep the
//! question for good. Under the full mask only a fault could, and ours makes none; where the signal is
//! shared, the program's own mask says who can.

mod slot;
mod thread_set;

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
pub(super) use signal::{Refusal, Reply, Signal};
#[cfg(not(loopmon_loom))]
pub(crate) use threads::introduce;

/// The calling thread's number in its own pid namespace, by which a signal is sent to it.
#[cfg(not(loopmon_loom))]
pub(crate) fn own_id() -> Option<u32> {
    Some(raw::own_id())
}
