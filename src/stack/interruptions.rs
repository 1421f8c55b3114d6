//! How often loopmon has woken a blocked thread to ask it: the signal ends the thread's sleep, and the thread then
//! sleeps on. For whoever counts how often a thread sleeps.

use std::sync::atomic::{AtomicUsize, Ordering};

const COUNTS: usize = 256;

/// Threads whose ids have the same remainder share a count.
static INTERRUPTIONS: [AtomicUsize; COUNTS] = [const { AtomicUsize::new(0) }; COUNTS];

fn of(thread: u32) -> &'static AtomicUsize {
    &INTERRUPTIONS[thread as usize % COUNTS]
}

/// A thread that was blocked has answered.
#[allow(dead_code, reason = "where no stacks are taken, nobody is asked")]
pub(super) fn add(thread: u32) {
    of(thread).fetch_add(1, Ordering::Relaxed);
}

/// Returns the count so far. Only the difference to a later one says something.
pub(crate) fn interruptions(thread: u32) -> usize {
    of(thread).load(Ordering::Relaxed)
}
