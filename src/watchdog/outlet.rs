//! Where the watches of one monitor publish: that of its runtime, and that of its instrumented futures. What
//! they publish: `reporter.rs`. The account of culprits has each report, whether it has readers or not.

mod open_stalls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::broadcast::{Publisher, Subscription};
use crate::culprits::Recorder;
use crate::stack::StackSnapshot;
use crate::stall::Stall;
use open_stalls::OpenStalls;

/// A channel of stalls. It is closed when the last watch that publishes there has ended.
#[derive(Debug)]
pub(crate) struct Outlet {
    publisher: Publisher<Stall>,
    watches: AtomicUsize,
    account: Recorder,
    open: OpenStalls,
    /// Whether a test of the user's reads it. Then each report waits for its stack, though others may overtake it,
    /// and the channel stays open for the last of them. And no thread is taken for a worker's that may be another
    /// runtime's.
    pub(super) is_for_test: bool,
}

impl Outlet {
    /// Counts in `open` the stalls that have been reported and are not over.
    pub(crate) fn new(capacity: usize, account: Recorder, open: Arc<AtomicUsize>) -> Outlet {
        Outlet {
            publisher: Publisher::new(capacity),
            watches: AtomicUsize::new(0),
            account,
            open: OpenStalls::new(open),
            is_for_test: false,
        }
    }

    pub(crate) fn for_test(mut self) -> Outlet {
        self.is_for_test = true;
        self
    }

    pub(crate) fn subscribe(&self) -> Subscription<Stall> {
        self.publisher.subscribe()
    }

    /// A closed channel has no reader. The account has a stack that is `late` as well.
    pub(super) fn publish(&self, stall: Stall, late: Option<Arc<StackSnapshot>>) {
        self.account.record(&stall, late);
        self.open.update(&stall);
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
            self.account.end();
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
