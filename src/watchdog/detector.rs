//! When a worker counts as stuck. Pure: works on what Tokio publishes of the worker, and the time is passed
//! in. What follows from it: `worker_watch.rs`.
//!
//! A worker publishes two counters whenever it parks, comes back from that, or has taken some 61 turns
//! without parking. The counter of parks and unparks is odd while it is parked. So a worker whose
//! counters have not moved, and which is not parked, has not been at its scheduler since.
//!
//! Time is awake time (`awake_clock.rs`), so a pause of the whole process never looks like a stall.

use std::time::Duration;

use super::awake_clock::{AwakeInstant, AwakeTime};
use crate::runtime::WorkerCounters;
use crate::stall::{Cause, Phase};

/// What the watchdog sees of a worker at one tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) time: AwakeTime,
    pub(super) counters: WorkerCounters,
    /// Whether something has shown since the last tick that the worker polls tasks.
    pub(super) progress: bool,
}

/// What an observation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    None,
    /// The worker is stuck for half the threshold: time for the first evidence.
    Suspected,
    /// The suspected worker went on in time.
    Cleared,
    /// The stall goes on, and a report is due.
    Live {
        phase: Phase,
        stuck_for: Duration,
        /// The cause as far as the counters alone show it.
        hint: Option<Cause>,
    },
    /// The stall is over. It may not have been live before, if it was found only now.
    Over {
        lasted: Duration,
        hint: Option<Cause>,
    },
}

/// Which transition comes next while the worker stays stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Suspicion,
    FirstReport,
    Report { after: Duration },
}

/// Whether a thread drives the worker all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driven {
    /// The worker has a thread of its own.
    Always,
    /// Calls of `block_on` drive the worker, and it has not been seen between two of them.
    Continuous,
    /// The worker may be between two calls of `block_on`. So a stall is reported only when it is over: then
    /// the busy time that Tokio has counted shows which it was.
    MaybeIntermittent,
    /// The worker has been seen between two calls. That it was in a poll another time proves nothing for
    /// the next.
    Intermittent,
}

#[derive(Debug)]
pub(super) struct Detector {
    threshold: Duration,
    driven: Driven,
    /// Whether the worker is known to run. Until then, perhaps nobody has started it.
    is_armed: bool,
    counters: WorkerCounters,
    /// When the counters were first seen to be these.
    stuck_since: AwakeTime,
    /// For how long the counters have been seen to be these.
    stuck_for: Duration,
    /// The observation before `stuck_since`.
    before: AwakeTime,
    /// The last observation.
    seen: AwakeTime,
    /// The observation before the worker last published or made progress: no poll that lasts now, or that the
    /// next progress ends, has begun before.
    progress_after: AwakeInstant,
    progress_at: Option<AwakeInstant>,
    /// The longest poll that may have ended with a progress.
    longest_poll: Duration,
    next: Next,
}

impl Detector {
    /// `first` has progress if the worker is known to run.
    pub(super) fn new(threshold: Duration, driven: Driven, first: Observation) -> Detector {
        Detector {
            threshold,
            driven,
            // Tokio starts the threads of a `multi_thread` runtime when it builds that.
            is_armed: first.progress || driven == Driven::Always,
            counters: first.counters,
            stuck_since: first.time,
            stuck_for: Duration::ZERO,
            before: first.time,
            seen: first.time,
            progress_after: first.time.now,
            progress_at: None,
            longest_poll: Duration::ZERO,
            next: Next::Suspicion,
        }
    }

    /// Starts over with the first observation by the watchdog's own clock.
    pub(super) fn begin(&mut self, first: Observation) {
        *self = Detector {
            is_armed: self.is_armed,
            ..Detector::new(self.threshold, self.driven, first)
        };
    }

    pub(super) fn observe(&mut self, seen: Observation) -> Transition {
        if seen.counters != self.counters {
            return self.moved(seen);
        }
        if seen.progress && !self.is_armed {
            self.restart(seen);
        }
        if seen.progress {
            let poll = seen.time.now.since(self.progress_after);
            self.longest_poll = self.longest_poll.max(poll);
            self.progress_after = self.seen.now;
            self.progress_at = Some(seen.time.now);
        }
        self.stuck_for = seen.time.now.since(self.stuck_since.now);
        self.seen = seen.time;
        let Some(due) = self.due_after().filter(|due| self.stuck_for >= *due) else {
            return Transition::None;
        };
        match self.next {
            Next::Suspicion => {
                self.next = Next::FirstReport;
                Transition::Suspected
            }
            Next::FirstReport => self.report(Phase::Started, self.threshold),
            Next::Report { .. } => self.report(Phase::Ongoing, due),
        }
    }

    /// When the next transition is due if the worker stays stuck.
    pub(super) fn due_at(&self) -> Option<AwakeInstant> {
        Some(self.stuck_since.now + self.due_after()?)
    }

    fn due_after(&self) -> Option<Duration> {
        if !self.is_stuck() {
            return None;
        }
        match self.next {
            Next::Suspicion => Some(self.threshold / 2),
            Next::FirstReport => self.is_certain().then_some(self.threshold),
            Next::Report { after } => Some(after),
        }
    }

    /// Whether the worker runs, and has not been at its scheduler since an earlier observation.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_armed && !self.counters.is_parked() && !self.stuck_for.is_zero()
    }

    pub(super) fn is_parked(&self) -> bool {
        self.counters.is_parked()
    }

    pub(super) fn counters(&self) -> WorkerCounters {
        self.counters
    }

    pub(super) fn stuck_since(&self) -> AwakeInstant {
        self.stuck_since.now
    }

    /// For how long the worker has been seen to be stuck.
    pub(super) fn stuck_for(&self) -> Duration {
        self.stuck_for
    }

    /// Whatever the worker does, it has begun now.
    fn restart(&mut self, seen: Observation) {
        *self = Detector {
            is_armed: true,
            before: self.seen,
            progress_after: self.seen.now,
            ..Detector::new(self.threshold, self.driven, seen)
        };
    }

    /// The worker's thread is known to do other things too. `is_seen`: whether its polls are seen as well, so that
    /// the counters need not tell.
    pub(super) fn set_maybe_intermittent(&mut self, is_seen: bool) {
        match self.driven {
            Driven::Always | Driven::Intermittent => {}
            _ if is_seen => self.driven = Driven::Intermittent,
            _ => self.driven = Driven::MaybeIntermittent,
        }
    }

    /// Since when the worker may be stuck, if the counters cannot show that while it lasts.
    pub(super) fn uncertain_since(&self) -> Option<AwakeInstant> {
        let counters_show = self.is_armed && self.is_certain();
        let is_uncertain = !counters_show && !self.is_parked();
        is_uncertain.then_some(self.stuck_since.now)
    }

    /// The worker's thread does other things now, or is gone. Returns whether nobody drives the worker then.
    pub(super) fn set_undriven(&mut self, seen: Observation) -> bool {
        self.set_maybe_intermittent(false);
        let is_undriven = self.driven != Driven::Always;
        if is_undriven {
            self.restart(seen);
        }
        is_undriven
    }

    /// Whether a stuck worker is certain to be stalled while it is stuck.
    fn is_certain(&self) -> bool {
        matches!(self.driven, Driven::Always | Driven::Continuous)
    }

    fn report(&mut self, phase: Phase, at: Duration) -> Transition {
        self.next = Next::Report {
            after: at.saturating_mul(2),
        };
        Transition::Live {
            phase,
            stuck_for: self.stuck_for,
            hint: self.many_polls(self.seen.now),
        }
    }

    fn moved(&mut self, seen: Observation) -> Transition {
        let busy = seen.counters.busy.saturating_sub(self.counters.busy);
        // A thread that ran the worker would have been busy for as long as that was stuck. Not so where
        // threads hand workers over: the busy time that one has not published is lost then.
        let is_unattended = self.driven != Driven::Always && busy < self.stuck_for / 2;
        let transition = match self.next {
            Next::Report { .. } => Transition::Over {
                lasted: busy.max(self.stuck_for),
                hint: if is_unattended {
                    Some(Cause::Unattended)
                } else {
                    self.many_polls(seen.time.now)
                },
            },
            _ if self.was_missed(seen, busy, is_unattended) => Transition::Over {
                lasted: busy,
                hint: self.many_polls(seen.time.now),
            },
            Next::FirstReport => Transition::Cleared,
            Next::Suspicion => Transition::None,
        };
        if self.next != Next::Suspicion && self.driven != Driven::Always {
            if is_unattended {
                self.driven = Driven::Intermittent;
            } else if busy >= self.stuck_for && self.driven == Driven::MaybeIntermittent {
                self.driven = Driven::Continuous;
            }
        }
        self.restart(seen);
        transition
    }

    /// Whether there was a stall that is over before it was reported. At the last observation none of the
    /// batch had been published, so the batch is all of it but for what came since. With more turns, that
    /// may be several batches, none of them long enough.
    fn was_missed(&self, seen: Observation, busy: Duration, is_unattended: bool) -> bool {
        let turns = seen
            .counters
            .parks_and_unparks
            .saturating_sub(self.counters.parks_and_unparks);
        // At the most.
        let lost_in_batch = seen.time.lost.saturating_sub(self.before.lost);
        let is_parked = self.counters.is_parked();
        let before = if is_parked { self.seen } else { self.before };
        // Nobody comes to a scheduler while all are held up. So a worker that was busy then was in one batch. For this
        // long it was, at least.
        let held_up = (busy + seen.time.held_up_since(before))
            .saturating_sub(seen.time.since(before))
            .min(seen.time.held_up_since(before));
        let stuck_for = if is_parked {
            held_up
        } else {
            // What was held up meanwhile is in there.
            let meanwhile = self.seen.held_up_since(self.stuck_since);
            self.stuck_for + held_up.saturating_sub(meanwhile)
        };
        let was_held_up = !held_up.is_zero();
        let is_certain = stuck_for >= self.threshold && (was_held_up || !is_unattended);
        stuck_for >= self.threshold / 5 * 3
            && (turns <= 2 || is_certain)
            && busy.saturating_sub(lost_in_batch) >= self.threshold
    }

    /// Whether the worker has made progress recently, and no poll of this stall can have lasted for the
    /// threshold. A progress alone proves nothing: the worker polls loopmon's task also after the long poll
    /// that was the stall, before it publishes its counters.
    fn many_polls(&self, now: AwakeInstant) -> Option<Cause> {
        let is_recent = now.since(self.progress_at?) < self.threshold / 2;
        (is_recent && self.longest_poll < self.threshold).then_some(Cause::ManyPolls)
    }
}

#[cfg(test)]
mod tests;
