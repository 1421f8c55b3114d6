//! Where the watches of one monitor publish: that of its runtime, and that of its instrumented futures. What
//! they publish: `reporter.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::broadcast::{Publisher, Subscription};
use crate::stall::Stall;

/// A channel of stalls. It is closed when the last watch that publishes there has ended.
#[derive(Debug)]
pub(crate) struct Outlet {
    publisher: Publisher<Stall>,
    watches: AtomicUsize,
    /// Whether a test of the user's reads it. Then each report waits for its stack, though others may overtake it,
    /// and the channel stays open for the last of them. And no thread is taken for a worker's that may be another
    /// runtime's.
    pub(super) is_for_test: bool,
}

impl Outlet {
    pub(crate) fn new(capacity: usize, is_for_test: bool) -> Outlet {
        Outlet {
            publisher: Publisher::new(capacity),
            watches: AtomicUsize::new(0),
            is_for_test,
        }
    }

    pub(crate) fn subscribe(&self) -> Subscription<Stall> {
        self.publisher.subscribe()
    }

    /// A closed channel has no reader.
    pub(super) fn publish(&self, stall: Stall) {
        self.publisher.publish(stall).ok();
    }

    /// A watch begins to publish here.
    pub(super) fn begin_watch(&self) {
        self.watches.fetch_add(1, Ordering::Relaxed);
    }

    /// A watch could not begin.
    pub(super) fn withdraw_watch(&self) {
        self.watches.fetch_sub(1, Ordering::Relaxed);
    }

    /// A watch has published all it will.
    pub(super) fn end_watch(&self) {
        if self.watches.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.publisher.close();
        }
    }

    /// Closes the channel, unless a watch still publishes there, which does that when it ends.
    pub(crate) fn close_if_unwatched(&self) {
        if self.watches.load(Ordering::Acquire) == 0 {
            self.publisher.close();
        }
    }
}
