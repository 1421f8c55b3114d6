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
use crate::stall::{Cause, Phase, Stall, StallId};

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
        match self.detector.observe(seen) {
            Transition::None => {}
            Transition::Suspected => {
                self.suspect(frozen, tick);
                return true;
            }
            Transition::Cleared => self.clear(tick),
            Transition::Live {
                phase,
                stuck_for,
                hint,
            } => self.report_live(phase, stuck_for, hint, tick),
            Transition::Over { lasted, hint } => self.report_end(lasted, hint, began, tick),
        }
        false
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
        let is_inspected = tick.mailboxes.command(suspect).is_ok();
        self.case = Case::Suspected { id, is_inspected };
    }

    /// Suspected → clear: the worker went on in time.
    fn clear(&mut self, tick: &Tick<'_>) {
        if let Case::Suspected {
            id,
            is_inspected: true,
        } = mem::take(&mut self.case)
        {
            tick.mailboxes.command(Command::Clear(id)).ok();
        }
    }

    /// Suspected or open → open: the worker is stuck for the threshold, or for twice as long as at the last
    /// report.
    fn report_live(
        &mut self,
        phase: Phase,
        stuck_for: Duration,
        hint: Option<Cause>,
        tick: &mut Tick<'_>,
    ) {
        let due = self.due(stuck_for, hint, tick.time.now);
        let (stall, is_inspected) = self.report(phase, due, tick);
        if is_inspected {
            let id = stall.id;
            tick.mailboxes.command(Command::Conclude { id, due }).ok();
        }
        self.case = Case::Open {
            stall,
            is_inspected,
        };
    }

    /// Any → clear: the worker is back, and was stuck for the threshold or longer.
    fn report_end(
        &mut self,
        lasted: Duration,
        hint: Option<Cause>,
        began: AwakeInstant,
        tick: &mut Tick<'_>,
    ) {
        let due = self.due(lasted, hint, tick.time.now);
        let (stall, is_inspected) = self.report(Phase::Ended, due, tick);
        if is_inspected {
            let id = stall.id;
            tick.mailboxes.command(Command::End { id, due, began }).ok();
        }
    }

    fn due(&mut self, lasted: Duration, hint: Option<Cause>, now: AwakeInstant) -> Due {
        self.reports = self.reports.wrapping_add(1);
        Due {
            number: self.reports,
            lasted,
            hint,
            at: Stamp::new(now),
        }
    }

    /// Reports the stall of the case, which is clear then. Returns the stall, and whether the inspector
    /// knows of it. The inspector may answer at once, so the report goes out before it is asked: if that
    /// is refused, the report waits in vain for a while.
    fn report(&mut self, phase: Phase, due: Due, tick: &mut Tick<'_>) -> (Stall, bool) {
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
            worker: self.index,
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
