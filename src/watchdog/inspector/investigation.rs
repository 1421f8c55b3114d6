//! One worker that stands still: who runs it, and what its thread does.

mod runner;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::mailboxes::Mailboxes;
use super::super::probe::pool::PoolProbe;
use super::super::probe::thread::ThreadProbe;
use super::Stamp;
use super::candidates::Candidates;
use crate::clock;
use crate::runtime::WorkerCounters;
use crate::stall::{Cause, OsThread, StallId};
use crate::watchdog::evidence::Evidence;
use crate::watchdog::pauses;
use crate::watchdog::reporter::{Answer, Answered, News, Stack};
use crate::watchdog::subject::Subject;
use crate::watchdog::verdict::Known;

#[derive(Debug)]
pub(super) struct Case {
    id: StallId,
    subject: Arc<Subject>,
    worker: usize,
    frozen: WorkerCounters,
    /// The thread that may run it.
    thread: Option<OsThread>,
    /// What that did when the worker was first suspected.
    first: Evidence,
    probe: ThreadProbe,
    pool: PoolProbe,
    candidates: Candidates,
    /// What was known when a report was due last.
    last: Option<Known>,
    /// A debugger or a signal held the thread: it is no stall.
    is_held: bool,
    /// When it was first seen to have gone on.
    gone_on_at: Option<Instant>,
}

/// For how long the end of a case is waited for.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// What a report that is due needs to know of its moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// Of the report.
    pub(super) number: u32,
    /// How long the worker has stood still.
    pub(super) lasted: Duration,
    /// What the counters alone show to be the cause.
    pub(super) shown: Option<Cause>,
    pub(super) at: Stamp,
    /// No other worker of the runtime stands still.
    pub(super) is_only_one: bool,
}

impl Case {
    pub(super) fn new(
        id: StallId,
        subject: Arc<Subject>,
        worker: usize,
        frozen: WorkerCounters,
        candidates: Candidates,
    ) -> Case {
        Case {
            id,
            worker,
            frozen,
            thread: subject.worker_threads().thread(worker),
            first: Evidence::None,
            probe: ThreadProbe::new(subject.stack_capture),
            pool: PoolProbe::default(),
            candidates,
            last: None,
            is_held: false,
            gone_on_at: None,
            subject,
        }
    }

    pub(super) fn id(&self) -> StallId {
        self.id
    }

    pub(super) fn is_of(&self, subject: *const Subject) -> bool {
        Arc::as_ptr(&self.subject) == subject
    }

    pub(super) fn is_another_worker_than(&self, other: &Case) -> bool {
        self.subject.runtime.id() == other.subject.runtime.id() && self.worker != other.worker
    }

    /// How often to look at it.
    pub(super) fn tick(&self) -> Duration {
        self.subject.tick()
    }

    fn still_stands(&self) -> bool {
        self.subject.counters(self.worker) == self.frozen
    }

    /// At the suspicion. After `until` nothing is waited for.
    pub(super) fn begin(&mut self, at: Stamp, until: Instant) {
        self.first = self.evidence(at);
        if self.subject.has_many_workers {
            let like = self.subject.worker_threads().thread_like(self.worker);
            self.candidates.begin(like);
        }
        if !self.still_stands() {
            // It is of the time after.
            self.first = Evidence::None;
            self.candidates.forget();
            return;
        }
        if !self.subject.has_many_workers && self.first == Evidence::Gone {
            self.subject.leave(self.worker);
        }
        self.ask(until);
        if self.subject.has_many_workers && self.first.is_asleep() {
            self.pool.ask(&self.subject.runtime);
        }
    }

    /// At each look from then on.
    pub(super) fn follow(&mut self, at: Stamp, until: Instant) {
        if !self.still_stands() {
            self.gone_on_at.get_or_insert_with(clock::now);
            return;
        }
        if self.is_held {
            return;
        }
        if self.subject.has_many_workers && !self.is_proven() {
            let (subject, worker, frozen) = (&self.subject, self.worker, self.frozen);
            self.candidates.look(|| subject.counters(worker) == frozen);
            self.look_for_another(at, until);
        }
        if self.last.is_none() {
            self.ask(until);
        } else {
            let (subject, worker, frozen) = (&self.subject, self.worker, self.frozen);
            let still = || subject.counters(worker) == frozen;
            self.probe.retry(self.thread.as_ref(), until, still);
        }
    }

    /// Nobody has said how it ended.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let gone_for = |at| now.saturating_duration_since(at);
        self.gone_on_at.is_some_and(|at| gone_for(at) >= LOST_AFTER)
    }

    /// Asks the thread who it is, if it has not been asked yet.
    fn ask(&mut self, until: Instant) {
        self.probe.ask_first(self.thread.as_ref(), until);
        if !self.subject.has_many_workers && self.probe.says(self.worker) == Some(false) {
            self.subject.leave(self.worker);
        }
    }

    /// A report is due while it lasts.
    pub(super) fn conclude(&mut self, due: Due, until: Instant, mailboxes: &Mailboxes) {
        let evidence = self.evidence(due.at);
        if evidence == Evidence::Held && self.last.is_none() && !self.is_held {
            self.is_held = true;
            pauses::add(due.lasted);
        }
        if self.is_held {
            return self.answer(due.number, Answered::NoStall, mailboxes);
        }
        if self.subject.has_many_workers && !self.is_proven() {
            let (subject, worker, frozen) = (&self.subject, self.worker, self.frozen);
            self.candidates.look(|| subject.counters(worker) == frozen);
        }
        let behaviour = evidence.cause_since(self.first, self.subject.threshold);
        let known = self.known(due, evidence, self.with_the_call(behaviour));
        if !self.still_stands() {
            // What was found out may be of the time after it.
            return self.answer(due.number, Answered::NothingNew, mailboxes);
        }
        self.last = Some(known);
        let stack_follows = self.probe.takes_stacks_of(self.thread.as_ref());
        let answered = self.answered(known, stack_follows);
        self.answer(due.number, answered, mailboxes);
        if stack_follows {
            self.take_stack(due.number, until, mailboxes);
        }
    }

    /// A thread that is about to come back sleeps no longer; it was seen in which call it did.
    fn with_the_call(&self, behaviour: Cause) -> Cause {
        match (behaviour, self.last.map(|last| last.behaviour)) {
            (Cause::Blocked { syscall: None }, Some(seen @ Cause::Blocked { .. })) => seen,
            _ => behaviour,
        }
    }

    fn take_stack(&mut self, number: u32, until: Instant, mailboxes: &Mailboxes) {
        let (subject, worker, frozen) = (&self.subject, self.worker, self.frozen);
        let still = || subject.counters(worker) == frozen;
        let went_on = self.probe.take(self.thread.as_ref(), until, still);
        if let Some(last) = &mut self.last {
            last.said = self.probe.says(self.worker);
            last.went_on |= went_on;
        }
        let stack = Stack {
            id: self.id,
            number,
            snapshot: self.probe.snapshot(),
            said: self.probe.says(self.worker),
            task: self.probe.task(),
            went_on,
        };
        mailboxes.report(News::Stack(stack)).ok();
    }

    /// It is over; it began at this credited time.
    pub(super) fn end(mut self, due: Due, began: Duration, mailboxes: &Mailboxes) {
        if self.is_held {
            return self.answer(due.number, Answered::NoStall, mailboxes);
        }
        let is_unattended = due.shown == Some(Cause::Unattended);
        let shown = due.shown.filter(|_| !is_unattended);
        let live = self.last;
        let mut known = match live {
            Some(last) => Known {
                stack: self.probe.stack_shows(),
                ..last
            },
            None => {
                let over = self.evidence(due.at);
                let threshold = self.subject.threshold;
                let behaviour = self.first.cause_afterwards(began, over, threshold);
                self.known(due, over, behaviour)
            }
        };
        known.shown = shown;
        let worker_threads = self.subject.worker_threads();
        let may_have_moved = self.subject.has_many_workers && worker_threads.have_moved();
        if may_have_moved && !known.points_at_its_thread() {
            let found = self.candidates.only_one_that_rests_now();
            if let Some((thread, cause)) = found.filter(|(thread, _)| self.is_met_on(thread)) {
                self.thread = Some(thread);
                self.probe.end();
                known = Known {
                    said: None,
                    stack: None,
                    is_likely: true,
                    behaviour: cause,
                    ..known
                };
            }
        }
        let mut answered = self.answered(known, false);
        if let Answered::Known {
            live: of, ended, ..
        } = &mut answered
        {
            *of = live;
            *ended = Some(is_unattended);
        }
        self.answer(due.number, answered, mailboxes);
    }

    fn known(&mut self, due: Due, evidence: Evidence, behaviour: Cause) -> Known {
        let has_stayed = evidence.has_stayed_since(self.first);
        Known {
            shown: due.shown,
            said: self.probe.says(self.worker),
            went_on: false,
            stack: self.probe.stack_shows(),
            is_only_one: due.is_only_one && has_stayed,
            is_likely: self.is_likely(),
            pool_waits: self.pool.waits(&self.subject.runtime),
            may_be_left: !self.subject.has_many_workers,
            behaviour,
        }
    }

    fn evidence(&self, at: Stamp) -> Evidence {
        match self.thread.as_ref().and_then(|thread| thread.id) {
            Some(id) => Evidence::of(id, at.now()),
            None => Evidence::None,
        }
    }

    fn answered(&self, known: Known, stack_follows: bool) -> Answered {
        Answered::Known {
            known,
            live: None,
            ended: None,
            thread: self.thread.clone(),
            task: self.probe.task(),
            snapshot: self.probe.snapshot(),
            stack_follows,
        }
    }

    fn answer(&self, number: u32, answered: Answered, mailboxes: &Mailboxes) {
        let answer = Answer {
            id: self.id,
            number,
            answered,
        };
        // If it is lost, the report is told without.
        mailboxes.report(News::Answer(answer)).ok();
    }
}
