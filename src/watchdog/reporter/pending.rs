//! The reports that wait: pure reckoning.
//!
//! A report waits for what the inspector says of it, for no longer than the threshold or 100 ms; then for its
//! stack to be taken and read, until there is news of the same worker, the watch ends, or
//! [`LONGEST_WAIT`] has passed. So the reports of a worker keep their order, no more than one of them
//! waits, and nobody else's waits for it.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task;

use super::super::verdict::{self, Known};
use super::{Answer, Answered, Report, Stack};
use crate::broadcast::Publisher;
use crate::stall::{Cause, OsThread, Phase, Stall, StallId};

/// Time enough to read the debug information of a large program on a crowded machine. It is felt where
/// nothing else comes sooner: at the end of a stall, and with a threshold that is longer. Without it, a
/// stuck thread that holds a lock which reading takes would go untold.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How many there is room for before the program's allocator is asked for more: it may be what a thread
/// is stuck in.
const ROOM: usize = 128;

#[derive(Debug)]
pub(super) struct PendingReports {
    waiting: Vec<Waiting>,
    due: Vec<Waiting>,
    /// What has been said of the stalls that go on, for reports of which nothing new is known.
    said: HashMap<StallId, Said>,
}

#[derive(Debug, Clone)]
struct Said {
    publisher: Arc<Publisher<Stall>>,
    cause: Cause,
    thread: Option<OsThread>,
    task: Option<task::Id>,
}

#[derive(Debug)]
struct Waiting {
    report: Report,
    /// Not longer than until then.
    until: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// For the inspector.
    Unanswered,
    Answered(Answered),
}

impl PendingReports {
    pub(super) fn new() -> PendingReports {
        PendingReports {
            waiting: Vec::with_capacity(ROOM),
            due: Vec::with_capacity(ROOM),
            said: HashMap::with_capacity(ROOM),
        }
    }

    /// A new report: what has waited of the same worker waits no longer.
    pub(super) fn arrive(&mut self, report: Report, now: Instant) {
        let is_of_same_worker = |other: &Report| {
            Arc::ptr_eq(&other.publisher, &report.publisher)
                && other.stall.place == report.stall.place
        };
        self.release(|waiting| is_of_same_worker(&waiting.report));
        let (until, stage) = match report.answer_within {
            Some(wait) => (now + wait, Stage::Unanswered),
            None => (now, Stage::Answered(Answered::NothingNew)),
        };
        self.waiting.push(Waiting {
            report,
            until,
            stage,
        });
    }

    /// What the inspector says. An answer that comes too late is of no use.
    pub(super) fn answer(&mut self, answer: Answer, now: Instant) {
        let is_asked = |waiting: &&mut Waiting| {
            waiting.report.stall.id == answer.id && waiting.report.number == answer.number
        };
        if let Some(waiting) = self.waiting.iter_mut().find(is_asked) {
            waiting.until = now + LONGEST_WAIT;
            waiting.stage = Stage::Answered(answer.answered);
        }
    }

    /// What came of taking a stack.
    pub(super) fn stack(&mut self, stack: Stack) {
        let is_meant = |waiting: &&mut Waiting| {
            waiting.report.stall.id == stack.id && waiting.report.number == stack.number
        };
        let Some(waiting) = self.waiting.iter_mut().find(is_meant) else {
            return;
        };
        if let Stage::Answered(Answered::Known {
            known,
            task,
            snapshot,
            stack_follows,
            ..
        }) = &mut waiting.stage
        {
            known.said = stack.said;
            known.went_on = stack.went_on;
            *task = stack.task;
            *snapshot = stack.snapshot;
            *stack_follows = false;
        }
    }

    /// The channel is about to be closed.
    pub(super) fn end(&mut self, publisher: &Arc<Publisher<Stall>>, now: Instant) {
        self.release(|waiting| Arc::ptr_eq(&waiting.report.publisher, publisher));
        self.publish(now);
        self.said
            .retain(|_, said| !Arc::ptr_eq(&said.publisher, publisher));
    }

    /// Publishes what has waited long enough, and what need not wait.
    pub(super) fn publish(&mut self, now: Instant) {
        self.release(|waiting| waiting.is_complete() || waiting.until <= now);
        let mut due = mem::take(&mut self.due);
        for waiting in due.drain(..) {
            let publisher = Arc::clone(&waiting.report.publisher);
            if let Some(stall) = self.told(waiting) {
                // If it is closed, nobody is left to be told.
                publisher.publish(stall).ok();
            }
        }
        self.due = due;
    }

    /// The report as it is published. `None` if it is no stall.
    fn told(&mut self, waiting: Waiting) -> Option<Stall> {
        let mut stall = waiting.report.stall;
        let said = self.said.remove(&stall.id);
        match waiting.stage {
            Stage::Answered(Answered::NoStall) => return None,
            Stage::Answered(answered @ Answered::Known { .. }) => answered.tell(&mut stall),
            Stage::Unanswered | Stage::Answered(Answered::NothingNew) => {
                if let Some(said) = said {
                    stall.cause = said.cause;
                    stall.thread = said.thread;
                    stall.task = said.task;
                }
            }
        }
        if stall.phase != Phase::Ended {
            let said = Said {
                publisher: waiting.report.publisher,
                cause: stall.cause,
                thread: stall.thread.clone(),
                task: stall.task,
            };
            self.said.insert(stall.id, said);
        }
        Some(stall)
    }

    /// When something will have waited long enough, if there is no news before.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    /// These wait no longer; they keep their order.
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
    /// There is nothing to wait for.
    fn is_complete(&self) -> bool {
        match &self.stage {
            Stage::Unanswered => false,
            Stage::Answered(Answered::NoStall | Answered::NothingNew) => true,
            Stage::Answered(Answered::Known {
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

impl Answered {
    /// Puts it into the report, as far as it is evidence.
    fn tell(self, stall: &mut Stall) {
        let Answered::Known {
            known,
            live,
            ended,
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
        let with_stack = |known: Known| Known {
            stack: shows.or(known.stack),
            ..known
        };
        let now = verdict::weigh(with_stack(known));
        let verdict = match ended {
            None => now,
            Some(is_unattended) => {
                let live = live.map_or(now, |live| verdict::weigh(with_stack(live)));
                verdict::weigh_at_end(live, with_stack(known), is_unattended)
            }
        };
        stall.cause = verdict.cause;
        if verdict.is_runner {
            stall.thread = thread;
            stall.task = task;
        }
        // Where nobody runs the worker, the stack is that of who has left it.
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
    use crate::watchdog::verdict::NOTHING_KNOWN;

    const THRESHOLD: Duration = Duration::from_millis(60);

    struct Told {
        pending: PendingReports,
        publisher: Arc<Publisher<Stall>>,
        reader: Subscription<Stall>,
        now: Instant,
    }

    impl Told {
        fn new() -> Told {
            let publisher = Arc::new(Publisher::new(16));
            Told {
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

        fn answer(&mut self, stall: &Stall, number: u32, answered: Answered) {
            let answer = Answer {
                id: stall.id,
                number,
                answered,
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
    ) -> Answered {
        Answered::Known {
            known: Known {
                said: Some(true),
                behaviour: Cause::OnCpu,
                ..NOTHING_KNOWN
            },
            live: None,
            ended: None,
            thread: Some(OsThread::current()),
            task: None,
            snapshot: snapshot.cloned(),
            stack_follows,
        }
    }

    #[test]
    fn what_nobody_was_asked_about_is_told_at_once() {
        let mut told = Told::new();
        told.arrive(&stall(0, Phase::Ended), 1, false);
        assert_eq!(told.published(), [(0, Phase::Ended, Cause::Unknown, None)]);
    }

    #[test]
    fn an_answer_is_waited_for_but_not_for_long() {
        let mut told = Told::new();
        let (first, second) = (stall(0, Phase::Started), stall(1, Phase::Started));
        told.arrive(&first, 1, true);
        told.arrive(&second, 1, true);
        assert_eq!(told.published(), []);
        told.answer(&second, 1, on_cpu(None, false));
        assert_eq!(told.published(), [(1, Phase::Started, Cause::OnCpu, None)]);
        told.pass(THRESHOLD);
        assert_eq!(
            told.published(),
            [(0, Phase::Started, Cause::Unknown, None)]
        );
        // Too late.
        told.answer(&first, 1, on_cpu(None, false));
        assert_eq!(told.published(), []);
    }

    #[test]
    fn what_was_said_holds_until_more_is_known() {
        let mut told = Told::new();
        let mut stall = stall(0, Phase::Started);
        told.arrive(&stall, 1, true);
        told.answer(&stall, 1, on_cpu(None, false));
        stall.phase = Phase::Ongoing;
        told.arrive(&stall, 2, true);
        told.answer(&stall, 2, Answered::NothingNew);
        stall.phase = Phase::Ended;
        told.arrive(&stall, 3, true);
        told.pass(THRESHOLD);
        let causes: Vec<_> = told.published().iter().map(|told| told.2).collect();
        assert_eq!(causes, [Cause::OnCpu; 3]);
        assert!(told.pending.said.is_empty());
    }

    #[test]
    fn what_is_no_stall_is_not_told() {
        let mut told = Told::new();
        let stall = stall(0, Phase::Started);
        told.arrive(&stall, 1, true);
        told.answer(&stall, 1, Answered::NoStall);
        told.pass(LONGEST_WAIT);
        assert_eq!(told.published(), []);
    }

    #[test]
    fn a_report_waits_for_its_stack() {
        let mut told = Told::new();
        let mut stall = stall(0, Phase::Started);
        let (snapshot, unresolved) = Unresolved::empty();
        told.arrive(&stall, 1, true);
        told.answer(&stall, 1, on_cpu(None, true));
        told.pending.stack(Stack {
            id: stall.id,
            number: 1,
            snapshot: Some(Arc::clone(&snapshot)),
            said: Some(true),
            task: None,
            went_on: false,
        });
        told.pass(THRESHOLD);
        assert_eq!(told.published(), []);
        assert!(told.pending.due_at().unwrap() > told.now);

        let trace = Arc::new(StackTrace::default());
        unresolved.come_out(&trace);
        told.pass(Duration::ZERO);
        let expected = (0, Phase::Started, Cause::OnCpu, Some(trace));
        assert_eq!(told.published(), [expected]);

        // Nothing comes of the next.
        let (snapshot, unresolved) = Unresolved::empty();
        stall.phase = Phase::Ongoing;
        told.arrive(&stall, 2, true);
        told.answer(&stall, 2, on_cpu(Some(&snapshot), false));
        assert_eq!(told.published(), []);
        drop(unresolved);
        told.pass(Duration::ZERO);
        assert_eq!(told.published(), [(0, Phase::Ongoing, Cause::OnCpu, None)]);
    }

    #[test]
    fn a_stack_is_waited_for_until_there_is_news_or_for_so_long() {
        let mut told = Told::new();
        let (first, other) = (stall(0, Phase::Started), stall(1, Phase::Started));
        for stall in [&first, &other] {
            let (snapshot, unresolved) = Unresolved::empty();
            told.arrive(stall, 1, true);
            told.answer(stall, 1, on_cpu(Some(&snapshot), false));
            mem::forget(unresolved);
        }
        let mut more = first.clone();
        more.phase = Phase::Ongoing;
        told.arrive(&more, 2, false);
        assert_eq!(
            told.published(),
            [
                (0, Phase::Started, Cause::OnCpu, None),
                (0, Phase::Ongoing, Cause::OnCpu, None)
            ]
        );
        told.pass(LONGEST_WAIT);
        assert_eq!(told.published(), [(1, Phase::Started, Cause::OnCpu, None)]);
    }

    #[test]
    fn all_is_told_before_the_end() {
        let mut told = Told::new();
        told.arrive(&stall(0, Phase::Started), 1, true);
        let other = Arc::new(Publisher::new(1));
        told.pending.end(&other, told.now);
        assert_eq!(told.published(), []);
        let publisher = Arc::clone(&told.publisher);
        told.pending.end(&publisher, told.now);
        assert_eq!(told.published().len(), 1);
        assert!(told.pending.said.is_empty());
    }
}
