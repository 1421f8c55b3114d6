//! One worker under watch: what its detector finds decides on the life of its stalls (`case.rs`). When a worker
//! counts as stuck is decided in `detector.rs`.

use std::mem;
use std::sync::Arc;

use super::awake_clock::{AwakeInstant, AwakeTime};
use super::case::{Case, Tick};
use super::detector::{Detector, Driven, Observation, Transition};
use super::messages::{Stamp, Suspect};
use super::subject::Subject;
use crate::stall::Place;

#[derive(Debug)]
pub(super) struct WorkerWatch {
    index: usize,
    detector: Detector,
    case: Case,
    /// How often the worker had been observed at the last tick.
    observations: u32,
    /// Whether the worker was stuck at the last tick.
    was_stuck: bool,
}

impl WorkerWatch {
    pub(super) fn new(index: usize, driven: Driven, subject: &Subject) -> WorkerWatch {
        let first = Observation {
            time: AwakeTime::START,
            counters: subject.counters(index),
            progress: subject.inside == Some(index),
        };
        WorkerWatch {
            index,
            detector: Detector::new(subject.threshold, driven, first),
            case: Case::default(),
            observations: subject.worker_threads().observations(index),
            was_stuck: false,
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

    /// Since when the worker may be stuck without a live report of it.
    pub(super) fn uncertain_since(&self) -> Option<AwakeInstant> {
        self.detector.uncertain_since()
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
        let is_open = self.case.is_open();
        if tick.subject.take_undriven(self.index) && !is_open && self.detector.set_undriven(seen) {
            self.case.clear(tick.mailboxes);
            return false;
        }
        let (began, frozen) = (self.detector.stuck_since(), self.detector.counters());
        let seen_for = self.detector.stuck_for();
        let place = || Place::Worker(self.index);
        let transition = self.detector.observe(seen);
        match transition {
            Transition::None => {}
            Transition::Suspected => {
                let suspect = Suspect::Worker {
                    subject: Arc::clone(tick.subject),
                    worker: self.index,
                    frozen,
                };
                let at = Stamp::new(tick.time.now);
                self.case.suspect(suspect, at, tick.mailboxes);
            }
            Transition::Cleared => self.case.clear(tick.mailboxes),
            Transition::Live {
                phase,
                stuck_for,
                hint,
            } => {
                let due = self.case.due(stuck_for, hint, tick.time.now);
                self.case.report_live(phase, place, due, &mut tick.desk());
            }
            // It has been reported while it lasted.
            Transition::Over { .. } if !is_open && tick.reported_at >= Some(began) => {
                self.case.clear(tick.mailboxes);
            }
            Transition::Over { lasted, hint } => {
                let mut due = self.case.due(lasted, hint, tick.time.now);
                due.at_least = seen_for;
                self.case
                    .report_end(began, place, None, due, &mut tick.desk());
            }
        }
        transition == Transition::Suspected
    }
}
