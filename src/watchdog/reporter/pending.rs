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

use crate::broadcast::Publisher;
use crate::stall::{Cause, OsThread, Phase, Stall, StallId};
use crate::watchdog::messages::{Answer, Ending, Findings, Report, Stack};
use crate::watchdog::verdict::{self, CaseEvidence};

/// Long enough to read the debug information of a large program on a crowded machine. Readers feel this
/// limit at the end of a stall, and with a threshold that is longer. Without it, a stuck thread that holds a
/// lock which the resolver needs would go unreported.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// There is room for so many reports before the program's allocator is needed, in which a thread may be
/// stuck.
const ROOM: usize = 128;

#[derive(Debug)]
pub(super) struct PendingReports {
    waiting: Vec<Waiting>,
    due: Vec<Waiting>,
    /// What was last reported of each stall that goes on, for reports of which nothing new is known.
    reported: HashMap<StallId, Reported>,
}

#[derive(Debug, Clone)]
struct Reported {
    publisher: Arc<Publisher<Stall>>,
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
        }
    }

    /// Adds a report. An earlier one of the same worker waits no longer.
    pub(super) fn arrive(&mut self, report: Report, now: Instant) {
        let is_of_same_worker = |other: &Report| {
            Arc::ptr_eq(&other.publisher, &report.publisher)
                && other.stall.place == report.stall.place
        };
        self.release(|waiting| is_of_same_worker(&waiting.report));
        let (until, findings) = match report.answer_within {
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
            waiting.until = now + LONGEST_WAIT;
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

    /// Publishes all that waits for a channel, which is about to be closed.
    pub(super) fn end(&mut self, publisher: &Arc<Publisher<Stall>>, now: Instant) {
        self.release(|waiting| Arc::ptr_eq(&waiting.report.publisher, publisher));
        self.publish(now);
        self.reported
            .retain(|_, reported| !Arc::ptr_eq(&reported.publisher, publisher));
    }

    /// Publishes the reports that are complete, or have waited long enough.
    pub(super) fn publish(&mut self, now: Instant) {
        self.release(|waiting| waiting.is_complete() || waiting.until <= now);
        let mut due = mem::take(&mut self.due);
        for waiting in due.drain(..) {
            let publisher = Arc::clone(&waiting.report.publisher);
            if let Some(stall) = self.complete(waiting) {
                // A closed channel has no reader.
                publisher.publish(stall).ok();
            }
        }
        self.due = due;
    }

    /// The stall with what is known of it by now. `None` if it is no stall.
    fn complete(&mut self, waiting: Waiting) -> Option<Stall> {
        let mut stall = waiting.report.stall;
        let reported = self.reported.remove(&stall.id);
        match waiting.findings {
            Some(Findings::NoStall) => return None,
            Some(findings @ Findings::Found { .. }) => findings.apply_to(&mut stall),
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
                publisher: waiting.report.publisher,
                cause: stall.cause,
                thread: stall.thread.clone(),
                task: stall.task,
            };
            self.reported.insert(stall.id, reported);
        }
        Some(stall)
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
    /// Adds to the report what the evidence shows.
    fn apply_to(self, stall: &mut Stall) {
        let Findings::Found {
            evidence,
            ending,
            thread,
            task,
            snapshot,
            ..
        } = self
        else {
            return;
        };
        let trace = snapshot.and_then(|snapshot| snapshot.trace());
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
        if verdict.is_runner {
            stall.thread = thread;
            stall.task = task;
        }
        // Where nobody runs the worker, the stack is that of the thread which has left it.
        if verdict.is_runner || verdict.cause == Cause::Unattended {
            stall.trace = trace;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::broadcast::Subscription;
    use crate::clock;
    use crate::stack::{StackTrace, Unresolved};
    use crate::watchdog::verdict::NO_EVIDENCE;

    const THRESHOLD: Duration = Duration::from_millis(60);

    struct Reports {
        pending: PendingReports,
        publisher: Arc<Publisher<Stall>>,
        reader: Subscription<Stall>,
        now: Instant,
    }

    impl Reports {
        fn new() -> Reports {
            let publisher = Arc::new(Publisher::new(16));
            Reports {
                pending: PendingReports::new(),
                reader: publisher.subscribe(),
                publisher,
                now: clock::now(),
            }
        }

        fn arrive(&mut self, stall: &Stall, number: u32, is_asked: bool) {
            let report = Report {
                publisher: Arc::clone(&self.publisher),
                number,
                answer_within: is_asked.then_some(THRESHOLD),
                stall: stall.clone(),
            };
            self.pending.arrive(report, self.now);
            self.pending.publish(self.now);
        }

        fn answer(&mut self, stall: &Stall, number: u32, findings: Findings) {
            let answer = Answer {
                id: stall.id,
                number,
                findings,
            };
            self.pending.answer(answer, self.now);
            self.pending.publish(self.now);
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.pending.publish(self.now);
        }

        /// Worker, phase, cause and trace of what has been published.
        fn published(&mut self) -> Vec<(usize, Phase, Cause, Option<Arc<StackTrace>>)> {
            use tokio_stream::StreamExt;
            let next = || self.reader.next().now_or_never().flatten();
            std::iter::from_fn(next)
                .map(|stall| {
                    (
                        stall.worker().unwrap(),
                        stall.phase,
                        stall.cause,
                        stall.trace,
                    )
                })
                .collect()
        }
    }

    fn stall(worker: usize, phase: Phase) -> Stall {
        Stall {
            cause: Cause::Unknown,
            ..Stall::of(worker, phase)
        }
    }

    /// The thread says that it runs the worker, and was on a CPU.
    fn on_cpu(
        snapshot: Option<&Arc<crate::stack::StackSnapshot>>,
        stack_follows: bool,
    ) -> Findings {
        Findings::Found {
            evidence: CaseEvidence {
                says_worker: Some(true),
                behaviour: Cause::OnCpu,
                ..NO_EVIDENCE
            },
            ending: None,
            thread: Some(OsThread::current()),
            task: None,
            snapshot: snapshot.cloned(),
            stack_follows,
        }
    }

    #[test]
    fn a_report_without_an_inquiry_is_published_at_once() {
        let mut reports = Reports::new();
        reports.arrive(&stall(0, Phase::Ended), 1, false);
        assert_eq!(
            reports.published(),
            [(0, Phase::Ended, Cause::Unknown, None)]
        );
    }

    #[test]
    fn an_answer_is_waited_for_but_not_for_long() {
        let mut reports = Reports::new();
        let (first, second) = (stall(0, Phase::Started), stall(1, Phase::Started));
        reports.arrive(&first, 1, true);
        reports.arrive(&second, 1, true);
        assert_eq!(reports.published(), []);
        reports.answer(&second, 1, on_cpu(None, false));
        assert_eq!(
            reports.published(),
            [(1, Phase::Started, Cause::OnCpu, None)]
        );
        reports.pass(THRESHOLD);
        assert_eq!(
            reports.published(),
            [(0, Phase::Started, Cause::Unknown, None)]
        );
        // Too late.
        reports.answer(&first, 1, on_cpu(None, false));
        assert_eq!(reports.published(), []);
    }

    #[test]
    fn what_was_reported_holds_until_more_is_known() {
        let mut reports = Reports::new();
        let mut stall = stall(0, Phase::Started);
        reports.arrive(&stall, 1, true);
        reports.answer(&stall, 1, on_cpu(None, false));
        stall.phase = Phase::Ongoing;
        reports.arrive(&stall, 2, true);
        reports.answer(&stall, 2, Findings::Nothing);
        stall.phase = Phase::Ended;
        reports.arrive(&stall, 3, true);
        reports.pass(THRESHOLD);
        let causes: Vec<_> = reports.published().iter().map(|stall| stall.2).collect();
        assert_eq!(causes, [Cause::OnCpu; 3]);
        assert!(reports.pending.reported.is_empty());
    }

    #[test]
    fn what_is_no_stall_is_not_published() {
        let mut reports = Reports::new();
        let stall = stall(0, Phase::Started);
        reports.arrive(&stall, 1, true);
        reports.answer(&stall, 1, Findings::NoStall);
        reports.pass(LONGEST_WAIT);
        assert_eq!(reports.published(), []);
    }

    #[test]
    fn a_report_waits_for_its_stack() {
        let mut reports = Reports::new();
        let mut stall = stall(0, Phase::Started);
        let (snapshot, unresolved) = Unresolved::empty();
        reports.arrive(&stall, 1, true);
        reports.answer(&stall, 1, on_cpu(None, true));
        reports.pending.stack(Stack {
            id: stall.id,
            number: 1,
            snapshot: Some(Arc::clone(&snapshot)),
            says_worker: Some(true),
            task: None,
            changed_task: false,
        });
        reports.pass(THRESHOLD);
        assert_eq!(reports.published(), []);
        assert!(reports.pending.due_at().unwrap() > reports.now);

        let trace = Arc::new(StackTrace::default());
        unresolved.come_out(&trace);
        reports.pass(Duration::ZERO);
        let expected = (0, Phase::Started, Cause::OnCpu, Some(trace));
        assert_eq!(reports.published(), [expected]);

        // Nothing comes of the next.
        let (snapshot, unresolved) = Unresolved::empty();
        stall.phase = Phase::Ongoing;
        reports.arrive(&stall, 2, true);
        reports.answer(&stall, 2, on_cpu(Some(&snapshot), false));
        assert_eq!(reports.published(), []);
        drop(unresolved);
        reports.pass(Duration::ZERO);
        assert_eq!(
            reports.published(),
            [(0, Phase::Ongoing, Cause::OnCpu, None)]
        );
    }

    #[test]
    fn a_stack_is_waited_for_until_the_next_report_or_for_so_long() {
        let mut reports = Reports::new();
        let (first, other) = (stall(0, Phase::Started), stall(1, Phase::Started));
        for stall in [&first, &other] {
            let (snapshot, unresolved) = Unresolved::empty();
            reports.arrive(stall, 1, true);
            reports.answer(stall, 1, on_cpu(Some(&snapshot), false));
            mem::forget(unresolved);
        }
        let mut more = first.clone();
        more.phase = Phase::Ongoing;
        reports.arrive(&more, 2, false);
        assert_eq!(
            reports.published(),
            [
                (0, Phase::Started, Cause::OnCpu, None),
                (0, Phase::Ongoing, Cause::OnCpu, None)
            ]
        );
        reports.pass(LONGEST_WAIT);
        assert_eq!(
            reports.published(),
            [(1, Phase::Started, Cause::OnCpu, None)]
        );
    }

    #[test]
    fn all_is_published_before_the_end() {
        let mut reports = Reports::new();
        reports.arrive(&stall(0, Phase::Started), 1, true);
        let other = Arc::new(Publisher::new(1));
        reports.pending.end(&other, reports.now);
        assert_eq!(reports.published(), []);
        let publisher = Arc::clone(&reports.publisher);
        reports.pending.end(&publisher, reports.now);
        assert_eq!(reports.published().len(), 1);
        assert!(reports.pending.reported.is_empty());
    }
}
