//! One reader's stream of stalls, and the watch that all streams of a channel share. The channel itself:
//! `stall_channel.rs`.

use std::io;
use std::mem;
use std::sync::Arc;

use tokio_stream::StreamExt;

use crate::broadcast::{Item, Publisher, Subscription, stream_of_subscription};
use crate::foreign;
use crate::stall::Stall;
use crate::sync::Lock;
use crate::watchdog::Watch;

/// One reader's stream of stalls, from [`Monitor::stalls`](crate::Monitor::stalls).
///
/// It is a stream of the same kind as [`Samples`](crate::Samples): it can be read on any thread, on
/// any runtime, or on none. A slow reader loses its oldest reports and learns how many, from
/// [`missed`](Stall::missed). Read it on another runtime than the monitored one, or on a thread
/// without any: a task of the stuck runtime sees the stall only when it is over.
///
/// It ends when the monitor stops or its runtime shuts down. The end of a stall that goes on at that moment
/// is not reported.
///
/// # Dropping
///
/// Stalls are detected as long as somebody wants them. When all streams of a monitor are dropped, and it
/// has no stall callback, the watchdog stops watching the runtime.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Stalls {
    subscription: Subscription<Stall>,
    _watch: Arc<SharedWatch>,
}

stream_of_subscription!(Stalls, Stall);

impl Stalls {
    pub(super) fn new(subscription: Subscription<Stall>, watch: Arc<SharedWatch>) -> Stalls {
        Stalls {
            subscription,
            _watch: watch,
        }
    }

    /// Returns the next report, or `None` when the monitor has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call has taken no report.
    pub async fn next(&mut self) -> Option<Stall> {
        StreamExt::next(self).await
    }

    /// Returns how many reports this reader has lost so far, in all.
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

/// The watch that the streams of one channel share. It ends with the last of them, or when the monitor is
/// detached.
#[derive(Debug, Default)]
pub(super) struct SharedWatch(Lock<Stage>);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Unwatched,
    /// Somebody starts the watch, without the lock: that spawns tasks.
    Starting,
    Watched(Watch),
    /// The monitor has been detached.
    Ended,
}

impl SharedWatch {
    pub(super) fn has_ended(&self) -> bool {
        self.0.with(|stage| matches!(stage, Stage::Ended))
    }

    /// Starts a watch, if there is none. If the channel ends meanwhile, so does the watch.
    pub(super) fn ensure_started(
        &self,
        publisher: &Arc<Publisher<Stall>>,
        start: impl FnOnce(Arc<Publisher<Stall>>) -> io::Result<Watch>,
    ) -> io::Result<()> {
        let starts = self.0.with(|stage| {
            let starts = matches!(stage, Stage::Unwatched);
            if starts {
                *stage = Stage::Starting;
            }
            starts
        });
        if !starts {
            return Ok(());
        }
        // Spawning runs the runtime's hooks, which may panic.
        let started = foreign::call(|| start(Arc::clone(publisher)));
        let (mut watch, result) = match started {
            Ok(Ok(watch)) => (Some(watch), Ok(Ok(()))),
            Ok(Err(refused)) => (None, Ok(Err(refused))),
            Err(panic) => (None, Err(panic)),
        };
        let has_ended = self.0.with(|stage| {
            let has_ended = matches!(stage, Stage::Ended);
            if !has_ended {
                *stage = watch.take().map_or(Stage::Unwatched, Stage::Watched);
            }
            has_ended
        });
        if has_ended && watch.is_none() {
            publisher.close();
        }
        // If the watch is still here, this closes the channel.
        drop(watch);
        result.unwrap_or_else(|panic| panic.resume())
    }

    /// Ends the streams. If there is a watch, the watchdog looks a last time before.
    pub(super) fn end(&self, publisher: &Publisher<Stall>) {
        let before = self.0.with(|stage| mem::replace(stage, Stage::Ended));
        match before {
            Stage::Watched(watch) => drop(watch),
            Stage::Unwatched | Stage::Ended => publisher.close(),
            // Whoever starts the watch ends it.
            Stage::Starting => {}
        }
    }
}
