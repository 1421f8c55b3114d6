//! One poll of an instrumented future that is long: what its thread does. Which thread that is, the thread has
//! recorded itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::investigation::is_long_ago;
use crate::clock;
use crate::polls::{PollId, Polls};
use crate::stall::{OsThread, StallId};
use crate::watchdog::awake_clock::AwakeInstant;
use crate::watchdog::evidence::Evidence;
use crate::watchdog::mailboxes::Mailboxes;
use crate::watchdog::messages::{Due, Ending, Event, Findings, Stack, Stamp};
use crate::watchdog::pauses;
use crate::watchdog::poll_subject::PollSubject;
use crate::watchdog::probe::thread::ThreadProbe;
use crate::watchdog::verdict::{CaseEvidence, with_the_call};

#[derive(Debug)]
pub(super) struct PollInvestigation {
    id: StallId,
    subject: Arc<PollSubject>,
    poll: PollId,
    polls: &'static Polls,
    thread: Option<OsThread>,
    /// What the thread did when the poll was first suspected.
    first: Evidence,
    probe: ThreadProbe,
    /// The evidence of the last report.
    last: Option<CaseEvidence>,
    /// Whether a debugger or a signal held the thread: then there is no stall.
    is_held: bool,
    /// When the poll was first seen to be over.
    over_at: Option<Instant>,
}

impl PollInvestigation {
    pub(super) fn new(id: StallId, subject: Arc<PollSubject>, poll: PollId) -> PollInvestigation {
        let polls = Polls::get();
        PollInvestigation {
            id,
            poll,
            polls,
            thread: polls.thread(poll),
            first: Evidence::None,
            probe: ThreadProbe::new(subject.stack_capture.clone()),
            last: None,
            is_held: false,
            over_at: None,
            subject,
        }
    }

    pub(super) fn id(&self) -> StallId {
        self.id
    }

    pub(super) fn is_of(&self, subject: &Arc<PollSubject>) -> bool {
        Arc::ptr_eq(&self.subject, subject)
    }

    /// How often to follow it up.
    pub(super) fn tick(&self) -> Duration {
        self.subject.tick()
    }

    /// Whether the command that ends the investigation must have been refused.
    pub(super) fn is_abandoned(&self, now: Instant) -> bool {
        is_long_ago(self.over_at, now)
    }

    fn goes_on(&self) -> bool {
        self.polls.is_running(self.poll)
    }

    /// At the suspicion. Nothing is waited for after `until`.
    pub(super) fn begin(&mut self, at: Stamp, until: Instant) {
        self.first = self.evidence(at);
        if self.goes_on() {
            self.probe.ask_first(self.thread.as_ref(), until);
        } else {
            // The evidence may be from after the end of the poll.
            self.first = Evidence::None;
        }
    }

    /// At each tick from then on.
    pub(super) fn follow(&mut self, until: Instant) {
        if !self.goes_on() {
            self.over_at.get_or_insert_with(clock::now);
        } else if self.last.is_none() && !self.is_held {
            self.probe.ask_first(self.thread.as_ref(), until);
        } else if !self.is_held {
            let (polls, poll) = (self.polls, self.poll);
            let goes_on = || polls.is_running(poll);
            self.probe.retry(self.thread.as_ref(), until, goes_on);
        }
    }

    /// A report is due while the poll goes on.
    pub(super) fn conclude(&mut self, due: Due, until: Instant, mailboxes: &Mailboxes) {
        let evidence = self.evidence(due.at);
        if evidence == Evidence::Held && self.last.is_none() && !self.is_held {
            self.is_held = true;
            pauses::add(due.lasted);
        }
        if self.is_held {
            return mailboxes.answer(self.id, due.number, Findings::NoStall);
        }
        if !self.goes_on() {
            // The evidence may be from after the end of the poll.
            let findings = match self.last {
                Some(_) => Findings::Nothing,
                None => {
                    let behaviour = self.first.cause_of_past(evidence, self.subject.threshold);
                    self.findings(CaseEvidence::of_poller(behaviour, None), None, false)
                }
            };
            return mailboxes.answer(self.id, due.number, findings);
        }
        let behaviour = evidence.cause_since(self.first, self.subject.threshold);
        let share = evidence.share_since(self.first);
        let evidence = CaseEvidence::of_poller(with_the_call(behaviour, self.last), share);
        self.last = Some(evidence);
        let stack_follows = self.probe.takes_stacks_of(self.thread.as_ref());
        let findings = self.findings(evidence, None, stack_follows);
        mailboxes.answer(self.id, due.number, findings);
        if stack_follows {
            self.take_stack(due.number, until, mailboxes);
        }
    }

    fn take_stack(&mut self, number: u32, until: Instant, mailboxes: &Mailboxes) {
        let (polls, poll) = (self.polls, self.poll);
        let goes_on = || polls.is_running(poll);
        self.probe.take(self.thread.as_ref(), until, goes_on);
        let stack = Stack {
            id: self.id,
            number,
            snapshot: self.probe.snapshot(),
            says_worker: None,
            task: self.probe.task(),
            changed_task: false,
        };
        mailboxes.event(Event::Stack(stack)).ok();
    }

    /// The poll is over. It began at `began`.
    pub(super) fn end(mut self, due: Due, began: AwakeInstant, mailboxes: &Mailboxes) {
        if self.is_held {
            return mailboxes.answer(self.id, due.number, Findings::NoStall);
        }
        self.probe.take_late();
        let live = self.last;
        let evidence = live.unwrap_or_else(|| {
            let (over, threshold) = (self.evidence(due.at), self.subject.threshold);
            let behaviour = self.first.cause_afterwards(began, over, threshold);
            CaseEvidence::of_poller(behaviour, None)
        });
        let ending = Ending {
            live,
            is_unattended: false,
        };
        let findings = self.findings(evidence, Some(ending), false);
        mailboxes.answer(self.id, due.number, findings);
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
