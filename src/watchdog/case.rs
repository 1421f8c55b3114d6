//! The life of one stall: clear → suspected → open → clear, and what the other threads are sent of it. When
//! it passes from one to the other is decided in the detectors, and in `poll_watch.rs`.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::awake_clock::{AwakeInstant, AwakeTime};
use super::mailboxes::Mailboxes;
use super::messages::{Command, Due, Event, Report, Stamp, Suspect};
use super::outlet::Outlet;
use super::queue::Full;
use super::subject::Subject;
use crate::clock;
use crate::stall::{Cause, Measured, OsThread, Phase, Place, Stall, StallId};

/// On a crowded machine the inspector may wait for a CPU for that long.
const SHORTEST_ANSWER: Duration = Duration::from_millis(100);

/// What the other threads have been sent of the present stall of one place.
#[derive(Debug, Default)]
pub(super) struct Case {
    stage: Stage,
    /// Counts the reports.
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

impl Tick<'_> {
    pub(super) fn desk(&mut self) -> Desk<'_> {
        Desk {
            mailboxes: self.mailboxes,
            outlet: &self.subject.outlet,
            monitor: self.subject.name.as_ref(),
            threshold: self.subject.threshold,
            lost_reports: self.lost_reports,
        }
    }
}

/// Where the stalls of one watch are reported.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) mailboxes: &'a Mailboxes,
    pub(super) outlet: &'a Arc<Outlet>,
    pub(super) monitor: Option<&'a Arc<str>>,
    pub(super) threshold: Duration,
    /// Counts the reports that were refused since the last one that was not.
    pub(super) lost_reports: &'a mut u64,
}

impl Case {
    /// Whether a stall has been reported, and has not ended.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open { .. })
    }

    /// What the next report says.
    pub(super) fn due(&self, lasted: Duration, hint: Option<Cause>, now: AwakeInstant) -> Due {
        Due {
            number: self.reports.wrapping_add(1),
            lasted,
            at_least: lasted,
            hint,
            at: Stamp::new(now),
        }
    }

    /// Clear → suspected: the inspector begins to gather evidence.
    pub(super) fn suspect(&mut self, suspect: Suspect, at: Stamp, mailboxes: &Mailboxes) {
        let id = StallId::next();
        let is_inspected = mailboxes.command(Command::Suspect { id, suspect, at });
        self.stage = Stage::Suspected { id, is_inspected };
    }

    /// Suspected → clear: the poll ended in time.
    pub(super) fn clear(&mut self, mailboxes: &Mailboxes) {
        if let Stage::Suspected {
            id,
            is_inspected: true,
        } = mem::take(&mut self.stage)
        {
            mailboxes.command(Command::Clear(id));
        }
    }

    /// Suspected or open → open: the place is stuck for the threshold, or for twice as long as at the last
    /// report.
    pub(super) fn report_live(
        &mut self,
        phase: Phase,
        place: impl FnOnce() -> Place,
        due: Due,
        desk: &mut Desk<'_>,
    ) {
        let (stall, is_inspected) = self.take(phase, place, due, desk);
        let id = stall.id;
        // The report must be sent before the inspector is asked, which may answer at once.
        desk.report(stall.clone(), due, is_inspected);
        if is_inspected {
            desk.mailboxes.command(Command::Conclude { id, due });
        }
        self.stage = Stage::Open {
            stall,
            is_inspected,
        };
    }

    /// Any → clear: the poll is over, and lasted for the threshold or longer. `thread` is the one that was in
    /// the poll, if it has said so.
    pub(super) fn report_end(
        &mut self,
        began: AwakeInstant,
        place: impl FnOnce() -> Place,
        thread: Option<OsThread>,
        due: Due,
        desk: &mut Desk<'_>,
    ) {
        let (mut stall, is_inspected) = self.take(Phase::Ended, place, due, desk);
        stall.thread = thread;
        let id = stall.id;
        desk.report(stall, due, is_inspected);
        if is_inspected {
            desk.mailboxes.command(Command::End { id, due, began });
        }
    }

    /// Returns the stall as it is to be reported now, and whether the inspector investigates it. The case is
    /// clear then.
    fn take(
        &mut self,
        phase: Phase,
        place: impl FnOnce() -> Place,
        due: Due,
        desk: &Desk<'_>,
    ) -> (Stall, bool) {
        self.reports = due.number;
        let new = |id| Stall {
            id,
            monitor: desk.monitor.cloned(),
            ..Stall::new(
                phase,
                place(),
                Cause::Unknown,
                clock::utc_now() - due.lasted,
                due.lasted,
            )
        };
        let (stall, is_inspected) = match mem::take(&mut self.stage) {
            Stage::Clear => (new(StallId::next()), false),
            Stage::Suspected { id, is_inspected } => (new(id), is_inspected),
            Stage::Open {
                stall,
                is_inspected,
            } => (stall, is_inspected),
        };
        let stall = Stall {
            phase,
            duration: due.lasted,
            // What the counters alone show, until the inspector has said more.
            cause: due.hint.unwrap_or(Cause::Unknown),
            measured: Measured {
                at: Some(due.at.system),
                at_least: due.at_least.into(),
                share: None,
            },
            ..stall
        };
        (stall, is_inspected)
    }
}

impl Desk<'_> {
    /// If the inspector's queue is full, the report waits for an answer in vain, for a while.
    fn report(&mut self, stall: Stall, due: Due, is_inspected: bool) {
        let report = Report {
            outlet: Arc::clone(self.outlet),
            number: due.number,
            answer_within: is_inspected.then_some(self.threshold.max(SHORTEST_ANSWER)),
            stall: Stall {
                missed: *self.lost_reports,
                ..stall
            },
        };
        match self.mailboxes.event(Event::Report(report)) {
            Ok(()) => *self.lost_reports = 0,
            Err(Full) => *self.lost_reports += 1,
        }
    }
}
