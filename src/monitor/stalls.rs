//! One reader's stream of stalls.

use std::sync::Arc;

use tokio_stream::StreamExt;

use super::stall_channel::SharedWatch;
use crate::broadcast::{Item, Subscription, stream_of_subscription};
use crate::stall::Stall;

/// One reader's stream of stalls, from [`Monitor::stalls`](crate::Monitor::stalls).
///
/// It is a stream of the same kind as [`Samples`](crate::Samples): it can be read on any thread, on
/// any runtime, or on none; a slow reader loses its oldest reports and is told how many, in
/// [`missed`](Stall::missed). Read it on another runtime than the monitored one, or on a thread
/// without any: a task of the stuck runtime reads of the stall when it is over.
///
/// It ends when the monitor stops or its runtime shuts down. A stall that goes on at that moment is
/// not told to end.
///
/// # Dropping
///
/// Stalls are looked for as long as somebody wants to know of them: when all streams of a monitor
/// are dropped, and it has no stall callback, the watchdog lets go of the runtime.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Stalls {
    subscription: Subscription<Stall>,
    _interest: Arc<SharedWatch>,
}

stream_of_subscription!(Stalls, Stall);

impl Stalls {
    pub(super) fn new(subscription: Subscription<Stall>, watch: Arc<SharedWatch>) -> Stalls {
        Stalls {
            subscription,
            _interest: watch,
        }
    }

    /// The next report, or `None` when the monitor has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call has taken no report.
    pub async fn next(&mut self) -> Option<Stall> {
        StreamExt::next(self).await
    }

    /// How many reports this reader has lost so far, in all.
    ///
    /// The reader learns of a loss when it reads the next report.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.subscription.missed()
    }
}

impl Item for Stall {
    fn missed_mut(&mut self) -> &mut u64 {
        &mut self.missed
    }
}
