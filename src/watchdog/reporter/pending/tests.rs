use futures::FutureExt;

use super::*;
use crate::broadcast::Subscription;
use crate::clock;
use crate::culprits::{Account, Recorder};
use crate::stack::{StackTrace, Unresolved};
use crate::watchdog::verdict::NO_EVIDENCE;

const THRESHOLD: Duration = Duration::from_millis(60);

fn recorder() -> Recorder {
    Arc::new(Account::new(THRESHOLD)).recorder()
}

struct Reports {
    pending: PendingReports,
    outlet: Arc<Outlet>,
    reader: Subscription<Stall>,
    now: Instant,
}

impl Reports {
    fn new() -> Reports {
        Reports::on(Outlet::new(16, recorder(), Arc::default()))
    }

    fn on(outlet: Outlet) -> Reports {
        let outlet = Arc::new(outlet);
        Reports {
            pending: PendingReports::new(),
            reader: outlet.subscribe(),
            outlet,
            now: clock::now(),
        }
    }

    fn arrive(&mut self, stall: &Stall, number: u32, is_asked: bool) {
        let report = Report {
            outlet: Arc::clone(&self.outlet),
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
fn on_cpu(snapshot: Option<&Arc<StackSnapshot>>, stack_follows: bool) -> Findings {
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
    let other = Arc::new(Outlet::new(1, recorder(), Arc::default()));
    reports.pending.end(other, reports.now);
    assert_eq!(reports.published(), []);
    let outlet = Arc::clone(&reports.outlet);
    reports.pending.end(outlet, reports.now);
    assert_eq!(reports.published().len(), 1);
    assert!(reports.pending.reported.is_empty());
}

#[test]
fn a_channel_that_is_for_test_stays_open_for_them() {
    let mut reports = Reports::on(Outlet::new(16, recorder(), Arc::default()).for_test());
    let mut stall = stall(0, Phase::Started);
    let (first, is_first_unresolved) = Unresolved::empty();
    reports.arrive(&stall, 1, true);
    reports.answer(&stall, 1, on_cpu(Some(&first), false));
    let (second, is_second_unresolved) = Unresolved::empty();
    stall.phase = Phase::Ongoing;
    reports.arrive(&stall, 2, true);
    reports.answer(&stall, 2, on_cpu(Some(&second), false));
    let outlet = Arc::clone(&reports.outlet);
    reports.pending.end(outlet, reports.now);
    assert_eq!(reports.published(), []);
    // The second overtakes the first.
    drop(is_second_unresolved);
    reports.pass(Duration::ZERO);
    assert_eq!(reports.published()[0].1, Phase::Ongoing);
    assert!(reports.pending.is_ending());
    drop(is_first_unresolved);
    reports.pass(Duration::ZERO);
    assert_eq!(reports.published()[0].1, Phase::Started);
    assert!(!reports.pending.is_ending() && reports.pending.reported.is_empty());
}
