//! The life of one stall, as the watchdog tells the other threads of it: reports for the reporter and commands
//! for the inspector. When there is a stall is decided in the detectors.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::awake_clock::{AwakeInstant, AwakeTime};
use super::mailboxes::Mailboxes;
use super::messages::{Command, Due, Event, Report, Stamp};
use super::queue::Full;
use super::subject::Subject;
use crate::clock;
use crate::stall::{Cause, Phase, Place, Stall, StallId};

/// On a crowded machine the inspector may wait for a CPU for that long.
const SHORTEST_ANSWER: Duration = Duration::from_millis(100);

/// What the other threads have been sent of the present stall of one place.
#[derive(Debug)]
pub(super) struct Case {
    place: Place,
    stage: Stage,
    /// Counts the reports of this place.
    reports: u32,
}

#[derive(Debug, Default)]
enum Stage {
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
    /// When a stall of the worker went on last that the watch of the root thread has reported.
    pub(super) reported_at: Option<AwakeInstant>,
}

impl Case {
    pub(super) fn new(place: Place) -> Case {
        Case {
            place,
            stage: Stage::Clear,
            reports: 0,
        }
    }

    /// Whether a stall has been reported, and has not ended.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open { .. })
    }

    /// What the next report says.
    pub(super) fn due(&self, lasted: Duration, hint: Option<Cause>, tick: &Tick<'_>) -> Due {
        Due {
            number: self.reports.wrapping_add(1),
            lasted,
            hint,
            at: Stamp::new(tick.time.now),
        }
    }

    /// Clear → suspected: the inspector begins to gather evidence, by this command.
    pub(super) fn suspect(&mut self, command: impl FnOnce(StallId) -> Command, tick: &Tick<'_>) {
        let id = StallId::next();
        let is_inspected = tick.mailboxes.command(command(id));
        self.stage = Stage::Suspected { id, is_inspected };
    }

    /// Suspected → clear: there is no stall.
    pub(super) fn clear(&mut self, tick: &Tick<'_>) {
        if let Stage::Suspected {
            id,
            is_inspected: true,
        } = mem::take(&mut self.stage)
        {
            tick.mailboxes.command(Command::Clear(id));
        }
    }

    /// Suspected or open → open: the stall has lasted for the threshold, or for twice as long as at the last
    /// report.
    pub(super) fn report_live(&mut self, phase: Phase, due: Due, tick: &mut Tick<'_>) {
        let (stall, is_inspected) = self.report(phase, due, tick);
        if is_inspected {
            let id = stall.id;
            tick.mailboxes.command(Command::Conclude { id, due });
        }
        self.stage = Stage::Open {
            stall,
            is_inspected,
        };
    }

    /// Any → clear: the stall is over, and lasted for the threshold or longer.
    pub(super) fn report_end(&mut self, began: AwakeInstant, due: Due, tick: &mut Tick<'_>) {
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
        let stage = mem::take(&mut self.stage);
        let new = |id| self.new_stall(id, phase, due.lasted, tick.subject);
        let (mut stall, is_inspected) = match stage {
            Stage::Clear => (new(StallId::next()), false),
            Stage::Suspected { id, is_inspected } => (new(id), is_inspected),
            Stage::Open {
                stall,
                is_inspected,
            } => (stall, is_inspected),
        };
        stall.phase = phase;
        stall.duration = due.lasted;
        // What the watchdog alone knows, until the inspector has said more.
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
            place: self.place.clone(),
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
