//! One worker that is stuck: which thread runs it, and what that thread does.

mod runner;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::candidates::Candidates;
use super::censuses::Censuses;
use crate::clock;
use crate::runtime::WorkerCounters;
use crate::stall::{Cause, OsThread, StallId};
use crate::watchdog::awake_clock::AwakeInstant;
use crate::watchdog::evidence::Evidence;
use crate::watchdog::mailboxes::Mailboxes;
use crate::watchdog::messages::{Due, Ending, Event, Findings, Stack, Stamp};
use crate::watchdog::pauses;
use crate::watchdog::probe::pool::PoolProbe;
use crate::watchdog::probe::thread::ThreadProbe;
use crate::watchdog::subject::Subject;
use crate::watchdog::verdict::{CaseEvidence, with_the_call};

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

    /// A report is due while the stall goes on.
    pub(super) fn conclude(
        &mut self,
        due: Due,
        is_only_worker: bool,
        until: Instant,
        censuses: &mut Censuses,
        mailboxes: &Mailboxes,
    ) {
        let evidence = self.evidence(due.at);
        if evidence == Evidence::Held && self.last.is_none() && !self.is_held {
            self.is_held = true;
            pauses::add(due.lasted);
        }
        if self.is_held {
            return mailboxes.answer(self.id, due.number, Findings::NoStall);
        }
        if self.subject.has_many_workers && !self.is_proven() {
            self.update_candidates(censuses);
        }
        let behaviour = evidence.cause_since(self.first, self.subject.threshold);
        let behaviour = with_the_call(behaviour, self.last);
        let mut known = self.case_evidence(due, is_only_worker, evidence, behaviour);
        if !self.is_stuck() {
            // The evidence may be from after the end of the stall.
            let findings = match self.last {
                Some(_) => Findings::Nothing,
                None => {
                    known.behaviour = self.first.cause_of_past(evidence, self.subject.threshold);
                    self.findings(known, None, false)
                }
            };
            return mailboxes.answer(self.id, due.number, findings);
        }
        let evidence = known;
        self.last = Some(evidence);
        let stack_follows = self.probe.takes_stacks_of(self.thread.as_ref());
        let findings = self.findings(evidence, None, stack_follows);
        mailboxes.answer(self.id, due.number, findings);
        if stack_follows {
            self.take_stack(due.number, until, mailboxes);
        }
    }

    fn take_stack(&mut self, number: u32, until: Instant, mailboxes: &Mailboxes) {
        let is_stuck = || self.subject.counters(self.worker) == self.frozen;
        let changed_task = self.probe.take(self.thread.as_ref(), until, is_stuck);
        let says_worker = self.probe.says(self.worker);
        if let Some(last) = &mut self.last {
            last.says_worker = says_worker;
            last.changed_task = changed_task;
        }
        let stack = Stack {
            id: self.id,
            number,
            snapshot: self.probe.snapshot(),
            says_worker,
            task: self.probe.task(),
            changed_task,
        };
        mailboxes.event(Event::Stack(stack)).ok();
    }

    /// The stall is over. It began at `began`.
    pub(super) fn end(
        mut self,
        due: Due,
        began: AwakeInstant,
        is_only_worker: bool,
        mailboxes: &Mailboxes,
    ) {
        if self.is_held {
            return mailboxes.answer(self.id, due.number, Findings::NoStall);
        }
        let is_unattended = due.hint == Some(Cause::Unattended);
        self.probe.take_late();
        let live = self.last;
        let mut evidence = match live {
            Some(last) => CaseEvidence {
                says_worker: self.probe.says(self.worker).or(last.says_worker),
                stack: self.probe.stack_shows(),
                share: last
                    .share
                    .map(|live| self.evidence(due.at).share_in(live, self.first)),
                ..last
            },
            None => {
                let over = self.evidence(due.at);
                let threshold = self.subject.threshold;
                let behaviour = self.first.cause_afterwards(began, over, threshold);
                self.case_evidence(due, is_only_worker, over, behaviour)
            }
        };
        evidence.hint = due.hint.filter(|_| !is_unattended);
        let worker_threads = self.subject.worker_threads();
        let may_have_moved = self.subject.has_many_workers && worker_threads.have_moved();
        if may_have_moved && !evidence.proves_thread() {
            let found = self.candidates.only_one_that_rests_now();
            if let Some((thread, cause)) = found.filter(|(thread, _)| self.is_observed_on(thread)) {
                self.thread = Some(thread);
                self.probe.end();
                evidence = CaseEvidence {
                    says_worker: None,
                    stack: None,
                    is_likely: true,
                    behaviour: cause,
                    share: None,
                    ..evidence
                };
            }
        }
        let ending = Ending {
            live,
            is_unattended,
        };
        let findings = self.findings(evidence, Some(ending), false);
        mailboxes.answer(self.id, due.number, findings);
    }

    fn case_evidence(
        &mut self,
        due: Due,
        is_only_worker: bool,
        evidence: Evidence,
        behaviour: Cause,
    ) -> CaseEvidence {
        let has_stayed = evidence.has_stayed_since(self.first);
        CaseEvidence {
            hint: due.hint,
            is_known_to_poll: false,
            says_worker: self.probe.says(self.worker),
            changed_task: false,
            stack: self.probe.stack_shows(),
            is_only_worker: is_only_worker && has_stayed,
            is_likely: self.is_likely(),
            looks_parked: self.looks_parked(),
            pool_waits: self.pool.waits(&self.subject.runtime),
            may_be_undriven: !self.subject.has_many_workers,
            behaviour,
            share: evidence.share_since(self.first),
        }
    }

    fn evidence(&self, at: Stamp) -> Evidence {
        let thread = self.thread.as_ref();
        Evidence::of(thread.and_then(|thread| thread.id), at.now())
    }

    fn findings(
        &self,
        evidence: CaseEvidence,
        ending: Option<Ending>,
        stack_follows: bool,
    ) -> Findings {
        Findings::Found {
            evidence,
            ending,
            thread: self.thread.clone(),
            task: self.probe.task(),
            snapshot: self.probe.snapshot(),
            stack_follows,
        }
    }
}

/// Whether what is investigated has gone on so long ago that no command will end the investigation.
pub(super) fn is_long_ago(gone_on_at: Option<Instant>, now: Instant) -> bool {
    gone_on_at.is_some_and(|at| now.saturating_duration_since(at) >= ABANDONED_AFTER)
}
