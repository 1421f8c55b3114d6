//! One runtime under watch, as the watchdog sees it: its counters, and when to look at them next.

use std::sync::Arc;
use std::time::Duration;

use super::detector::{Driven, Observation};
use super::inspector::Order;
use super::mailboxes::Mailboxes;
use super::reporter::News;
use super::subject::Subject;
use super::worker_watch::WorkerWatch;
use crate::runtime::WorkerCounters;

/// How often all workers are asked to meet, if some do not come, and how soon again; each time it
/// takes twice as long. A runtime that has just been built may not have started them all.
const MOST_MEETINGS: u32 = 8;
const MEETING_INTERVAL: Duration = Duration::from_millis(5);

/// How often the threads of a runtime are counted whose workers stay on theirs.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// All memory that it takes is there before the watchdog sees it.
#[derive(Debug)]
pub(super) struct RuntimeWatch {
    subject: Arc<Subject>,
    seats: Vec<WorkerWatch>,
    /// It has been looked at.
    has_begun: bool,
    /// How many worker_threads there had been at the last look.
    seen: u32,
    load: Load,
    meetings: u32,
    met_at: Duration,
    /// When the threads were counted last.
    counted_at: Duration,
    /// Reports lost since the last that was told.
    lost_reports: u64,
}

/// What a look has shown of the runtime as a whole.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    suspected: bool,
    newly_still: bool,
    parked: bool,
}

/// When a look is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// Credited time.
    pub(super) now: Duration,
    /// How much time has passed that was not credited.
    pub(super) lost: Duration,
}

impl RuntimeWatch {
    pub(super) fn new(subject: Arc<Subject>) -> RuntimeWatch {
        let driven = if subject.has_many_workers {
            Driven::Always
        } else {
            Driven::Continuous
        };
        let seats = (0..subject.workers())
            .map(|index| WorkerWatch::new(index, driven, &subject))
            .collect();
        RuntimeWatch {
            seats,
            has_begun: false,
            seen: 0,
            load: Load::default(),
            meetings: 0,
            met_at: Duration::ZERO,
            counted_at: Duration::ZERO,
            lost_reports: 0,
            subject,
        }
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Looks at all workers, and hands on what is found. Returns when to look next.
    pub(super) fn look(&mut self, at: At, mailboxes: &Mailboxes) -> Duration {
        if !self.has_begun {
            self.begin(at);
        }
        let shown = self.look_at_all(at, mailboxes);
        // Being polled shows progress. But the probe wakes no worker that is parked, unless that is
        // wanted: that one then looks after what the one that stands still does not.
        let shows = shown.suspected && !shown.parked;
        let rescues = shown.newly_still && shown.parked && self.subject.rescue_timers;
        if shows || rescues {
            mailboxes.inspect(Order::Wake(Arc::clone(&self.subject)));
        }
        self.meet_the_unknown(at, mailboxes);
        self.count_threads(at, mailboxes);
        self.due_after(at.now)
    }

    fn begin(&mut self, at: At) {
        self.has_begun = true;
        self.met_at = at.now;
        for (index, seat) in self.seats.iter_mut().enumerate() {
            seat.begin(look(at, self.subject.counters(index), false));
        }
    }

    fn look_at_all(&mut self, at: At, mailboxes: &Mailboxes) -> Shown {
        let subject = &self.subject;
        let total = subject.worker_threads().total();
        let is_news = std::mem::replace(&mut self.seen, total) != total;
        let is_alone = self.seats.len() == 1;
        let mut shown = Shown::default();
        for (index, seat) in self.seats.iter_mut().enumerate() {
            let counters = subject.counters(index);
            let mut progress = is_alone && self.load.has_shrunk(subject, counters);
            if is_news {
                progress |= seat.has_been_met(subject);
                if subject.is_on_outsider(index) {
                    seat.worker().may_be_left();
                }
            }
            let look = look(at, counters, progress);
            shown.suspected |= seat.look(look, subject, mailboxes, &mut self.lost_reports);
            shown.newly_still |= seat.newly_still();
            shown.parked |= seat.is_parked();
        }
        shown
    }

    fn meet_the_unknown(&mut self, at: At, mailboxes: &Mailboxes) {
        let is_known = |index| self.subject.worker_threads().number(index).is_some();
        if self.meetings < MOST_MEETINGS
            && self.seats.len() > 1
            && at.now.saturating_sub(self.met_at) >= MEETING_INTERVAL * 2_u32.pow(self.meetings)
            && !(0..self.seats.len()).all(is_known)
        {
            self.met_at = at.now;
            self.meetings += 1;
            mailboxes.inspect(Order::Meet(Arc::clone(&self.subject)));
        }
    }

    /// The inspector has to know what the threads did before a stall: lately, where workers change them.
    fn count_threads(&mut self, at: At, mailboxes: &Mailboxes) {
        if !self.subject.has_many_workers {
            return;
        }
        let interval = if self.subject.worker_threads().have_moved() {
            self.subject.threshold / 2
        } else {
            COUNT_INTERVAL
        };
        if at.now.saturating_sub(self.counted_at) >= interval {
            self.counted_at = at.now;
            mailboxes.inspect(Order::Census(Arc::clone(&self.subject)));
        }
    }

    fn due_after(&self, now: Duration) -> Duration {
        let tick = self.subject.tick();
        let due = self.seats.iter().filter_map(WorkerWatch::due_at).min();
        due.map_or(now + tick, |due| due.clamp(now, now + tick))
    }

    /// Closes the channel, and hands all of it to where it is let go of.
    pub(super) fn end(self: Box<Self>, mailboxes: &Mailboxes) {
        mailboxes.report_end(News::End(Arc::clone(&self.subject.publisher)));
        mailboxes.inspect_end(Order::Dispose(self));
    }
}

fn look(at: At, counters: WorkerCounters, progress: bool) -> Observation {
    Observation {
        now: at.now,
        lost: at.lost,
        counters,
        progress,
    }
}

/// What a runtime with one worker has to do. Only that worker can make it less.
#[derive(Debug, Default)]
struct Load {
    tasks: usize,
    queued: usize,
}

impl Load {
    /// Since the last time; not while the worker is parked.
    fn has_shrunk(&mut self, subject: &Subject, counters: WorkerCounters) -> bool {
        if counters.is_parked() {
            *self = Load::default();
            return false;
        }
        let (tasks, queued) = subject.load();
        let shrunk = tasks < self.tasks || queued < self.queued;
        *self = Load { tasks, queued };
        shrunk
    }
}
