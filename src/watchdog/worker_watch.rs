//! One worker under watch, and the life of its stalls: what the detector finds becomes reports for the
//! reporter and commands for the inspector. When a worker counts as stuck is decided in `detector.rs`.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::awake_clock::{AwakeInstant, AwakeTime};
use super::detector::{Detector, Driven, Observation, Transition};
use super::mailboxes::Mailboxes;
use super::messages::{Command, Due, Event, Report, Stamp};
use super::queue::Full;
use super::subject::Subject;
use crate::clock;
use crate::runtime::WorkerCounters;
use crate::stall::{Cause, Phase, Place, Stall, StallId};

/// On a crowded machine the inspector may wait for a CPU for that long.
const SHORTEST_ANSWER: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct WorkerWatch {
    index: usize,
    detector: Detector,
    case: Case,
    /// How often the worker had been observed at the last tick.
    observations: u32,
    /// Whether the worker was stuck at the last tick.
    was_stuck: bool,
    /// Counts the reports of this worker.
    reports: u32,
}

/// What the other threads have been sent of the worker's present stall.
#[derive(Debug, Default)]
enum Case {
    #[default]
    Clear,
    /// A suspicion: nothing has been reported.
    Suspected { id: StallId, is_inspected: bool },
    /// A stall, as it was reported last.
    Open { stall: Stall, is_inspected: bool },
}

/// One tick of the watchdog at one runtime.
#[derive(Debug)]
pub(super) struct Tick<'a> {
    pub(super) time: AwakeTime,
    pub(super) subject: &'a Arc<Subject>,
    pub(super) mailboxes: &'a Mailboxes,
    /// Counts the reports that were refused since the last one that was not.
    pub(super) lost_reports: &'a mut u64,
}

impl WorkerWatch {
    pub(super) fn new(index: usize, driven: Driven, subject: &Subject) -> WorkerWatch {
        let first = Observation {
            time: AwakeTime {
                now: AwakeInstant::START,
                lost: Duration::ZERO,
            },
            counters: subject.counters(index),
            progress: subject.inside == Some(index),
        };
        WorkerWatch {
            index,
            detector: Detector::new(subject.threshold, driven, first),
            case: Case::Clear,
            observations: subject.worker_threads().observations(index),
            was_stuck: false,
            reports: 0,
        }
    }

    /// The first observation by the watchdog's clock.
    pub(super) fn begin(&mut self, seen: Observation) {
        self.detector.begin(seen);
    }

    pub(super) fn detector(&mut self) -> &mut Detector {
        &mut self.detector
    }

    /// Whether a task of loopmon has observed the worker since the last call.
    pub(super) fn was_observed(&mut self, subject: &Subject) -> bool {
        let now = subject.worker_threads().observations(self.index);
        mem::replace(&mut self.observations, now) != now
    }

    pub(super) fn is_parked(&self) -> bool {
        self.detector.is_parked()
    }

    /// When the next transition is due if the worker stays stuck.
    pub(super) fn due_at(&self) -> Option<AwakeInstant> {
        self.detector.due_at()
    }

    /// Whether the worker is stuck, and was not at the last call.
    pub(super) fn is_newly_stuck(&mut self) -> bool {
        let is_stuck = self.detector.is_stuck();
        let was_stuck = mem::replace(&mut self.was_stuck, is_stuck);
        is_stuck && !was_stuck
    }

    /// The life of a stall. Returns whether the worker is newly suspected.
    pub(super) fn observe(&mut self, seen: Observation, tick: &mut Tick<'_>) -> bool {
        let is_open = matches!(self.case, Case::Open { .. });
        if tick.subject.take_undriven(self.index) && !is_open && self.detector.set_undriven(seen) {
            self.clear(tick);
            return false;
        }
        let (began, frozen) = (self.detector.stuck_since(), self.detector.counters());
        let transition = self.detector.observe(seen);
        match transition {
            Transition::None => {}
            Transition::Suspected => self.suspect(frozen, tick),
            Transition::Cleared => self.clear(tick),
            Transition::Live {
                phase,
                stuck_for,
                hint,
            } => self.report_live(phase, self.due(stuck_for, hint, tick), tick),
            Transition::Over { lasted, hint } => {
                self.report_end(began, self.due(lasted, hint, tick), tick);
            }
        }
        transition == Transition::Suspected
    }

    fn due(&self, lasted: Duration, hint: Option<Cause>, tick: &Tick<'_>) -> Due {
        Due {
            number: self.reports.wrapping_add(1),
            lasted,
            hint,
            at: Stamp::new(tick.time.now),
        }
    }

    /// Clear → suspected: the inspector begins to gather evidence.
    fn suspect(&mut self, frozen: WorkerCounters, tick: &Tick<'_>) {
        let id = StallId::next();
        let suspect = Command::Suspect {
            id,
            subject: Arc::clone(tick.subject),
            worker: self.index,
            frozen,
            at: Stamp::new(tick.time.now),
        };
        let is_inspected = tick.mailboxes.command(suspect);
        self.case = Case::Suspected { id, is_inspected };
    }

    /// Suspected → clear: the worker went on in time.
    fn clear(&mut self, tick: &Tick<'_>) {
        if let Case::Suspected {
            id,
            is_inspected: true,
        } = mem::take(&mut self.case)
        {
            tick.mailboxes.command(Command::Clear(id));
        }
    }

    /// Suspected or open → open: the worker is stuck for the threshold, or for twice as long as at the last
    /// report.
    fn report_live(&mut self, phase: Phase, due: Due, tick: &mut Tick<'_>) {
        let (stall, is_inspected) = self.report(phase, due, tick);
        if is_inspected {
            let id = stall.id;
            tick.mailboxes.command(Command::Conclude { id, due });
        }
        self.case = Case::Open {
            stall,
            is_inspected,
        };
    }

    /// Any → clear: the worker is back, and was stuck for the threshold or longer.
    fn report_end(&mut self, began: AwakeInstant, due: Due, tick: &mut Tick<'_>) {
        let (stall, is_inspected) = self.report(Phase::Ended, due, tick);
        if is_inspected {
            let id = stall.id;
            tick.mailboxes.command(Command::End { id, due, began });
        }
    }

    /// Reports the stall of the case, which is clear then. Returns the stall, and whether the inspector
    /// investigates it. The report must be sent before the inspector is asked, which may answer at once. If
    /// the inspector's queue is full, the report waits in vain for a while.
    fn report(&mut self, phase: Phase, due: Due, tick: &mut Tick<'_>) -> (Stall, bool) {
        self.reports = due.number;
        let case = mem::take(&mut self.case);
        let new = |id| self.new_stall(id, phase, due.lasted, tick.subject);
        let (mut stall, is_inspected) = match case {
            Case::Clear => (new(StallId::next()), false),
            Case::Suspected { id, is_inspected } => (new(id), is_inspected),
            Case::Open {
                stall,
                is_inspected,
            } => (stall, is_inspected),
        };
        stall.phase = phase;
        stall.duration = due.lasted;
        // What the counters alone show, until the inspector has said more.
        stall.cause = due.hint.unwrap_or(Cause::Unknown);
        stall.missed = *tick.lost_reports;
        let report = Report {
            publisher: Arc::clone(&tick.subject.publisher),
            number: due.number,
            answer_within: is_inspected.then_some(tick.subject.threshold.max(SHORTEST_ANSWER)),
            stall: stall.clone(),
        };
        match tick.mailboxes.event(Event::Report(report)) {
            Ok(()) => *tick.lost_reports = 0,
            Err(Full) => *tick.lost_reports += 1,
        }
        (stall, is_inspected)
    }

    fn new_stall(&self, id: StallId, phase: Phase, lasted: Duration, subject: &Subject) -> Stall {
        Stall {
            id,
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
        }
    }
}
