//! The reports that wait to be published. Pure: the time is passed in.
//!
//! A report waits for the inspector's answer, for no longer than the threshold or 100 ms. Then it waits for
//! its stack to be captured and resolved, until the next report of the same worker, the end of the watch,
//! or [`LONGEST_WAIT`]. So the reports of a worker keep their order, no more than one of them waits, and no
//! report waits for one of another worker.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task;

use crate::stack::StackSnapshot;
use crate::stall::{Cause, OsThread, Phase, Stall, StallId};
use crate::watchdog::messages::{Answer, Ending, Findings, Report, Stack};
use crate::watchdog::outlet::Outlet;
use crate::watchdog::verdict::{self, CaseEvidence};

/// Long enough to read the debug information of a large program on a crowded machine. Readers feel this
/// limit at the end of a stall, and with a threshold that is longer. Without it, a stuck thread that holds a
/// lock which the resolver needs would go unreported.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A test that is about to fail has more time: it must know who is to blame, and be right on a crowded machine.
const LONGEST_WAIT_OF_A_TEST: Duration = Duration::from_secs(60);

/// There is room for so many reports before the program's allocator is needed, in which a thread may be
/// stuck.
const ROOM: usize = 128;

#[derive(Debug)]
pub(super) struct PendingReports {
    waiting: Vec<Waiting>,
    due: Vec<Waiting>,
    /// What was last reported of each stall that goes on, for reports of which nothing new is known.
    reported: HashMap<StallId, Reported>,
    /// The channels of watches that have ended, which stay open for the stacks of their last reports.
    ending: Vec<Arc<Outlet>>,
}

#[derive(Debug, Clone)]
struct Reported {
    outlet: Arc<Outlet>,
    cause: Cause,
    thread: Option<OsThread>,
    task: Option<task::Id>,
}

#[derive(Debug)]
struct Waiting {
    report: Report,
    /// When the report is published at the latest.
    until: Instant,
    /// `None` until the inspector answers.
    findings: Option<Findings>,
}

impl PendingReports {
    pub(super) fn new() -> PendingReports {
        PendingReports {
            waiting: Vec::with_capacity(ROOM),
            due: Vec::with_capacity(ROOM),
            reported: HashMap::with_capacity(ROOM),
            ending: Vec::new(),
        }
    }

    /// Adds a report. An earlier one of the same worker waits no longer, unless a test wants all stacks.
    pub(super) fn arrive(&mut self, report: Report, now: Instant) {
        let is_of_same_worker = |other: &Report| {
            let worker = report.stall.worker();
            Arc::ptr_eq(&other.outlet, &report.outlet)
                && worker.is_some_and(|worker| other.stall.worker() == Some(worker))
        };
        // Several futures of one name may be stuck at once.
        self.release(|Waiting { report: other, .. }| {
            !other.outlet.is_for_test
                && (other.stall.id == report.stall.id || is_of_same_worker(other))
        });
        let (until, findings) = match report.answer_within {
            Some(_) if report.outlet.is_for_test => (now + LONGEST_WAIT, None),
            Some(wait) => (now + wait, None),
            None => (now, Some(Findings::Nothing)),
        };
        self.waiting.push(Waiting {
            report,
            until,
            findings,
        });
    }

    /// Adds the inspector's answer to its report, unless the answer is too late.
    pub(super) fn answer(&mut self, answer: Answer, now: Instant) {
        if let Some(waiting) = self.find(answer.id, answer.number) {
            let is_for_test = waiting.report.outlet.is_for_test;
            waiting.until = now
                + match is_for_test {
                    true => LONGEST_WAIT_OF_A_TEST,
                    false => LONGEST_WAIT,
                };
            waiting.findings = Some(answer.findings);
        }
    }

    /// Adds the stack that an answer has announced.
    pub(super) fn stack(&mut self, stack: Stack) {
        let waiting = self.find(stack.id, stack.number);
        if let Some(Findings::Found {
            evidence,
            task,
            snapshot,
            stack_follows,
            ..
        }) = waiting.and_then(|waiting| waiting.findings.as_mut())
        {
            evidence.says_worker = stack.says_worker;
            evidence.changed_task = stack.changed_task;
            *task = stack.task;
            *snapshot = stack.snapshot;
            *stack_follows = false;
        }
    }

    fn find(&mut self, id: StallId, number: u32) -> Option<&mut Waiting> {
        self.waiting
            .iter_mut()
            .find(|waiting| waiting.report.stall.id == id && waiting.report.number == number)
    }

    /// A watch that publishes on this channel has ended: publishes all that waits for it, with the stacks if a
    /// test wants them.
    pub(super) fn end(&mut self, outlet: Arc<Outlet>, now: Instant) {
        if !outlet.is_for_test {
            self.release(|waiting| Arc::ptr_eq(&waiting.report.outlet, &outlet));
        }
        self.ending.push(outlet);
        self.publish(now);
    }

    /// Whether a channel stays open for the stacks of its last reports.
    pub(super) fn is_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Ends the watches of which nothing waits any more.
    fn end_watches(&mut self) {
        let mut index = 0;
        while let Some(outlet) = self.ending.get(index) {
            let is_of = |other: &Arc<Outlet>| Arc::ptr_eq(other, outlet);
            if self
                .waiting
                .iter()
                .any(|waiting| is_of(&waiting.report.outlet))
            {
                index += 1;
                continue;
            }
            self.reported.retain(|_, reported| !is_of(&reported.outlet));
            self.ending.swap_remove(index).end_watch();
        }
    }

    /// Publishes the reports that are complete, or have waited long enough.
    pub(super) fn publish(&mut self, now: Instant) {
        self.release(|waiting| waiting.is_complete() || waiting.until <= now);
        let mut due = mem::take(&mut self.due);
        for waiting in due.drain(..) {
            let outlet = Arc::clone(&waiting.report.outlet);
            if let Some((stall, late)) = self.complete(waiting) {
                outlet.publish(stall, late);
            }
        }
        self.due = due;
        self.end_watches();
    }

    /// The stall with what is known of it by now, and its stack if that is not resolved yet. `None` if it is no
    /// stall.
    fn complete(&mut self, waiting: Waiting) -> Option<(Stall, Option<Arc<StackSnapshot>>)> {
        let mut stall = waiting.report.stall;
        let mut late = None;
        let reported = self.reported.remove(&stall.id);
        match waiting.findings {
            Some(Findings::NoStall) => return None,
            Some(findings @ Findings::Found { .. }) => {
                late = findings.apply_to(&mut stall);
            }
            None | Some(Findings::Nothing) => {
                if let Some(reported) = reported {
                    stall.cause = reported.cause;
                    stall.thread = reported.thread;
                    stall.task = reported.task;
                }
            }
        }
        if stall.phase != Phase::Ended {
            let reported = Reported {
                outlet: waiting.report.outlet,
                cause: stall.cause,
                thread: stall.thread.clone(),
                task: stall.task,
            };
            self.reported.insert(stall.id, reported);
        }
        Some((stall, late))
    }

    /// When the next report has waited long enough.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    /// Makes these reports due, in their order.
    fn release(&mut self, which: impl Fn(&Waiting) -> bool) {
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            if which(waiting) {
                let released = self.waiting.remove(index);
                self.due.push(released);
            } else {
                index += 1;
            }
        }
    }
}

impl Waiting {
    /// Whether there is nothing to wait for.
    fn is_complete(&self) -> bool {
        match &self.findings {
            None => false,
            Some(Findings::NoStall | Findings::Nothing) => true,
            Some(Findings::Found {
                snapshot,
                stack_follows,
                ..
            }) => {
                !stack_follows
                    && snapshot
                        .as_ref()
                        .is_none_or(|snapshot| snapshot.is_resolved())
            }
        }
    }
}

impl Findings {
    /// Adds to the report what the evidence shows. Returns the stack if it belongs to the stall, and is not
    /// resolved yet.
    fn apply_to(self, stall: &mut Stall) -> Option<Arc<StackSnapshot>> {
        let Findings::Found {
            evidence,
            ending,
            thread,
            task,
            snapshot,
            ..
        } = self
        else {
            return None;
        };
        let trace = snapshot.as_ref().and_then(|snapshot| snapshot.trace());
        let shows = trace.as_ref().and_then(|trace| trace.shows());
        let with_stack = |evidence: CaseEvidence| CaseEvidence {
            stack: shows.or(evidence.stack),
            ..evidence
        };
        let now = verdict::weigh(with_stack(evidence));
        let verdict = match ending {
            None => now,
            Some(Ending {
                live,
                is_unattended,
            }) => {
                let live = live.map_or(now, |live| verdict::weigh(with_stack(live)));
                verdict::weigh_at_end(live, with_stack(evidence), is_unattended)
            }
        };
        stall.cause = verdict.cause;
        stall.measured.share = evidence.share;
        if verdict.is_runner {
            stall.thread = thread;
            stall.task = task;
        }
        // Where nobody runs the worker, the stack is that of the thread which has left it.
        let is_its_own = verdict.is_runner || verdict.cause == Cause::Unattended;
        let late = snapshot.filter(|_| is_its_own && trace.is_none());
        stall.trace = trace.filter(|_| is_its_own);
        late
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests;
