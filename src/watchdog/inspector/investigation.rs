//! One worker that is stuck: which thread runs it, and what that thread does.

mod report;
mod runner;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::candidates::Candidates;
use super::censuses::Censuses;
use crate::clock;
use crate::runtime::WorkerCounters;
use crate::stall::{OsThread, StallId};
use crate::watchdog::evidence::Evidence;
use crate::watchdog::messages::Stamp;
use crate::watchdog::probe::pool::PoolProbe;
use crate::watchdog::probe::thread::ThreadProbe;
use crate::watchdog::subject::Subject;
use crate::watchdog::verdict::CaseEvidence;

/// How long after the worker has gone on an investigation waits for the command that ends it.
const ABANDONED_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Investigation {
    id: StallId,
    subject: Arc<Subject>,
    worker: usize,
    frozen: WorkerCounters,
    /// The thread that probably runs the worker.
    thread: Option<OsThread>,
    /// What the thread did when the worker was first suspected.
    first: Evidence,
    probe: ThreadProbe,
    pool: PoolProbe,
    candidates: Candidates,
    /// The evidence of the last report.
    last: Option<CaseEvidence>,
    /// Whether a debugger or a signal held the thread: then there is no stall.
    is_held: bool,
    /// How often the worker had been observed when it was suspected.
    observations: u32,
    was_observed: bool,
    /// When the worker was first seen to have gone on.
    gone_on_at: Option<Instant>,
}

impl Investigation {
    pub(super) fn new(
        id: StallId,
        subject: Arc<Subject>,
        worker: usize,
        frozen: WorkerCounters,
        candidates: Candidates,
    ) -> Investigation {
        Investigation {
            id,
            worker,
            frozen,
            thread: subject.worker_threads().thread(worker),
            first: Evidence::None,
            probe: ThreadProbe::new(subject.stack_capture.clone()),
            pool: PoolProbe::default(),
            candidates,
            last: None,
            is_held: false,
            observations: subject.worker_threads().observations(worker),
            was_observed: false,
            gone_on_at: None,
            subject,
        }
    }

    pub(super) fn id(&self) -> StallId {
        self.id
    }

    pub(super) fn is_of(&self, subject: &Arc<Subject>) -> bool {
        Arc::ptr_eq(&self.subject, subject)
    }

    /// Whether this is another worker of the same runtime.
    pub(super) fn is_worker_beside(&self, other: &Investigation) -> bool {
        self.subject.runtime.id() == other.subject.runtime.id() && self.worker != other.worker
    }

    /// How often to follow it up.
    pub(super) fn tick(&self) -> Duration {
        self.subject.tick()
    }

    fn is_stuck(&self) -> bool {
        self.subject.counters(self.worker) == self.frozen
    }

    fn evidence(&self, at: Stamp) -> Evidence {
        let thread = self.thread.as_ref();
        Evidence::of(thread.and_then(|thread| thread.id), at.now())
    }

    /// Notes whether the worker has polled a task of loopmon while it is stuck.
    fn note_progress(&mut self) {
        let observations = self.subject.worker_threads().observations(self.worker);
        self.was_observed |= observations != self.observations && self.is_stuck();
    }

    /// At the suspicion. Nothing is waited for after `until`.
    pub(super) fn begin(&mut self, at: Stamp, until: Instant, censuses: &mut Censuses) {
        // Before the census, which takes long where there are many threads.
        self.first = self.evidence(at);
        if self.subject.has_many_workers {
            let like = self.subject.worker_threads().thread_like(self.worker);
            // The worker is stuck for half the threshold.
            let since = at.system.checked_sub(self.subject.threshold / 2);
            self.candidates
                .begin(like, |like| censuses.latest(&self.subject, like, since));
            if self.thread.is_none() {
                self.find_unobserved();
                self.first = self.evidence(at);
            }
        }
        if !self.is_stuck() {
            // The evidence may be from after the worker went on.
            self.first = Evidence::None;
            self.candidates.forget();
            return;
        }
        if !self.subject.has_many_workers && self.first == Evidence::Gone {
            self.subject.set_undriven(self.worker);
        }
        if self.subject.has_many_workers {
            self.ask(until);
            if self.first.is_asleep() {
                self.pool.ask(&self.subject.runtime);
            }
            return;
        }
        // The stall may be reported only when it is over, and then it is too late for a stack.
        let is_stuck = || self.subject.counters(self.worker) == self.frozen;
        self.probe.take_early(self.thread.as_ref(), until, is_stuck);
        if !self.is_root_asleep() {
            self.ask(until);
        }
    }

    /// At each tick from then on.
    pub(super) fn follow(&mut self, at: Stamp, until: Instant, censuses: &mut Censuses) {
        self.note_progress();
        if !self.is_stuck() {
            self.gone_on_at.get_or_insert_with(clock::now);
            return;
        }
        if self.is_held {
            return;
        }
        if self.subject.has_many_workers && !self.is_proven() {
            self.update_candidates(censuses);
            self.look_for_another(at, until);
        }
        if self.last.is_none() {
            if !self.is_root_asleep() {
                self.ask(until);
            }
        } else {
            let is_stuck = || self.subject.counters(self.worker) == self.frozen;
            self.probe.retry(self.thread.as_ref(), until, is_stuck);
        }
    }

    fn update_candidates(&mut self, censuses: &mut Censuses) {
        let is_stuck = || self.subject.counters(self.worker) == self.frozen;
        let take = |like, since| censuses.latest(&self.subject, like, since);
        self.candidates.update(take, is_stuck);
    }

    /// Whether the command that ends the investigation must have been refused.
    pub(super) fn is_abandoned(&self, now: Instant) -> bool {
        is_long_ago(self.gone_on_at, now)
    }

    /// Whether the thread sleeps, and the root watch may count on that: a signal would end the sleep.
    fn is_root_asleep(&self) -> bool {
        let root = self.subject.root.as_ref();
        let is_root = root.is_some_and(|root| self.thread.as_ref() == Some(root.thread()));
        !self.subject.has_many_workers && is_root && self.first.is_asleep()
    }

    /// Asks the thread which worker it runs, if it has not answered yet.
    fn ask(&mut self, until: Instant) {
        self.probe.ask_first(self.thread.as_ref(), until);
        if !self.subject.has_many_workers && self.probe.says(self.worker) == Some(false) {
            self.subject.set_undriven(self.worker);
        }
    }
}

/// Whether what is investigated has gone on so long ago that no command will end the investigation.
pub(super) fn is_long_ago(gone_on_at: Option<Instant>, now: Instant) -> bool {
    gone_on_at.is_some_and(|at| now.saturating_duration_since(at) >= ABANDONED_AFTER)
}
