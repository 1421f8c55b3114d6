//! What a thread sleeps for, and for how long, by what the reports of a stall show.

use std::sync::Arc;
use std::time::Duration;

use crate::stack::StackTrace;
use crate::stall::Stall;
use crate::syscall::Syscall;

/// The call in which a thread waits for a lock of the program's.
const FOR_A_LOCK: &str = "futex";

/// The calls in which a thread waits for the system's lock on the memory of the process, which is held for long only
/// by a thread that computes, or has no CPU.
const FOR_MEMORY: [&str; 7] = [
    "brk", "clone3", "madvise", "mmap", "mprotect", "mremap", "munmap",
];

/// Whether the report has a call in which the thread waits for no other.
pub(super) fn names_another_call(report: &Stall) -> bool {
    let is_another = |name: &str| name != FOR_A_LOCK && !FOR_MEMORY.contains(&name);
    calls(report).any(|call| call.name().is_none_or(is_another))
}

/// Whether a report shows that the thread waits for memory: for the system's, or in the allocator.
pub(super) fn waits_for_memory(reports: &[Stall]) -> bool {
    let mut names = reports.iter().flat_map(calls).filter_map(Syscall::name);
    let mut traces = reports.iter().filter_map(|report| report.trace.as_ref());
    let is_allocating = |trace: &Arc<StackTrace>| ALLOCATOR.iter().any(|name| is_in(trace, name));
    names.any(|name| FOR_MEMORY.contains(&name)) || traces.any(is_allocating)
}

/// What the names of the functions have by which all that Rust compiles calls the program's allocator.
const ALLOCATOR: [&str; 5] = [
    "__rust_alloc",
    "__rust_dealloc",
    "__rust_realloc",
    "__rdl_",
    "__rg_",
];

/// Whether the thread has called the function.
pub(in crate::testing) fn is_in(trace: &StackTrace, callee: &str) -> bool {
    let mut functions = trace.frames().iter().filter_map(|frame| frame.function());
    functions.any(|function| function.contains(callee))
}

/// One sleep of the thread was at least that long, by what the reports say of the times between them.
pub(super) fn longest_sleep(reports: &[Stall]) -> Duration {
    let shares = reports.iter().filter_map(|report| report.measured.share);
    let (mut longest, mut before) = (Duration::ZERO, (Duration::ZERO, Duration::ZERO, 0));
    for share in shares {
        let [passed, on_cpu, waited] =
            [share.passed, share.on_cpu, share.waited].map(Duration::from);
        let slept = passed.saturating_sub(on_cpu).saturating_sub(waited);
        // It may have slept before the first turn and after the last.
        let sleeps = share.turns.saturating_sub(before.2).saturating_add(1);
        let newly_slept = slept.saturating_sub(before.1);
        let newly_slept = newly_slept.min(passed.saturating_sub(before.0));
        longest = longest.max(newly_slept / sleeps);
        before = (passed, slept, share.turns);
    }
    longest
}

fn calls(report: &Stall) -> impl Iterator<Item = Syscall> {
    let of_trace = report.trace.as_ref();
    let of_trace = of_trace.and_then(|trace| trace.thread_state().syscall);
    report.cause.syscall().into_iter().chain(of_trace)
}
