//! The thread that calls `block_on`, under watch: what its detector finds becomes reports and commands. When it
//! counts as stuck is decided in `root_detector.rs`.
//!
//! On a `multi_thread` runtime it polls the root future, of which Tokio counts nothing. On a `current_thread`
//! runtime it runs the worker, and Tokio's counters do not show whether that is driven.

use std::sync::Arc;

use super::awake_clock::AwakeInstant;
use super::case::{Case, Tick};
use super::messages::{Stamp, Suspect};
use super::root_detector::{RootDetector, RootSeen, RootTransition};
use super::root_thread::RootThread;
use super::subject::Subject;
use crate::stall::Place;

#[derive(Debug)]
pub(super) struct RootWatch {
    root: Arc<RootThread>,
    detector: RootDetector,
    place: Place,
    case: Case,
    /// When a reported stall went on last.
    stuck_at: Option<AwakeInstant>,
}

impl RootWatch {
    pub(super) fn new(root: Arc<RootThread>, subject: &Subject) -> RootWatch {
        let place = if subject.has_many_workers {
            Place::RootFuture
        } else {
            Place::Worker(0)
        };
        RootWatch {
            root,
            detector: RootDetector::new(
                subject.threshold,
                subject.tick(),
                !subject.has_many_workers,
            ),
            place,
            case: Case::default(),
            stuck_at: None,
        }
    }

    /// The life of a stall, which cannot have begun before `not_before`. `None` if there can be none.
    pub(super) fn observe(&mut self, not_before: Option<AwakeInstant>, tick: &mut Tick<'_>) {
        let (began, seen_for) = (self.detector.began(), self.detector.stuck_for());
        let transition = self.detector.observe(RootSeen {
            time: tick.time,
            times: not_before.and_then(|_| self.root.times()),
            not_before: not_before.unwrap_or(tick.time.now),
            judgement: self.root.judgement(),
        });
        let place = || self.place.clone();
        match transition {
            RootTransition::None => {}
            RootTransition::Suspected(stretch) => {
                let suspect = Suspect::Root {
                    root: Arc::clone(&self.root),
                    subject: Arc::clone(tick.subject),
                    stretch,
                };
                let at = Stamp::new(tick.time.now);
                self.case.suspect(suspect, at, tick.mailboxes);
            }
            RootTransition::Cleared => self.case.clear(tick.mailboxes),
            RootTransition::Live { phase, stuck_for } => {
                let due = self.case.due(stuck_for, None, tick.time.now);
                self.case.report_live(phase, place, due, &mut tick.desk());
            }
            RootTransition::Over { lasted } => {
                let mut due = self.case.due(lasted, None, tick.time.now);
                due.at_least = seen_for;
                self.case
                    .report_end(began, place, None, due, &mut tick.desk());
            }
        }
        if self.detector.is_open() {
            self.stuck_at = Some(tick.time.now);
        }
    }

    /// When a stall went on last that has been reported.
    pub(super) fn stuck_at(&self) -> Option<AwakeInstant> {
        self.stuck_at
    }

    /// Whether the thread is not even suspected.
    pub(super) fn is_at_rest(&self) -> bool {
        self.detector.is_at_rest()
    }

    pub(super) fn due_at(&self) -> Option<AwakeInstant> {
        self.detector.due_at()
    }
}
