//! When a worker counts as stuck: pure reckoning over what Tokio publishes about it.
//!
//! A worker publishes two counters whenever it goes to park, comes back from it, or has taken some
//! 61 turns without parking. The one of parks and unparks is odd while it is parked. So a worker
//! whose counters have not moved, and which is not parked, has not been to its scheduler since.
//!
//! What a look is given as `now` is credited time (see `awake_clock.rs`), so nothing here can take a pause
//! of the whole process for a stall.

use std::time::Duration;

use crate::runtime::WorkerCounters;
use crate::stall::{Cause, Phase};

/// One look at a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    /// Credited time.
    pub(super) now: Duration,
    /// How much time has passed so far that was not credited.
    pub(super) lost: Duration,
    pub(super) counters: WorkerCounters,
    /// Something has shown since the last look that the worker polls tasks.
    pub(super) progress: bool,
}

/// What a look has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    Nothing,
    /// Half the threshold has passed: time for the first evidence.
    Suspected,
    /// A stall that is only found when it is over has `Phase::Ended` alone.
    Stall {
        phase: Phase,
        lasted: Duration,
        /// What the counters alone show to be the cause.
        cause: Option<Cause>,
    },
}

/// How far the worker's present stillness has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Quiet,
    Suspected,
    Told { next: Duration },
}

/// Whether a worker's stillness may mean that nobody drives its runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driven {
    /// The worker has a thread of its own.
    Always,
    /// By calls of `block_on`, and it has not been seen between two of them.
    Continuous,
    /// It may be between two calls of `block_on`. What looks like a stall is told only when it is
    /// over: then the busy time that Tokio has counted tells one from the other.
    MaybeIntermittent,
    /// The same, and it has been seen between two calls. That it was not, another time, proves
    /// nothing for the next.
    Intermittent,
}

/// What is known of one worker.
#[derive(Debug)]
pub(super) struct Detector {
    threshold: Duration,
    driven: Driven,
    /// The worker is known to run. Until then it may be one that nobody has started.
    armed: bool,
    counters: WorkerCounters,
    /// When the counters were first seen as they are.
    since: Duration,
    /// How much time had not been credited at the look before that.
    lost_before: Duration,
    /// The same at the last look.
    lost: Duration,
    /// For how long they have been seen so.
    still: Duration,
    progress_at: Option<Duration>,
    stage: Stage,
}

impl Detector {
    /// `look` is the first one; with `progress` if the worker is known to run.
    pub(super) fn new(threshold: Duration, driven: Driven, look: Observation) -> Detector {
        Detector {
            threshold,
            driven,
            // Tokio starts the threads of a runtime of several workers when it is built.
            armed: look.progress || driven == Driven::Always,
            counters: look.counters,
            since: look.now,
            lost_before: look.lost,
            lost: look.lost,
            still: Duration::ZERO,
            progress_at: None,
            stage: Stage::Quiet,
        }
    }

    /// The first look counts: what was known before it is of another time.
    pub(super) fn begin(&mut self, look: Observation) {
        *self = Detector {
            armed: self.armed,
            ..Detector::new(self.threshold, self.driven, look)
        };
    }

    pub(super) fn look(&mut self, look: Observation) -> Transition {
        if look.counters != self.counters {
            return self.moved(look);
        }
        if look.progress && !self.armed {
            self.restart(look);
        }
        self.still = look.now.saturating_sub(self.since);
        self.lost = look.lost;
        if look.progress {
            self.progress_at = Some(look.now);
        }
        if !self.is_still() {
            return Transition::Nothing;
        }
        let Some(due) = self.due_after().filter(|due| self.still >= *due) else {
            return Transition::Nothing;
        };
        match self.stage {
            Stage::Quiet => {
                self.stage = Stage::Suspected;
                Transition::Suspected
            }
            Stage::Suspected => self.tell(Phase::Started, self.threshold),
            Stage::Told { .. } => self.tell(Phase::Ongoing, due),
        }
    }

    /// When, by credited time, there will be something to find if it goes on standing still.
    pub(super) fn due_at(&self) -> Option<Duration> {
        let due = self.due_after().filter(|_| self.is_still())?;
        Some(self.since.saturating_add(due))
    }

    fn due_after(&self) -> Option<Duration> {
        match self.stage {
            Stage::Quiet => Some(self.threshold / 2),
            Stage::Suspected if !self.may_tell() => None,
            Stage::Suspected => Some(self.threshold),
            Stage::Told { next } => Some(next),
        }
    }

    /// It runs, and has not been to its scheduler since an earlier look.
    pub(super) fn is_still(&self) -> bool {
        self.armed && !self.counters.is_parked() && !self.still.is_zero()
    }

    /// It has been still for half the threshold.
    pub(super) fn is_suspected(&self) -> bool {
        self.is_still() && self.stage != Stage::Quiet
    }

    pub(super) fn is_parked(&self) -> bool {
        self.counters.is_parked()
    }

    pub(super) fn counters(&self) -> WorkerCounters {
        self.counters
    }

    /// Whatever the worker seemed to be doing, it begins now.
    pub(super) fn restart(&mut self, look: Observation) {
        *self = Detector {
            armed: true,
            lost_before: self.lost,
            ..Detector::new(self.threshold, self.driven, look)
        };
    }

    /// When it was first seen to have done what it has done.
    pub(super) fn since(&self) -> Duration {
        self.since
    }

    /// Its thread is known to do other things than to drive it.
    pub(super) fn may_be_left(&mut self) {
        if self.driven == Driven::Continuous {
            self.driven = Driven::MaybeIntermittent;
        }
    }

    /// Its thread does other things, or is gone. Returns whether that means that nobody drives it.
    pub(super) fn is_left(&mut self, look: Observation) -> bool {
        self.may_be_left();
        let left = self.driven != Driven::Always;
        if left {
            self.restart(look);
        }
        left
    }

    /// Whether its stillness is known to be a stall while it lasts.
    fn may_tell(&self) -> bool {
        matches!(self.driven, Driven::Always | Driven::Continuous)
    }

    fn tell(&mut self, phase: Phase, at: Duration) -> Transition {
        self.stage = Stage::Told {
            next: at.saturating_mul(2),
        };
        Transition::Stall {
            phase,
            lasted: self.still,
            cause: self.many_polls(),
        }
    }

    fn moved(&mut self, look: Observation) -> Transition {
        let busy = look.counters.busy.saturating_sub(self.counters.busy);
        let turns = look
            .counters
            .parks_and_unparks
            .saturating_sub(self.counters.parks_and_unparks);
        // Had a thread run the worker, it would have been busy for as long as it was seen still. Not so
        // where threads hand workers over: what one has not published is lost then.
        let unattended = self.driven != Driven::Always && busy < self.still / 2;
        let finding = match self.stage {
            Stage::Told { .. } => Transition::Stall {
                phase: Phase::Ended,
                lasted: busy.max(self.still),
                cause: if unattended {
                    Some(Cause::Unattended)
                } else {
                    self.many_polls()
                },
            },
            // Up to the last look none of it had been published. So it is one batch, but for what came
            // since. With more turns it may be that of several, none of them long enough.
            _ if !self.counters.is_parked()
                && self.still >= self.threshold * 3 / 5
                && (turns <= 2 || (self.still >= self.threshold && !unattended))
                && busy.saturating_sub(self.lost_in_batch(look)) >= self.threshold =>
            {
                Transition::Stall {
                    phase: Phase::Ended,
                    lasted: busy,
                    cause: self.many_polls(),
                }
            }
            _ => Transition::Nothing,
        };
        if self.stage != Stage::Quiet && self.driven != Driven::Always {
            if unattended {
                self.driven = Driven::Intermittent;
            } else if busy >= self.still && self.driven == Driven::MaybeIntermittent {
                self.driven = Driven::Continuous;
            }
        }
        self.restart(look);
        finding
    }

    /// How much of the time since the batch began was not credited, at the most.
    fn lost_in_batch(&self, look: Observation) -> Duration {
        look.lost.saturating_sub(self.lost_before)
    }

    /// The worker has been seen to poll tasks not long ago. What it did before it was suspected does
    /// not count: it may have been in one poll ever since.
    fn many_polls(&self) -> Option<Cause> {
        let seen_at = self.since + self.still;
        let lately = seen_at.saturating_sub(self.progress_at?) < self.threshold / 2;
        lately.then_some(Cause::ManyPolls)
    }
}

#[cfg(test)]
mod tests;
