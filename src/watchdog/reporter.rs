//! The thread that publishes what the watchdog has found.
//!
//! To publish is to take the lock of a channel and to run its readers' wakers. The watchdog does
//! neither: it drops a report into a queue, or counts it as lost when the queue is full.
//!
//! Stacks are read on another thread, as that takes time. A report waits for its own, see `held.rs`.

mod held;

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::broadcast::Publisher;
use crate::clock;
use crate::stack::{Reader, Shot, Unread};
use crate::stall::Stall;
use held::{Held, Report};

/// How many stalls may wait to be published.
const LONGEST_QUEUE: usize = 1_024;

/// For how long after the last stack what was read of the program is kept for the next one.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The way to the thread, which ends when this is dropped and all is published.
#[derive(Debug)]
pub(super) struct Reports {
    way: Sender<News>,
    /// Stalls on their way. The end of a channel is never lost: there is one for each watch.
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum News {
    Stall(Report),
    /// There will be no more on this channel.
    End(Arc<Publisher<Stall>>),
    /// The reader is done with a stack.
    Read,
    /// There will be nothing more at all.
    Over,
}

/// Nothing has been told.
#[derive(Debug)]
pub(super) struct Lost;

impl Reports {
    pub(super) fn start() -> io::Result<Reports> {
        let (way, news) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting);
        let reporter = Reporter {
            way: way.clone(),
            held: Held::default(),
            reading: None,
        };
        thread::Builder::new()
            .name("loopmon-reporter".to_owned())
            .spawn(move || reporter.serve(&news, &taken))?;
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
        let report = Report {
            publisher: Arc::clone(publisher),
            stall: Box::new(stall),
            shot,
        };
        self.way.send(News::Stall(report)).map_err(|_| Lost)
    }

    /// Closes the channel after what has been told on it, and lets go of it.
    pub(super) fn end(&self, publisher: Arc<Publisher<Stall>>) {
        // It fails only if the thread is gone, and with it all that could be told.
        self.way.send(News::End(publisher)).ok();
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.way.send(News::Over).ok();
    }
}

struct Reporter {
    /// To itself, for the reader of stacks.
    way: Sender<News>,
    held: Held,
    reading: Option<Reading>,
}

/// The thread that reads stacks, from the first until [`KEPT_FOR`] after the last.
struct Reading {
    reader: Reader,
    /// How many it has not read yet.
    left: usize,
    rests_since: Instant,
}

impl Reporter {
    fn serve(mut self, news: &Receiver<News>, waiting: &AtomicUsize) {
        loop {
            let next = match self.due_at() {
                None => news.recv().ok(),
                Some(due) => {
                    let wait = due.saturating_duration_since(clock::now());
                    news.recv_timeout(wait).ok()
                }
            };
            let now = clock::now();
            match next {
                Some(News::Stall(report)) => {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                    if let Some(stack) = report.shot.as_ref().and_then(Shot::unread) {
                        self.read(stack, now);
                    }
                    self.held.arrive(report, now).into_iter().for_each(publish);
                }
                Some(News::End(publisher)) => {
                    self.held.end(&publisher).into_iter().for_each(publish);
                    on(publisher, Publisher::close);
                }
                Some(News::Read) => {
                    if let Some(reading) = &mut self.reading {
                        reading.left -= 1;
                        reading.rests_since = now;
                    }
                }
                // All watches have ended, so nothing is held.
                Some(News::Over) => return,
                // It has become late.
                None => {}
            }
            self.held.due(now).into_iter().for_each(publish);
            let end = self.reading.as_ref().and_then(Reading::ends_at);
            if end.is_some_and(|end| end <= now) {
                self.reading = None;
            }
        }
    }

    /// When there will be something to do if there is no news.
    fn due_at(&self) -> Option<Instant> {
        let end = self.reading.as_ref().and_then(Reading::ends_at);
        end.into_iter().chain(self.held.due_at()).min()
    }

    fn read(&mut self, stack: Unread, now: Instant) {
        if self.reading.is_none() {
            let way = self.way.clone();
            let reader = Reader::start(move || {
                way.send(News::Read).ok();
            });
            // If the system refuses the thread, the stack counts as read, to nothing.
            self.reading = reader.ok().map(|reader| Reading {
                reader,
                left: 0,
                rests_since: now,
            });
        }
        if let Some(reading) = &mut self.reading {
            reading.left += 1;
            reading.reader.read(stack);
        }
    }
}

impl Reading {
    /// When it is to let go of what it has read of the program. Not while it reads: it may be stuck,
    /// and so would be another.
    fn ends_at(&self) -> Option<Instant> {
        (self.left == 0).then(|| self.rests_since + KEPT_FOR)
    }
}

fn publish(report: Report) {
    let Report {
        publisher,
        mut stall,
        shot,
    } = report;
    stall.trace = shot.and_then(|shot| shot.trace());
    // If it is closed, nobody is left to be told.
    on(publisher, |publisher| {
        publisher.publish(*stall).ok();
    });
}

/// A waker is the reader's own code. Its panic has been reported by the panic hook.
fn on(publisher: Arc<Publisher<Stall>>, act: impl FnOnce(&Publisher<Stall>)) {
    if catch_unwind(AssertUnwindSafe(|| act(&publisher))).is_err() {
        // The lock of the channel is poisoned, so to drop the last of it would panic.
        mem::forget(publisher);
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on_stream;

    use super::*;
    use crate::stall::Phase;

    #[test]
    fn all_is_told_whatever_becomes_of_the_stacks() {
        let publisher = Arc::new(Publisher::new(10));
        let told = block_on_stream(publisher.subscribe());
        let reports = Reports::start().unwrap();
        let (first, _being_read) = Unread::empty();
        let (second, _being_read_too) = Unread::empty();
        for (worker, phase, shot) in [
            (0, Phase::Started, Some(first)),
            (1, Phase::Ended, None),
            (0, Phase::Ongoing, Some(second)),
        ] {
            reports
                .tell(&publisher, Stall::of(worker, phase), shot)
                .unwrap();
        }
        reports.end(publisher);
        let told: Vec<_> = told.map(|stall| (stall.worker, stall.phase)).collect();
        assert_eq!(
            told,
            [(1, Phase::Ended), (0, Phase::Started), (0, Phase::Ongoing)]
        );
    }
}
