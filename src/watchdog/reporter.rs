//! The thread that publishes what the watchdog has found.
//!
//! To publish is to take the lock of a channel and to run its readers' wakers. The watchdog does
//! neither: it drops a report into a queue, or counts it as lost when the queue is full.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use crate::broadcast::Publisher;
use crate::stall::Stall;

/// How many reports may wait to be published.
const LONGEST_QUEUE: usize = 1_024;

/// The way to the thread, which ends when this is dropped and all is published.
#[derive(Debug)]
pub(super) struct Reports(SyncSender<Report>);

#[derive(Debug)]
enum Report {
    Stall(Publisher<Stall>, Stall),
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
            .spawn(move || {
                for report in reports {
                    publish(report);
                }
            })?;
        Ok(Reports(sender))
    }

    pub(super) fn tell(&self, publisher: &Publisher<Stall>, stall: Stall) -> Result<(), Lost> {
        let report = Report::Stall(publisher.clone(), stall);
        self.0.try_send(report).map_err(|_| Lost)
    }

    /// Closes the channel after what has been told on it.
    pub(super) fn end(&self, publisher: &Publisher<Stall>) {
        if self.0.try_send(Report::End(publisher.clone())).is_err() {
            publisher.close();
        }
    }
}

fn publish(report: Report) {
    // A waker is the reader's own code. Its panic has been reported by the panic hook.
    catch_unwind(AssertUnwindSafe(|| match report {
        // If it is closed, nobody is left to be told.
        Report::Stall(publisher, stall) => publisher.publish(stall).ok(),
        Report::End(publisher) => {
            publisher.close();
            None
        }
    }))
    .ok();
}
