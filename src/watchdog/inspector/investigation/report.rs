//! What is answered when a report of a worker that is stuck is due.

use std::time::Instant;

use super::Investigation;
use crate::stall::Cause;
use crate::watchdog::awake_clock::AwakeInstant;
use crate::watchdog::evidence::Evidence;
use crate::watchdog::inspector::censuses::Censuses;
use crate::watchdog::mailboxes::Mailboxes;
use crate::watchdog::messages::{Due, Ending, Event, Findings, Stack};
use crate::watchdog::pauses;
use crate::watchdog::verdict::{CaseEvidence, with_the_call};

impl Investigation {
    /// A report is due while the stall goes on.
    pub(in crate::watchdog::inspector) fn conclude(
        &mut self,
        due: Due,
        is_only_worker: bool,
        until: Instant,
        censuses: &mut Censuses,
        mailboxes: &Mailboxes,
    ) {
        self.note_progress();
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
    pub(in crate::watchdog::inspector) fn end(
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
        evidence.hint = self.hint(due).filter(|_| !is_unattended);
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
            hint: self.hint(due),
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

    /// What the counters show. That there are fewer tasks than before is no progress of the only worker if another
    /// thread may have ended one, which had handed the worker over.
    fn hint(&self, due: Due) -> Option<Cause> {
        let is_certain = self.subject.workers() > 1
            || !self.subject.has_many_workers
            || self.was_observed
            || self.candidates.is_alone();
        let is_proven = |cause: &Cause| is_certain || *cause != Cause::ManyPolls;
        due.hint.filter(is_proven)
    }
}
