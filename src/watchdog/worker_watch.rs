//! One worker of a watched runtime, as the watchdog sees it: what its counters show, and which stall of
//! it goes on.

use std::sync::Arc;
use std::time::Duration;

use super::detector::{Detector, Driven, Observation, Transition};
use super::inspector::{Asked, Order, Stamp};
use super::mailboxes::Mailboxes;
use super::queue::Full;
use super::reporter::{News, Report};
use super::subject::Subject;
use crate::clock;
use crate::runtime::WorkerCounters;
use crate::stall::{Cause, Phase, Place, Stall, StallId};

/// On a crowded machine the inspector may wait for a CPU for that long.
const SHORTEST_ANSWER: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct WorkerWatch {
    index: usize,
    worker: Detector,
    /// How often it had been met at the last look.
    met: u32,
    /// It stood still at the last look.
    was_still: bool,
    /// The suspicion or the stall that the inspector follows.
    case: Option<StallId>,
    /// The stall that goes on, as it was told last.
    open: Option<Stall>,
    /// How many reports of this worker have been given out.
    reports: u32,
}

impl WorkerWatch {
    /// The first look counts for nothing but the counters.
    pub(super) fn new(index: usize, driven: Driven, subject: &Subject) -> WorkerWatch {
        let first = Observation {
            now: Duration::ZERO,
            lost: Duration::ZERO,
            counters: subject.counters(index),
            progress: subject.inside == Some(index),
        };
        WorkerWatch {
            index,
            worker: Detector::new(subject.threshold, driven, first),
            met: subject.worker_threads().count(index),
            was_still: false,
            case: None,
            open: None,
            reports: 0,
        }
    }

    pub(super) fn begin(&mut self, look: Observation) {
        self.worker.begin(look);
    }

    pub(super) fn worker(&mut self) -> &mut Detector {
        &mut self.worker
    }

    /// Whether it has been met since this was asked last.
    pub(super) fn has_been_met(&mut self, subject: &Subject) -> bool {
        let met = subject.worker_threads().count(self.index);
        std::mem::replace(&mut self.met, met) != met
    }

    pub(super) fn is_parked(&self) -> bool {
        self.worker.is_parked()
    }

    /// When, by credited time, there will be something to find if it does not move.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.worker.due_at()
    }

    /// It stands still, and did not when this was asked before.
    pub(super) fn newly_still(&mut self) -> bool {
        let still = self.worker.is_still();
        let before = std::mem::replace(&mut self.was_still, still);
        still && !before
    }

    /// Looks at it, and hands on what there is to be done. Returns whether it is newly suspected.
    pub(super) fn look(
        &mut self,
        look: Observation,
        subject: &Arc<Subject>,
        mailboxes: &Mailboxes,
        lost: &mut u64,
    ) -> bool {
        if subject.take_left(self.index) && self.open.is_none() && self.worker.is_left(look) {
            self.clear(mailboxes);
            return false;
        }
        let began = self.worker.since();
        let frozen = self.worker.counters();
        match self.worker.look(look) {
            Transition::Nothing => {
                if !self.worker.is_suspected() {
                    self.clear(mailboxes);
                }
                false
            }
            Transition::Suspected => {
                self.suspect(frozen, look, subject, mailboxes);
                true
            }
            Transition::Stall {
                phase,
                lasted,
                cause,
            } => {
                let stall = self.stall(phase, lasted, cause, subject);
                let due = Asked {
                    number: self.reports,
                    lasted,
                    shown: cause,
                    at: Stamp::new(look.now),
                };
                // The answer may come at once, so the report has to be there before it is asked for.
                let id = stall.id;
                self.report(stall, subject, mailboxes, lost);
                self.ask(id, phase, due, began, mailboxes);
                false
            }
        }
    }

    fn suspect(
        &mut self,
        frozen: WorkerCounters,
        look: Observation,
        subject: &Arc<Subject>,
        mailboxes: &Mailboxes,
    ) {
        let id = StallId::next();
        let order = Order::Suspect {
            id,
            subject: Arc::clone(subject),
            worker: self.index,
            frozen,
            at: Stamp::new(look.now),
        };
        self.case = mailboxes.inspector.push(order).is_ok().then_some(id);
    }

    /// It was not what it looked like.
    fn clear(&mut self, mailboxes: &Mailboxes) {
        if self.open.is_none() {
            if let Some(id) = self.case.take() {
                mailboxes.inspect(Order::Clear(id));
            }
        }
    }

    /// Asks the inspector for thread and cause. If that is refused, the report waits in vain for a while.
    fn ask(
        &mut self,
        id: StallId,
        phase: Phase,
        due: Asked,
        began: Duration,
        mailboxes: &Mailboxes,
    ) {
        if self.case != Some(id) {
            return;
        }
        mailboxes.inspect(if phase == Phase::Ended {
            self.case = None;
            Order::End { id, due, began }
        } else {
            Order::Conclude { id, due }
        });
    }

    /// The cause is what the counters alone show, until the inspector has said more.
    fn stall(
        &mut self,
        phase: Phase,
        lasted: Duration,
        cause: Option<Cause>,
        subject: &Subject,
    ) -> Stall {
        self.reports = self.reports.wrapping_add(1);
        let mut stall = self.open.take().unwrap_or_else(|| Stall {
            id: self.case.unwrap_or_else(StallId::next),
            phase,
            monitor: subject.name.clone(),
            place: Place::Worker(self.index),
            thread: None,
            task: None,
            began_at: clock::utc_now() - lasted,
            duration: lasted,
            cause: Cause::Unknown,
            trace: None,
            missed: 0,
        });
        stall.phase = phase;
        stall.duration = lasted;
        stall.cause = cause.unwrap_or(Cause::Unknown);
        if phase != Phase::Ended {
            self.open = Some(stall.clone());
        }
        stall
    }

    fn report(&self, mut stall: Stall, subject: &Subject, mailboxes: &Mailboxes, lost: &mut u64) {
        stall.missed = *lost;
        let is_asked = self.case == Some(stall.id);
        let report = Report {
            publisher: Arc::clone(&subject.publisher),
            number: self.reports,
            answer_within: is_asked.then_some(subject.threshold.max(SHORTEST_ANSWER)),
            stall,
        };
        match mailboxes.report(News::Report(report)) {
            Ok(()) => *lost = 0,
            Err(Full) => *lost += 1,
        }
    }
}
