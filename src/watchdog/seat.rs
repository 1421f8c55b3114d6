//! One worker of a watched runtime: who it is, and why it does not come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task;

use super::evidence::Evidence;
use super::inquiry::Inquiry;
use super::pauses;
use super::pool::PoolProbe;
use super::worker::{Counters, Finding, Look, Worker};
use crate::clock;
use crate::sightings::Sighting;
use crate::stack::{Shot, StackTraces};
use crate::stall::{Cause, Phase, Stall};

#[derive(Debug)]
pub(super) struct Seat {
    index: usize,
    monitor: Option<Arc<str>>,
    worker: Worker,
    sighting: Sighting,
    /// It has been met since the last look.
    met: bool,
    /// It stood still at the last look.
    was_still: bool,
    /// The last look has found something.
    is_news: bool,
    /// What its thread did when it was first suspected.
    first: Evidence,
    inquiry: Inquiry,
    /// The stall that is going on, as it was told last.
    open: Option<Stall>,
    /// What its thread did, as far as that was seen while it went on.
    seen: Cause,
}

/// What a look at a seat asks for.
#[derive(Debug)]
pub(super) enum Outcome {
    Nothing,
    Suspected,
    Tell(Stall, Option<Arc<Shot>>),
}

impl Seat {
    pub(super) fn new(
        index: usize,
        monitor: Option<Arc<str>>,
        worker: Worker,
        sighting: Sighting,
        stack_traces: StackTraces,
    ) -> Seat {
        Seat {
            index,
            monitor,
            worker,
            sighting,
            met: false,
            was_still: false,
            is_news: false,
            first: Evidence::None,
            inquiry: Inquiry::new(stack_traces),
            open: None,
            seen: Cause::Unknown,
        }
    }

    pub(super) fn worker(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// It has been met, if this is news.
    pub(super) fn sighted(&mut self, sighting: &Sighting) {
        self.met |= self.sighting.count != sighting.count;
        self.sighting.clone_from(sighting);
    }

    /// It is known which thread runs it.
    pub(super) fn is_known(&self) -> bool {
        self.sighting.thread.is_some()
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

    /// `again` reads the counters anew; `progress`: it has been seen to poll tasks. After `until` its
    /// thread is not waited for.
    pub(super) fn look(
        &mut self,
        now: Duration,
        until: Instant,
        counters: Counters,
        again: impl Fn() -> Counters,
        progress: bool,
        pool: &PoolProbe,
    ) -> Outcome {
        let look = Look {
            now,
            counters,
            progress: std::mem::take(&mut self.met) || progress,
        };
        let still = || again() == look.counters;
        let began = self.worker.since();
        let finding = self.worker.look(look);
        self.is_news = finding != Finding::Nothing;
        let (phase, lasted, shown) = match finding {
            Finding::Nothing => {
                if self.worker.is_suspected() && self.open.is_none() {
                    self.inquiry.ask_first(self.sighting.thread.as_ref(), until);
                }
                return Outcome::Nothing;
            }
            Finding::Suspected => {
                self.first = self.evidence(now);
                if self.worker.is_suspected() {
                    self.inquiry.begin(self.sighting.thread.as_ref(), until);
                }
                return Outcome::Suspected;
            }
            Finding::Stall {
                phase,
                lasted,
                cause,
            } => (phase, lasted, cause),
        };
        let mut task = None;
        let cause = if phase == Phase::Ended {
            let told = self.open.as_ref().map(|stall| match stall.cause {
                // What its former thread does is not why nobody runs it.
                Cause::Unattended => Cause::Unattended,
                _ => self.seen,
            });
            shown.or(told).unwrap_or_else(|| {
                let threshold = self.worker.threshold();
                let over = self.evidence(now);
                self.first.cause_afterwards(began, over, threshold)
            })
        } else {
            let evidence = self.evidence(now);
            if phase == Phase::Started && !self.is_to_be_told(evidence, look, lasted) {
                return Outcome::Nothing;
            }
            let statement = self
                .inquiry
                .go_on(self.sighting.thread.as_ref(), until, still);
            let Some(statement) = statement else {
                return Outcome::Nothing;
            };
            let identity = statement.identity;
            if identity.is_some_and(|identity| identity.worker != Some(self.index)) {
                // Another thread runs the worker, or none does.
                self.sighting.thread = None;
                self.inquiry.end();
                if phase == Phase::Started && self.worker.is_left(look) {
                    return Outcome::Nothing;
                }
            } else {
                task = identity.and_then(|identity| identity.task);
            }
            self.seen = evidence.cause_since(self.first, self.worker.threshold());
            match self.seen {
                // What the host does not run shows no progress, and the pool is not run either.
                Cause::Starved => Cause::Starved,
                cause => shown
                    .or_else(|| statement.went_on.then_some(Cause::ManyPolls))
                    .or_else(|| pool.is_waiting().then_some(Cause::Unattended))
                    .unwrap_or(cause),
            }
        };
        let shot = if phase == Phase::Ended {
            self.inquiry.end()
        } else {
            self.inquiry.shot()
        };
        Outcome::Tell(self.tell(phase, lasted, cause, task), shot)
    }

    /// Tries again to see the stack of a stall that goes on, after all have been looked at.
    pub(super) fn look_again(&mut self, until: Instant, again: impl Fn() -> Counters) {
        if self.open.is_some() && self.worker.is_suspected() && !self.is_news {
            let still = || self.worker.counters() == again();
            let thread = self.sighting.thread.as_ref();
            self.inquiry.retry(thread, until, still);
        }
    }

    /// Whether its thread is there to be stuck, and has been looked at for long enough.
    fn is_to_be_told(&mut self, evidence: Evidence, look: Look, lasted: Duration) -> bool {
        match evidence {
            Evidence::Held => {
                pauses::add(lasted);
                self.worker.restart(look);
                false
            }
            Evidence::Gone => {
                self.sighting.thread = None;
                !self.worker.is_left(look)
            }
            Evidence::Seen(_) | Evidence::None => match evidence.tells_in(self.first) {
                Some(delay) => {
                    self.worker.postpone(delay);
                    false
                }
                None => true,
            },
        }
    }

    fn evidence(&self, now: Duration) -> Evidence {
        let thread = self.sighting.thread.as_ref();
        match thread.and_then(|thread| thread.id) {
            Some(id) => Evidence::of(id, now),
            None => Evidence::None,
        }
    }

    fn tell(
        &mut self,
        phase: Phase,
        lasted: Duration,
        cause: Cause,
        task: Option<task::Id>,
    ) -> Stall {
        let mut stall = self.open.take().unwrap_or_else(|| Stall {
            phase,
            monitor: self.monitor.clone(),
            worker: self.index,
            thread: self.sighting.thread.clone(),
            task: None,
            began_at: clock::utc_now() - lasted,
            duration: lasted,
            cause,
            trace: None,
            missed: 0,
        });
        stall.phase = phase;
        stall.duration = lasted;
        stall.cause = cause;
        stall.task = task.or(stall.task);
        if phase != Phase::Ended {
            self.open = Some(stall.clone());
        }
        stall
    }
}
