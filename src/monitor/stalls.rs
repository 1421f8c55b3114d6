//! One reader's stream of stalls, and the watch that all streams of a channel share. The channel itself:
//! `stall_channel.rs`.

use std::io;
use std::mem;
use std::sync::Arc;

use tokio_stream::StreamExt;

use crate::broadcast::{Item, Subscription, stream_of_subscription};
use crate::foreign;
use crate::stall::Stall;
use crate::sync::Lock;
use crate::watchdog::{Outlet, Watch};

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

    /// Returns the next report, or `None` when the monitor has ended. Does not wait.
    #[cfg(feature = "testing")]
    pub(crate) fn try_next(&mut self) -> std::task::Poll<Option<Stall>> {
        self.subscription.try_next()
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

/// The watches that the streams of one channel share. They end with the last of them, or when the monitor is
/// detached.
#[derive(Debug, Default)]
pub(super) struct SharedWatch(Lock<Watches>);

#[derive(Debug, Default)]
struct Watches {
    runtime: Stage,
    futures: Stage,
    /// Whether the monitor has been detached.
    has_ended: bool,
}

/// What is watched.
#[derive(Debug, Clone, Copy)]
pub(super) enum WatchKind {
    Runtime,
    Futures,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Unwatched,
    /// Somebody starts the watch, without the lock: that spawns tasks.
    Starting,
    Watched(Watch),
}

impl Watches {
    fn stage(&mut self, kind: WatchKind) -> &mut Stage {
        match kind {
            WatchKind::Runtime => &mut self.runtime,
            WatchKind::Futures => &mut self.futures,
        }
    }

    fn is_starting(&self) -> bool {
        let is_starting = |stage: &Stage| matches!(stage, Stage::Starting);
        is_starting(&self.runtime) || is_starting(&self.futures)
    }
}

impl SharedWatch {
    pub(super) fn has_ended(&self) -> bool {
        self.0.with(|watches| watches.has_ended)
    }

    /// Starts a watch, if there is none of this kind. If the channel ends meanwhile, so does the watch.
    pub(super) fn ensure_started(
        &self,
        kind: WatchKind,
        outlet: &Arc<Outlet>,
        start: impl FnOnce(Arc<Outlet>) -> io::Result<Watch>,
    ) -> io::Result<()> {
        let starts = self.0.with(|watches| {
            let starts = matches!(watches.stage(kind), Stage::Unwatched) && !watches.has_ended;
            if starts {
                *watches.stage(kind) = Stage::Starting;
            }
            starts
        });
        if !starts {
            return Ok(());
        }
        // Spawning runs the runtime's hooks, which may panic.
        let started = foreign::call(|| start(Arc::clone(outlet)));
        let (mut watch, result) = match started {
            Ok(Ok(watch)) => (Some(watch), Ok(Ok(()))),
            Ok(Err(refused)) => (None, Ok(Err(refused))),
            Err(panic) => (None, Err(panic)),
        };
        let closes = self.0.with(|watches| {
            let keeps = !watches.has_ended;
            *watches.stage(kind) = match watch.take_if(|_| keeps) {
                Some(watch) => Stage::Watched(watch),
                None => Stage::Unwatched,
            };
            watches.has_ended && !watches.is_starting()
        });
        // If the watch is still here, the channel ends with it.
        let had_watch = watch.take().is_some();
        if closes && !had_watch {
            outlet.close_if_unwatched();
        }
        result.unwrap_or_else(|panic| panic.resume())
    }

    /// Ends the streams. If there is a watch, the watchdog looks a last time before.
    pub(super) fn end(&self, outlet: &Outlet) {
        let (watched, is_starting) = self.0.with(|watches| {
            watches.has_ended = true;
            let mut take = |kind| match mem::take(watches.stage(kind)) {
                Stage::Watched(watch) => Some(watch),
                stage => {
                    *watches.stage(kind) = stage;
                    None
                }
            };
            let watched = [take(WatchKind::Runtime), take(WatchKind::Futures)];
            (watched, watches.is_starting())
        });
        drop(watched);
        // Whoever starts a watch ends it.
        if !is_starting {
            outlet.close_if_unwatched();
        }
    }
}
