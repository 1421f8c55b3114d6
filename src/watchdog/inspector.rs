//! The thread that finds out why a worker is stuck: it reads what the system says of the worker's thread,
//! asks that thread by a signal, and captures its stack. What the evidence means: `verdict.rs`.
//!
//! All of that may need what the program holds: memory, the lock of its memory map, a lock inside Tokio.
//! So the watchdog does not wait for it; a report without a timely answer has only what was known before.
//! The inspector also does for the watchdog what that must not do: wake tasks, and drop what is no longer
//! watched.

mod candidates;
mod census;
mod censuses;
mod investigation;
mod poll_investigation;
mod root_case;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::awake_clock::AwakeInstant;
use super::mailboxes::Mailboxes;
use super::messages::{Command, Due, Garbage, Stamp, Suspect};
use super::poll_subject::PollSubject;
use super::subject::Subject;
use super::throttle::Throttle;
use crate::clock;
use crate::foreign;
use crate::stack;
use crate::stall::StallId;
use crate::threads;
use candidates::Candidates;
use censuses::Censuses;
use investigation::Investigation;
use poll_investigation::PollInvestigation;
use root_case::RootCase;

/// How long the inspector waits for all threads together in one go.
const LONGEST_WAIT: Duration = Duration::from_millis(10);

/// Follows commands until the last one.
pub(super) fn run(mailboxes: &Arc<Mailboxes>) {
    stack::block_signals();
    let mut inspector = Inspector {
        mailboxes: Arc::clone(mailboxes),
        cases: Vec::new(),
        polls: Vec::new(),
        roots: Vec::new(),
        censuses: Censuses::default(),
        throttle: Throttle::default(),
        at: Stamp::new(AwakeInstant::START),
        follow_at: clock::now(),
    };
    inspector.throttle.update(clock::now());
    loop {
        let is_idle = inspector.cases.is_empty() && inspector.polls.is_empty();
        let follow_at = (!is_idle).then_some(inspector.follow_at);
        let due = follow_at
            .into_iter()
            .chain(inspector.throttle.due_at())
            .chain(inspector.roots.iter().filter_map(RootCase::due_at))
            .min();
        let command = mailboxes.inspector.pop(due);
        if matches!(command, Some(Command::Stop)) {
            return;
        }
        // A bug of loopmon costs what has been found out, and the panic hook has reported it.
        if foreign::call(|| inspector.act(command)).is_err() {
            inspector.cases.clear();
            inspector.polls.clear();
            inspector.roots.clear();
        }
    }
}

struct Inspector {
    mailboxes: Arc<Mailboxes>,
    /// The workers that are suspected or stalled.
    cases: Vec<Investigation>,
    /// The polls that are.
    polls: Vec<PollInvestigation>,
    /// The threads that are in a poll of `block_on` and suspected or stalled.
    roots: Vec<RootCase>,
    censuses: Censuses,
    throttle: Throttle,
    /// When the last command was given that has a stamp.
    at: Stamp,
    /// When all cases are followed up next.
    follow_at: Instant,
}

impl Inspector {
    fn act(&mut self, command: Option<Command>) {
        if let Some(command) = command {
            self.follow_command(command);
        }
        let now = clock::now();
        if now >= self.follow_at {
            let ticks = self.cases.iter().map(Investigation::tick);
            let ticks = ticks.chain(self.polls.iter().map(PollInvestigation::tick));
            self.follow_at = now + ticks.min().unwrap_or(LONGEST_WAIT);
            let until = now + LONGEST_WAIT;
            for case in &mut self.cases {
                case.follow(self.at, until, &mut self.censuses);
            }
            for poll in &mut self.polls {
                poll.follow(until);
            }
            // The command that ends a case may have been refused.
            self.cases.retain(|case| !case.is_abandoned(now));
            self.polls.retain(|poll| !poll.is_abandoned(now));
        }
        for root in &mut self.roots {
            root.follow(now, now + LONGEST_WAIT);
        }
        self.roots.retain(|root| !root.is_abandoned(now));
        self.throttle.update(now);
    }

    fn follow_command(&mut self, command: Command) {
        let until = clock::now() + LONGEST_WAIT;
        match command {
            Command::Suspect { id, suspect, at } => self.suspect(id, suspect, at, until),
            Command::Conclude { id, due } => self.conclude(id, due, until),
            Command::End { id, due, began } => self.end(id, due, began),
            Command::Clear(id) => {
                self.cases.retain(|case| case.id() != id);
                self.polls.retain(|poll| poll.id() != id);
                self.roots.retain(|root| root.id() != id);
            }
            Command::WakeProbe(subject) => subject.probe.wake(),
            Command::ObserveAll(subject) => subject.probe.observe_all(),
            Command::TakeCensus(subject) => self.censuses.prepare(&subject),
            Command::Free(memory) => drop(memory),
            Command::Dispose { subject, watch } => self.dispose(subject, watch),
            Command::DisposePolls { subject, watch } => self.dispose_polls(subject, watch),
            Command::Stop => {}
        }
    }

    fn suspect(&mut self, id: StallId, suspect: Suspect, at: Stamp, until: Instant) {
        self.at = at;
        let tick = match suspect {
            Suspect::Worker {
                subject,
                worker,
                frozen,
            } => {
                let candidates = Candidates::new(self.censuses.before(&subject, at));
                let mut case = Investigation::new(id, subject, worker, frozen, candidates);
                case.begin(at, until, &mut self.censuses);
                let tick = case.tick();
                self.cases.push(case);
                tick
            }
            Suspect::Root {
                root,
                subject,
                stretch,
            } => {
                let root = RootCase::begin(id, root, subject, stretch, at);
                return self.roots.extend(root);
            }
            Suspect::Poll { subject, poll } => {
                let mut poll = PollInvestigation::new(id, subject, poll);
                poll.begin(at, until);
                let tick = poll.tick();
                self.polls.push(poll);
                tick
            }
        };
        self.follow_at = self.follow_at.min(clock::now() + tick);
    }

    fn conclude(&mut self, id: StallId, due: Due, until: Instant) {
        self.at = due.at;
        if let Some(index) = self.position(id) {
            let is_only_worker = self.is_only_worker(index);
            let (case, censuses) = (&mut self.cases[index], &mut self.censuses);
            case.conclude(due, is_only_worker, until, censuses, &self.mailboxes);
        }
        if let Some(poll) = self.polls.iter_mut().find(|poll| poll.id() == id) {
            poll.conclude(due, until, &self.mailboxes);
        }
        if let Some(root) = self.roots.iter_mut().find(|root| root.id() == id) {
            root.conclude(due, until, &self.mailboxes);
        }
    }

    fn end(&mut self, id: StallId, due: Due, began: AwakeInstant) {
        self.at = due.at;
        if let Some(index) = self.position(id) {
            let is_only_worker = self.is_only_worker(index);
            let case = self.cases.swap_remove(index);
            case.end(due, began, is_only_worker, &self.mailboxes);
        }
        if let Some(index) = self.polls.iter().position(|poll| poll.id() == id) {
            let poll = self.polls.swap_remove(index);
            poll.end(due, began, &self.mailboxes);
        }
        if let Some(index) = self.roots.iter().position(|root| root.id() == id) {
            self.roots.swap_remove(index).end(due, &self.mailboxes);
        }
    }

    fn position(&self, id: StallId) -> Option<usize> {
        self.cases.iter().position(|case| case.id() == id)
    }

    /// Whether no other worker of the case's runtime is stuck.
    fn is_only_worker(&self, index: usize) -> bool {
        let case = &self.cases[index];
        !self.cases.iter().any(|other| other.is_worker_beside(case))
    }

    fn dispose_polls(&mut self, subject: Arc<PollSubject>, watch: Garbage) {
        self.polls.retain(|poll| !poll.is_of(&subject));
        self.mailboxes.give_slot_back();
        drop((subject, watch));
    }

    /// Drops a watch elsewhere: that may drop what the runtime's hooks own, which is foreign code.
    fn dispose(&mut self, subject: Arc<Subject>, watch: Garbage) {
        self.cases.retain(|case| !case.is_of(&subject));
        self.roots.retain(|root| !root.is_of(&subject));
        self.censuses.forget(&subject);
        self.mailboxes.give_slot_back();
        subject.probe.end();
        stack::with_signals(|| threads::drop_elsewhere((subject, watch)));
    }
}
