//! The thread that publishes what the watchdog has found.
//!
//! To publish is to take the lock of a channel and to run its readers' wakers. The watchdog does
//! neither: it drops a report into a queue, or counts it as lost when the queue is full.
//!
//! It is also the one who reads stacks: that takes time, and locks that a stuck thread may hold.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::broadcast::Publisher;
use crate::stack::{Resolver, Shot, Trace};
use crate::stall::Stall;

/// How many stalls may wait to be published.
const LONGEST_QUEUE: usize = 1_024;

/// For how long without a stall what was read of the program is kept for the next one.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The way to the thread, which ends when this is dropped and all is published.
#[derive(Debug)]
pub(super) struct Reports {
    way: Sender<Report>,
    /// Stalls on their way. The end of a channel is never lost: there is one for each watch.
    waiting: Arc<AtomicUsize>,
}

/// The channel is shared, not cloned: to clone it, or to drop the last of it, is to take its lock.
#[derive(Debug)]
enum Report {
    Stall(Arc<Publisher<Stall>>, Box<Stall>, Option<Arc<Shot>>),
    End(Arc<Publisher<Stall>>),
}

/// Nothing has been told.
#[derive(Debug)]
pub(super) struct Lost;

impl Reports {
    pub(super) fn start() -> io::Result<Reports> {
        let (way, reports) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting);
        thread::Builder::new()
            .name("loopmon-reporter".to_owned())
            .spawn(move || serve(&reports, &taken))?;
        Ok(Reports { way, waiting })
    }

    /// With the stack of the thread, if it was captured.
    pub(super) fn tell(
        &self,
        publisher: &Arc<Publisher<Stall>>,
        stall: Stall,
        shot: Option<Arc<Shot>>,
    ) -> Result<(), Lost> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= LONGEST_QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Lost);
        }
        let report = Report::Stall(Arc::clone(publisher), Box::new(stall), shot);
        self.way.send(report).map_err(|_| Lost)
    }

    /// Closes the channel after what has been told on it, and lets go of it.
    pub(super) fn end(&self, publisher: Arc<Publisher<Stall>>) {
        // It fails only if the thread is gone, and with it all that could be told.
        self.way.send(Report::End(publisher)).ok();
    }
}

fn serve(reports: &Receiver<Report>, waiting: &AtomicUsize) {
    let mut resolver = Resolver::default();
    loop {
        let report = if resolver.holds() {
            match reports.recv_timeout(KEPT_FOR) {
                Ok(report) => Some(report),
                Err(RecvTimeoutError::Timeout) => {
                    resolver.release();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => None,
            }
        } else {
            reports.recv().ok()
        };
        let Some(report) = report else {
            break;
        };
        if matches!(report, Report::Stall(..)) {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
        publish(report, &mut resolver);
    }
    resolver.release();
}

fn publish(mut report: Report, resolver: &mut Resolver) {
    // A waker is the reader's own code. Its panic has been reported by the panic hook.
    let published = catch_unwind(AssertUnwindSafe(|| match &mut report {
        Report::Stall(publisher, stall, shot) => {
            stall.trace = shot.take().and_then(|shot| trace(&shot, resolver));
            // If it is closed, nobody is left to be told.
            publisher.publish(Stall::clone(stall)).ok();
        }
        Report::End(publisher) => publisher.close(),
    }));
    if published.is_err() {
        // The lock of the channel is poisoned, so to drop the last of it would panic.
        mem::forget(report);
    }
}

/// What reads debug information may stumble over it; the stall is told in any case.
fn trace(shot: &Shot, resolver: &mut Resolver) -> Option<Arc<Trace>> {
    catch_unwind(AssertUnwindSafe(|| shot.trace(resolver))).ok()?
}
