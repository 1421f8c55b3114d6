//! The only unsafe code of the crate: a signal takes a question to a thread, whose handler answers it.
//!
//! # The handler's rules
//!
//! The handler runs on top of whatever the thread was doing: in the allocator, in the loader, or in the
//! middle of a panic. Each rule names the test that checks it. Where a rule cannot be shown to hold, no signal
//! is sent, and the trace says why.
//!
//! **What it may access.** It accesses the question, while its turn is the handler's (`slot`, by loom); the
//! registers that the kernel has saved; and two thread-local variables. It takes no lock, neither
//! allocates nor frees (`a_thread_that_has_introduced_itself_answers_without_allocating`), and follows no
//! pointer of the interrupted program: the kernel copies the stack through `/proc/self/mem`, which reads what
//! is mapped and cannot fault (`reads_what_is_mapped_and_fails_quietly_elsewhere`). `linux::tests::stress`
//! interrupts threads in all of these places.
//!
//! **No function of the C library.** It makes its two system calls with its own instructions (`raw`). So it has
//! no cancellation point, `errno` stays (`the_interrupted_code_keeps_its_error_number`), and no function must
//! be resolved first, under the loader's lock.
//!
//! **No thread-local variable outside the main program's block.** In a library, an access may allocate the
//! variable, or free what is left of a closed library, under the allocator's lock. So no handler is installed
//! in a library (`program`, `tests/plugin.sh`), nor where Rust's own library is a shared one. The variables in
//! question are `RUNS_TOKIO` and those of Tokio. The handler initializes neither, as `introduce` has run
//! before.
//!
//! **It is not unloaded.** The main program stays loaded. A library may be closed: one more reason for no
//! handler in it.
//!
//! **On which threads.** It answers on threads that have called `introduce` and live. Another thread is sent no
//! signal (`a_thread_that_has_not_introduced_itself_is_not_asked`). By the time the signal arrives, the
//! thread's id may be another thread's, which does not answer
//! (`a_thread_that_has_the_id_of_one_that_was_meant_does_not_answer_for_it`). No other process gets the
//! signal, as `tgkill` names the process.
//!
//! **On which stack.** It runs on an alternate stack, as the thread may have little left of its own. That has
//! room for the most that the kernel saves (`AT_MINSIGSTKSZ`: 12 KiB with AMX) and for `HANDLER_BYTES`, on top
//! of another handler of as much and 8 KiB. A thread whose alternate stack is smaller gets another
//! (`alternate`) for the rest of its life. The handler was measured to use 1.2 KiB in a dev build, less than
//! 0.2 KiB in a release build, and 3.5 KiB under AddressSanitizer, with AMX in use where there is any
//! (`the_handler_takes_no_more_of_the_stack_than_it_is_given_room_for`).
//!
//! **Under which mask.** All signals wait until it returns. So a profiler's handler, which expects a whole stack,
//! never runs on top of ours (`a_profilers_handler_is_never_called_on_top_of_ours`). Two signals that the C
//! library keeps to itself do not wait; there is room for their handlers. Ours, in turn, runs on top of any
//! handler that does not mask it, such as those of Go or a JVM, and has room there
//! (`ours_has_room_on_top_of_the_programs_own`).
//!
//! **A signal that the program handles is left to it**, unless the program shares it. Then ours replaces the
//! program's handler, under the same mask and on the same kind of stack, and calls it for each signal that is
//! not ours (`signal::tests`). A program with Go code in it handles SIGURG; a JVM handles others. A handler
//! that the program installs later stays (`a_handler_that_replaces_ours_is_not_fought`).
//!
//! **No signal to a thread that cannot handle it.** None is sent to a thread that masks it. Nor to one that has one of
//! ours pending, but for a stall's first question for a stack: real-time signals would pile up
//! (`no_signal_is_sent_to_a_thread_that_masks_it`). That question waits in its slot until the thread is back from a
//! long system call (`a_question_that_is_left_is_answered_late`).
//!
//! **It always returns.** A handler that interrupted ours and left it by `siglongjmp` would keep the question
//! for ever. Under the full mask only a fault could do that, and ours causes none. Where the signal is shared,
//! the program's own mask decides who can.

mod slot;
mod thread_set;

#[cfg(not(loopmon_loom))]
mod alternate;
#[cfg(not(loopmon_loom))]
mod handler;
#[cfg(not(loopmon_loom))]
mod mask;
#[cfg(not(loopmon_loom))]
mod program;
#[cfg(not(loopmon_loom))]
mod raw;
#[cfg(not(loopmon_loom))]
mod signal;
#[cfg(not(loopmon_loom))]
mod threads;

#[cfg(all(any(test, loopmon_fuzzing), not(loopmon_loom)))]
pub(super) use handler::Others;
#[cfg(not(loopmon_loom))]
pub(super) use handler::{Question, Registers};
#[cfg(not(loopmon_loom))]
pub(crate) use mask::{block_signals, with_signals};
#[cfg(not(loopmon_loom))]
pub(super) use signal::{LeftQuestion, Signal, Unanswered};
#[cfg(not(loopmon_loom))]
pub(crate) use threads::introduce;

/// Returns the calling thread's id in its own pid namespace, by which a signal is sent to it.
#[cfg(not(loopmon_loom))]
pub(crate) fn own_id() -> Option<u32> {
    Some(raw::own_id())
}

/// Returns where the calling thread has its thread-local variables. `None` if those of Tokio are elsewhere, as in
/// a library.
#[cfg(not(loopmon_loom))]
pub(super) fn thread_locals() -> Option<std::ops::Range<u64>> {
    let block = program::thread_locals();
    block.filter(|_| handler::is_in_main_program())
}
