//! The threads that may call `block_on`: whether they are in a poll there, and what they do in it.
//!
//! A thread that sleeps is judged once, as it sleeps on in the same place. One that runs is looked at again and
//! again: it must be in a poll each time, must not have slept in between, and Tokio must have noted nothing that
//! comes with a new poll.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::investigation::is_long_ago;
use crate::clock;
use crate::procfs::Thread;
use crate::stack::{self, OnCpuTracker, StackSnapshot};
use crate::stall::StallId;
use crate::watchdog::evidence::Evidence;
use crate::watchdog::mailboxes::Mailboxes;
use crate::watchdog::messages::{Due, Ending, Event, Findings, Stack, Stamp};
use crate::watchdog::root_detector::{Judgement, Stretch};
use crate::watchdog::root_thread::RootThread;
use crate::watchdog::subject::Subject;
use crate::watchdog::verdict::CaseEvidence;

/// How soon a thread that runs is looked at again: at first, and then one part in so many of the time since.
const FIRST_INTERVAL: Duration = Duration::from_millis(1);
const PRECISION: u32 = 100;

/// How often a thread that shows no stack is tried again, between two reports.
const RETRIES: u32 = 5;

/// A thread that is in a poll.
#[derive(Debug)]
pub(super) struct RootCase {
    id: StallId,
    root: Arc<RootThread>,
    subject: Arc<Subject>,
    stretch: Stretch,
    began: Instant,
    /// When the thread is looked at next.
    look_at: Instant,
    /// What the thread did when it was first suspected.
    first: Evidence,
    seen: Seen,
    tracker: OnCpuTracker,
    /// The latest snapshot that has a stack. If none has, the latest, which shows why.
    snapshot: Option<Arc<StackSnapshot>>,
    /// How often a stack that could not be taken is tried again, until the next report.
    retries: u32,
    /// The evidence of the last report.
    last: Option<CaseEvidence>,
    /// When the thread was first seen to have gone on.
    gone_on_at: Option<Instant>,
}

/// What stays the same in one poll of a thread that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// It is new in each call of `block_on`.
    seed: Vec<u8>,
    /// What shows another poll in the same call. Not needed where Tokio counts how often the thread parks.
    budget: Option<u8>,
    /// The task that a `LocalSet` polls there.
    task: Vec<u8>,
    sleeps: Option<u64>,
}

impl RootCase {
    /// Judges a thread. Returns `None` if it is not in a poll.
    pub(super) fn begin(
        id: StallId,
        root: Arc<RootThread>,
        subject: Arc<Subject>,
        stretch: Stretch,
        at: Stamp,
    ) -> Option<RootCase> {
        let seen = look(&root, &subject, stretch);
        let now = clock::now();
        let first = evidence(&root, at);
        let polls = seen.is_some() && first != Evidence::Held;
        judge(&root, stretch, polls, Duration::ZERO);
        let mut case = RootCase {
            id,
            stretch,
            began: now,
            look_at: now + FIRST_INTERVAL,
            first,
            seen: seen.filter(|_| polls)?,
            tracker: OnCpuTracker::default(),
            snapshot: None,
            retries: 0,
            last: None,
            gone_on_at: None,
            root,
            subject,
        };
        if let Some(target) = case.root.target().filter(|_| !stretch.is_asleep) {
            // So that the thread may be asked later.
            stack::follow(target, &mut case.tracker, &case.subject.stack_capture);
        }
        Some(case)
    }

    pub(super) fn id(&self) -> StallId {
        self.id
    }

    pub(super) fn is_of(&self, subject: &Arc<Subject>) -> bool {
        Arc::ptr_eq(&self.subject, subject)
    }

    /// When the thread must be looked at. `None` if no more can be found out.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let watched = !self.stretch.is_asleep && self.gone_on_at.is_none();
        watched.then_some(self.look_at)
    }

    /// Looks at a thread that runs, if it is time. Nothing is waited for after `until`.
    pub(super) fn follow(&mut self, now: Instant, until: Instant) {
        if self.due_at().is_none_or(|due| now < due) {
            return;
        }
        if self.is_stuck() {
            let since = now.saturating_duration_since(self.began);
            judge(&self.root, self.stretch, true, since);
            self.look_at = now + (since / PRECISION).clamp(FIRST_INTERVAL, self.subject.tick());
            if self.retries > 0 && self.lacks_stack() {
                self.retries -= 1;
                self.take_stack(until);
            }
        }
    }

    fn lacks_stack(&self) -> bool {
        let snapshot = self.snapshot.as_ref();
        snapshot.is_some_and(|snapshot| !snapshot.shows_calls())
    }

    /// Whether the command that ends the case must have been refused.
    pub(super) fn is_abandoned(&self, now: Instant) -> bool {
        is_long_ago(self.gone_on_at, now)
    }

    /// Whether the thread is in the poll in which it was suspected. If not, judges anew.
    fn is_stuck(&mut self) -> bool {
        if self.gone_on_at.is_some() {
            return false;
        }
        let seen = look(&self.root, &self.subject, self.stretch);
        let is_stuck = seen.as_ref() == Some(&self.seen);
        if !is_stuck {
            self.gone_on_at = Some(clock::now());
            judge(&self.root, self.stretch, false, Duration::ZERO);
        }
        is_stuck
    }

    /// A report is due while the stall goes on. Nothing is waited for after `until`.
    pub(super) fn conclude(&mut self, due: Due, until: Instant, mailboxes: &Mailboxes) {
        let evidence = evidence(&self.root, due.at);
        if !self.is_stuck() {
            // The evidence may be from after the end of the stall.
            return mailboxes.answer(self.id, due.number, Findings::Nothing);
        }
        let behaviour = evidence.cause_since(self.first, self.subject.threshold);
        let known = CaseEvidence::of_poller(behaviour, evidence.share_since(self.first));
        self.last = Some(known);
        mailboxes.answer(self.id, due.number, self.findings(known, None, true));
        self.retries = RETRIES;
        self.take_stack(until);
        let stack = Stack {
            id: self.id,
            number: due.number,
            snapshot: self.snapshot.clone(),
            says_worker: known.says_worker,
            task: None,
            changed_task: false,
        };
        mailboxes.event(Event::Stack(stack)).ok();
    }

    fn take_stack(&mut self, until: Instant) {
        let Some(target) = self.root.target() else {
            return;
        };
        let mut settings = self.subject.stack_capture.clone();
        if self.stretch.is_asleep {
            // A signal would end the sleep by which the stall is known.
            settings = settings.without_signals();
        }
        self.take_late();
        let snapshot = StackSnapshot::take(target, &mut self.tracker, &settings, until);
        let goes_on = self.is_stuck();
        self.tracker.conclude(goes_on);
        let Some(snapshot) = snapshot.filter(|_| goes_on) else {
            return;
        };
        if snapshot.shows_calls() || self.snapshot.is_none() || self.lacks_stack() {
            self.snapshot = Some(snapshot);
        }
    }

    /// Takes the stack for which the thread was asked in vain, if it has answered since.
    fn take_late(&mut self) {
        let late = StackSnapshot::answered_late(&mut self.tracker, &self.subject.stack_capture);
        if late.is_some() && self.lacks_stack() {
            self.snapshot = late;
        }
    }

    /// The stall is over.
    pub(super) fn end(mut self, due: Due, mailboxes: &Mailboxes) {
        self.take_late();
        let findings = match self.last {
            Some(last) => {
                let over = evidence(&self.root, due.at);
                let known = CaseEvidence {
                    share: last.share.map(|live| over.share_in(live, self.first)),
                    ..last
                };
                let ending = Ending {
                    live: Some(last),
                    is_unattended: false,
                };
                self.findings(known, Some(ending), false)
            }
            None => Findings::Nothing,
        };
        mailboxes.answer(self.id, due.number, findings);
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
            thread: Some(self.root.thread().clone()),
            task: None,
            snapshot: self.snapshot.clone(),
            stack_follows,
        }
    }
}

fn judge(root: &RootThread, stretch: Stretch, polls: bool, seen_for: Duration) {
    root.judge(Judgement {
        number: stretch.number,
        polls,
        seen_for,
    });
}

/// Returns what stays the same in the poll that the thread is in; `None` if it is in none.
fn look(root: &RootThread, subject: &Subject, stretch: Stretch) -> Option<Seen> {
    let thread = Thread(root.thread().id?);
    let sleeps_on = || !stretch.is_asleep || thread.times() == Some(stretch.times);
    if !sleeps_on() {
        return None;
    }
    let look = root.look(&subject.runtime)?;
    // On a `multi_thread` runtime, the threads that drive the scheduler are workers.
    let is_root = look.polls && look.drives != subject.has_many_workers;
    let mut seen = Seen {
        seed: look.seed,
        budget: None,
        task: Vec::new(),
        sleeps: None,
    };
    if !stretch.is_asleep && subject.has_many_workers {
        seen.budget = look.budget;
        seen.task = look.task;
        seen.sleeps = Some(stack::sleeps(root.target()?)?);
    }
    (is_root && sleeps_on()).then_some(seen)
}

fn evidence(root: &RootThread, at: Stamp) -> Evidence {
    Evidence::of(root.thread().id, at.now())
}
