//! The reports that wait for their stacks to be read: pure reckoning.
//!
//! A report waits until its stack is read, until there is news of the same worker, until the watch
//! ends, or for [`LONGEST_WAIT`]; whatever comes first. So the reports of a worker keep their order,
//! no more than one of them waits, and nobody else's waits for it.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broadcast::Publisher;
use crate::stack::Shot;
use crate::stall::Stall;

/// Time enough to read the debug information of a large program on a crowded machine. It is felt where
/// nothing else comes sooner: at the end of a stall, and with a threshold that is longer. Without it, a
/// stuck thread that holds a lock which reading takes would go untold.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The channel is shared, not cloned: to clone it, or to drop the last of it, is to take its lock.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) publisher: Arc<Publisher<Stall>>,
    pub(super) stall: Box<Stall>,
    pub(super) shot: Option<Arc<Shot>>,
}

#[derive(Debug, Default)]
pub(super) struct Held(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    report: Report,
    until: Instant,
}

impl Held {
    /// Returns what is to be told now, in this order.
    pub(super) fn arrive(&mut self, report: Report, now: Instant) -> Vec<Report> {
        let is_of_same_worker = |waiting: &Waiting| {
            Arc::ptr_eq(&waiting.report.publisher, &report.publisher)
                && waiting.report.stall.worker == report.stall.worker
        };
        let mut due = self.take(is_of_same_worker);
        if report.is_complete() {
            due.push(report);
        } else {
            let until = now + LONGEST_WAIT;
            self.0.push(Waiting { report, until });
        }
        due
    }

    /// What is to be told before the channel is closed.
    pub(super) fn end(&mut self, publisher: &Arc<Publisher<Stall>>) -> Vec<Report> {
        self.take(|waiting| Arc::ptr_eq(&waiting.report.publisher, publisher))
    }

    /// What has waited long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Report> {
        self.take(|waiting| waiting.report.is_complete() || waiting.until <= now)
    }

    /// When something will have waited long enough, if no stack is read before.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.0.iter().map(|waiting| waiting.until).min()
    }

    fn take(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<Report> {
        let (taken, left): (Vec<_>, _) = mem::take(&mut self.0).into_iter().partition(which);
        self.0 = left;
        taken.into_iter().map(|waiting| waiting.report).collect()
    }
}

impl Report {
    /// There is nothing to wait for.
    fn is_complete(&self) -> bool {
        self.shot.as_ref().is_none_or(|shot| shot.is_read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::stack::{Trace, Unread};
    use crate::stall::Phase;

    const MOMENT: Duration = Duration::from_millis(1);

    fn channel() -> Arc<Publisher<Stall>> {
        Arc::new(Publisher::new(1))
    }

    fn report(
        publisher: &Arc<Publisher<Stall>>,
        worker: usize,
        phase: Phase,
        shot: Option<&Arc<Shot>>,
    ) -> Report {
        Report {
            publisher: Arc::clone(publisher),
            stall: Box::new(Stall::of(worker, phase)),
            shot: shot.cloned(),
        }
    }

    /// Worker, phase and trace of each.
    fn told(reports: Vec<Report>) -> Vec<(usize, Phase, Option<Arc<Trace>>)> {
        let told = reports.into_iter().map(|report| {
            let trace = report.shot.and_then(|shot| shot.trace());
            (report.stall.worker, report.stall.phase, trace)
        });
        told.collect()
    }

    #[test]
    fn what_has_no_stack_or_a_known_one_is_told_at_once() {
        let (mut held, channel, now) = (Held::default(), channel(), clock::now());
        let bare = held.arrive(report(&channel, 0, Phase::Started, None), now);
        assert_eq!(told(bare), [(0, Phase::Started, None)]);

        let trace = Arc::new(Trace::default());
        let (shot, unread) = Unread::empty();
        unread.come_out(&trace);
        let known = held.arrive(report(&channel, 0, Phase::Ended, Some(&shot)), now);
        assert_eq!(told(known), [(0, Phase::Ended, Some(trace))]);

        // Nothing came of it.
        let (shot, unread) = Unread::empty();
        drop(unread);
        let failed = held.arrive(report(&channel, 0, Phase::Started, Some(&shot)), now);
        assert_eq!(told(failed), [(0, Phase::Started, None)]);
        assert_eq!(held.due_at(), None);
    }

    #[test]
    fn a_report_waits_for_its_stack() {
        let (mut held, channel, now) = (Held::default(), channel(), clock::now());
        let (shot, unread) = Unread::empty();
        let started = report(&channel, 0, Phase::Started, Some(&shot));
        assert!(held.arrive(started, now).is_empty());
        assert!(held.due(now).is_empty());
        assert_eq!(held.due_at(), Some(now + LONGEST_WAIT));

        let trace = Arc::new(Trace::default());
        unread.come_out(&trace);
        let due = held.due(now);
        assert_eq!(told(due), [(0, Phase::Started, Some(trace))]);
        assert!(held.due(now + LONGEST_WAIT).is_empty());
        assert_eq!(held.due_at(), None);
    }

    #[test]
    fn a_report_waits_for_no_longer_than_it_may() {
        let (mut held, channel, now) = (Held::default(), channel(), clock::now());
        let (shots, _unread): (Vec<_>, Vec<_>) = (0..2).map(|_| Unread::empty()).unzip();
        for (worker, shot) in shots.iter().enumerate() {
            let at = now + MOMENT * worker as u32;
            let started = report(&channel, worker, Phase::Started, Some(shot));
            assert!(held.arrive(started, at).is_empty());
        }
        assert_eq!(held.due_at(), Some(now + LONGEST_WAIT));
        let due = held.due(now + LONGEST_WAIT);
        assert_eq!(told(due), [(0, Phase::Started, None)]);
        assert_eq!(held.due_at(), Some(now + LONGEST_WAIT + MOMENT));
    }

    #[test]
    fn news_of_the_same_worker_come_after_what_waits_and_bring_the_stack_later() {
        let (mut held, channel, now) = (Held::default(), channel(), clock::now());
        let (first, _being_read) = Unread::empty();
        let (second, unread) = Unread::empty();
        let started = report(&channel, 0, Phase::Started, Some(&first));
        assert!(held.arrive(started, now).is_empty());
        let ongoing = report(&channel, 0, Phase::Ongoing, Some(&second));
        let due = held.arrive(ongoing, now + MOMENT);
        assert_eq!(told(due), [(0, Phase::Started, None)]);
        // It waits anew, for its own.
        assert_eq!(held.due_at(), Some(now + MOMENT + LONGEST_WAIT));

        let trace = Arc::new(Trace::default());
        unread.come_out(&trace);
        let ended = report(&channel, 0, Phase::Ended, Some(&second));
        let due = held.arrive(ended, now);
        let seen = Some(trace);
        assert_eq!(
            told(due),
            [(0, Phase::Ongoing, seen.clone()), (0, Phase::Ended, seen)]
        );
    }

    #[test]
    fn nobody_waits_for_the_stack_of_another() {
        let (mut held, now) = (Held::default(), clock::now());
        let (here, there) = (channel(), channel());
        let (shot, _being_read) = Unread::empty();
        let started = report(&here, 0, Phase::Started, Some(&shot));
        assert!(held.arrive(started, now).is_empty());
        for (channel, worker) in [(&here, 1), (&there, 0)] {
            let due = held.arrive(report(channel, worker, Phase::Ended, None), now);
            assert_eq!(told(due), [(worker, Phase::Ended, None)]);
        }
        assert!(held.due_at().is_some());
    }

    #[test]
    fn what_waits_is_told_when_its_watch_ends() {
        let (mut held, now) = (Held::default(), clock::now());
        let (here, there) = (channel(), channel());
        let (shot, _being_read) = Unread::empty();
        for (channel, worker) in [(&here, 1), (&there, 1), (&here, 0)] {
            let started = report(channel, worker, Phase::Started, Some(&shot));
            assert!(held.arrive(started, now).is_empty());
        }
        let due = held.end(&here);
        assert_eq!(
            told(due),
            [(1, Phase::Started, None), (0, Phase::Started, None)]
        );
        assert!(held.end(&here).is_empty());
        assert_eq!(told(held.end(&there)), [(1, Phase::Started, None)]);
    }
}
