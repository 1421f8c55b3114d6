//! The thread that publishes what the watchdog has found.
//!
//! To publish is to take the lock of a channel and to run its readers' wakers. The watchdog does
//! neither: it drops a report into a queue, or counts it as lost when the queue is full.

//!
//! It is also the one who reads stacks: that takes time, and locks that a stuck thread may hold.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use crate::broadcast::Publisher;
use crate::stack::{Resolver, Shot, Trace};
use crate::stall::Stall;

/// How many reports may wait to be published.
const LONGEST_QUEUE: usize = 1_024;

/// For how long without a stall what was read of the program is kept for the next one.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The way to the thread, which ends when this is dropped and all is published.
#[derive(Debug)]
pub(super) struct Reports(SyncSender<Report>);

#[derive(Debug)]
enum Report {
    Stall(Publisher<Stall>, Box<Stall>, Option<Arc<Shot>>),
    End(Publisher<Stall>),
}

/// Nothing has been told.
#[derive(Debug)]
pub(super) struct Lost;

impl Reports {
    pub(super) fn start() -> io::Result<Reports> {
        let (sender, reports) = mpsc::sync_channel(LONGEST_QUEUE);
        thread::Builder::new()
            .name("loopmon-reporter".to_owned())
            .spawn(move || serve(&reports))?;
        Ok(Reports(sender))
    }

    /// With the stack of the thread, if it was captured.
    pub(super) fn tell(
        &self,
        publisher: &Publisher<Stall>,
        stall: Stall,
        shot: Option<Arc<Shot>>,
    ) -> Result<(), Lost> {
        let report = Report::Stall(publisher.clone(), Box::new(stall), shot);
        self.0.try_send(report).map_err(|_| Lost)
    }

    /// Closes the channel after what has been told on it.
    pub(super) fn end(&self, publisher: &Publisher<Stall>) {
        if self.0.try_send(Report::End(publisher.clone())).is_err() {
            publisher.close();
        }
    }
}

fn serve(reports: &Receiver<Report>) {
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
        match report {
            Some(report) => publish(report, &mut resolver),
            None => break,
        }
    }
    resolver.release();
}

fn publish(report: Report, resolver: &mut Resolver) {
    // A waker is the reader's own code. Its panic has been reported by the panic hook.
    catch_unwind(AssertUnwindSafe(|| match report {
        // If it is closed, nobody is left to be told.
        Report::Stall(publisher, mut stall, shot) => {
            stall.trace = shot.and_then(|shot| trace(&shot, resolver));
            publisher.publish(*stall).ok()
        }
        Report::End(publisher) => {
            publisher.close();
            None
        }
    }))
    .ok();
}

/// What reads debug information may stumble over it; the stall is told in any case.
fn trace(shot: &Shot, resolver: &mut Resolver) -> Option<Arc<Trace>> {
    catch_unwind(AssertUnwindSafe(|| shot.trace(resolver))).ok()?
}
