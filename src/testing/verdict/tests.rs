mod sleeps;

use chrono::DateTime;

use super::*;
use crate::clock;
use crate::stall::{Measured, OsThread};
use crate::testing::long_polls::Did;

const THRESHOLD: Duration = ms(50);
const BLOCKED: Cause = Cause::Blocked { syscall: None };

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What is known of a test, and the time that its stalls are told by.
struct Test {
    began: Instant,
    over: Instant,
    polls: Vec<LongPoll>,
    bursts: Vec<Burst>,
    allowed: Duration,
    paused: Duration,
    has_evidence: bool,
}

impl Test {
    fn new() -> Test {
        let began = clock::now();
        Test {
            began,
            over: began + ms(10_000),
            polls: Vec::new(),
            bursts: Vec::new(),
            allowed: Duration::ZERO,
            paused: Duration::ZERO,
            has_evidence: true,
        }
    }

    fn at(&self, millis: u64) -> Instant {
        self.began + ms(millis)
    }

    /// A poll from the beginning on, of this thread.
    fn poll(&mut self, lasted: u64, waited: u64, cause: Cause) {
        self.polls.push(LongPoll {
            name: "f".into(),
            thread: OsThread::current().number(),
            began: self.began,
            ended: self.at(lasted),
            did: Did {
                waited: ms(waited),
                cause,
                slept: Duration::ZERO,
                sleep: Duration::ZERO,
                crowded: Duration::ZERO,
            },
        });
    }

    /// A report of a stall that began at the beginning, on this thread.
    fn report(&self, phase: Phase, place: Place, cause: Cause, lasted: u64) -> Stall {
        let at = DateTime::UNIX_EPOCH;
        let mut stall = Stall::new(phase, place, cause, at, ms(lasted));
        stall.thread = Some(OsThread::current());
        stall.measured = Measured {
            at: Some(self.at(lasted)),
            at_least: ms(lasted).into(),
            share: None,
        };
        stall
    }

    fn worker(&self, phase: Phase, cause: Cause, lasted: u64, share: [u64; 3]) -> Stall {
        let mut stall = self.report(phase, Place::Worker(0), cause, lasted);
        let [passed, on_cpu, waited] = share.map(|millis| ms(millis).into());
        stall.measured.share = Some(Share {
            passed,
            on_cpu,
            turns: 0,
            waited,
        });
        stall
    }

    fn future(&self, cause: Cause, lasted: u64) -> Stall {
        self.report(Phase::Ended, Place::Future("f".into()), cause, lasted)
    }

    fn judge(&self, reports: &[Stall]) -> Option<Verdict> {
        let knowledge = Knowledge {
            threshold: THRESHOLD,
            over: self.over,
            polls: &self.polls,
            bursts: &self.bursts,
            allowed: &|_, _, _| self.allowed,
            paused: &|_, _| self.paused,
            has_evidence: self.has_evidence,
        };
        let seen = knowledge.judge(vec![reports.to_vec()]);
        // A stall of the worker comes after the polls.
        seen.last().map(|seen| seen.verdict)
    }
}

/// In a call that waits for nobody else.
const READ: Cause = Cause::Blocked {
    syscall: Some(crate::Syscall::new(0)),
};

fn blocks(cause: Cause, lasted: u64) -> Option<Verdict> {
    let lasted = ms(lasted);
    Some(Verdict::Blocks { cause, lasted })
}

fn excused(excuse: Excuse) -> Option<Verdict> {
    Some(Verdict::Excused(excuse))
}

fn starved() -> Option<Verdict> {
    excused(Excuse::Starved)
}

#[test]
fn a_poll_counts_without_what_it_waited_for_a_cpu() {
    for (waited, told, expected) in [
        (0, Cause::OnCpu, blocks(Cause::OnCpu, 60)),
        (0, BLOCKED, blocks(BLOCKED, 60)),
        (10, Cause::OnCpu, blocks(Cause::OnCpu, 60)),
        (11, Cause::OnCpu, starved()),
        // What the thread measures itself is better than the watchdog's evidence.
        (0, Cause::Unknown, blocks(Cause::OnCpu, 60)),
        (0, Cause::Starved, blocks(Cause::OnCpu, 60)),
    ] {
        let mut test = Test::new();
        test.poll(60, waited, Cause::OnCpu);
        let reports = [test.future(told, 60)];
        assert_eq!(test.judge(&reports), expected, "{waited} {told}");
    }
}

#[test]
fn a_poll_counts_without_pauses_and_what_was_allowed() {
    let mut test = Test::new();
    test.poll(300, 0, BLOCKED);
    let reports = [test.future(BLOCKED, 300)];
    test.paused = ms(251);
    assert_eq!(test.judge(&reports), starved());
    test.paused = Duration::ZERO;
    test.allowed = ms(250);
    assert_eq!(test.judge(&reports), blocks(BLOCKED, 300));
    test.allowed = ms(251);
    assert_eq!(test.judge(&reports), excused(Excuse::Region));
}

#[test]
fn without_evidence_the_clock_counts() {
    let mut test = Test::new();
    test.has_evidence = false;
    test.poll(60, 0, Cause::Unknown);
    let reports = [test.future(Cause::Unknown, 60)];
    assert_eq!(test.judge(&reports), blocks(Cause::Unknown, 60));
    test.polls.clear();
    let worker = test.report(Phase::Started, Place::Worker(0), Cause::Unknown, 60);
    let reports = [worker];
    assert_eq!(test.judge(&reports), blocks(Cause::Unknown, 60));
    test.has_evidence = true;
    assert_eq!(test.judge(&reports), excused(Excuse::Unknown));
}

#[test]
fn a_worker_counts_in_proportion_to_what_it_waited() {
    for (cause, lasted, share, expected) in [
        (READ, 50, [25, 0, 0], blocks(READ, 50)),
        (BLOCKED, 50, [25, 0, 0], excused(Excuse::Crowded)),
        (BLOCKED, 100, [75, 1, 0], blocks(BLOCKED, 100)),
        (READ, 50, [25, 0, 1], starved()),
        (Cause::OnCpu, 100, [75, 38, 37], blocks(Cause::OnCpu, 100)),
        (Cause::OnCpu, 100, [75, 30, 45], starved()),
        (
            Cause::ManyPolls,
            100,
            [75, 75, 0],
            blocks(Cause::ManyPolls, 100),
        ),
        // Nothing is known of the time before the first evidence.
        (
            Cause::Starved,
            400,
            [375, 50, 325],
            blocks(Cause::OnCpu, 400),
        ),
        (Cause::Starved, 400, [375, 9, 325], excused(Excuse::Crowded)),
        (Cause::Starved, 400, [375, 49, 326], starved()),
        (Cause::OnCpu, 60, [0, 0, 0], starved()),
        (BLOCKED, 60, [10, 0, 30], starved()),
    ] {
        let test = Test::new();
        let reports = [test.worker(Phase::Started, cause, lasted, share)];
        assert_eq!(test.judge(&reports), expected, "{cause} {lasted} {share:?}");
    }
}

#[test]
fn one_report_is_enough_unless_the_end_shows_that_nobody_ran_the_worker() {
    let test = Test::new();
    let started = test.worker(Phase::Started, READ, 50, [25, 0, 0]);
    let starves = test.worker(Phase::Ongoing, Cause::Starved, 100, [75, 0, 50]);
    let ended = |cause| test.worker(Phase::Ended, cause, 120, [75, 0, 50]);
    let reports = [started.clone(), starves.clone(), ended(Cause::Starved)];
    assert_eq!(test.judge(&reports), blocks(READ, 50));
    let reports = [started, starves.clone(), ended(Cause::Unattended)];
    assert_eq!(test.judge(&reports), excused(Excuse::Unattended));
    assert_eq!(test.judge(std::slice::from_ref(&starves)), starved());
    // At the end, the waiting is known of 75 + 20 ms.
    assert_eq!(test.judge(&[starves, ended(READ)]), blocks(READ, 120));
    // It may have been several polls.
    let unseen = [ended(BLOCKED)];
    assert_eq!(test.judge(&unseen), excused(Excuse::Unknown));
    assert_eq!(test.judge(&[]), None);
}

#[test]
fn a_stall_of_a_worker_counts_until_the_test_is_over_and_once() {
    let mut test = Test::new();
    let reports = [test.worker(Phase::Started, READ, 60, [30, 0, 0])];
    test.over = test.at(49);
    assert_eq!(test.judge(&reports), starved());
    test.over = test.at(50);
    assert_eq!(test.judge(&reports), blocks(READ, 60));
    test.poll(29, 0, BLOCKED);
    assert_eq!(test.judge(&reports), blocks(READ, 60));
    test.poll(31, 0, BLOCKED);
    assert_eq!(test.judge(&reports), excused(Excuse::SamePoll));
    test.polls.iter_mut().for_each(|poll| poll.thread += 1);
    assert_eq!(test.judge(&reports), blocks(READ, 60));
}

#[test]
fn polls_of_the_watched_future_that_follow_each_other_are_no_stall_of_the_root_future() {
    let mut test = Test::new();
    let root = |test: &Test| {
        let mut stall = test.worker(Phase::Started, READ, 120, [60, 0, 0]);
        stall.place = Place::RootFuture;
        [stall]
    };
    let burst = |began, ended| Burst {
        thread: OsThread::current().number(),
        began: test.at(began),
        ended: test.at(ended),
    };
    let bursts = [burst(0, 40), burst(60, 95)];
    assert_eq!(test.judge(&root(&test)), blocks(READ, 120));
    test.bursts.extend(bursts);
    assert_eq!(test.judge(&root(&test)), excused(Excuse::SamePoll));
    let worker = [test.worker(Phase::Started, READ, 120, [60, 0, 0])];
    assert_eq!(test.judge(&worker), blocks(READ, 120));
    test.bursts[1].thread += 1;
    assert_eq!(test.judge(&root(&test)), blocks(READ, 120));
}

#[test]
fn each_poll_is_judged_by_itself_with_its_own_reports() {
    let mut test = Test::new();
    test.poll(60, 0, BLOCKED);
    test.poll(90, 50, Cause::OnCpu);
    test.polls[1].began = test.at(61);
    let reports = |lasted| vec![test.future(BLOCKED, lasted)];
    let knowledge = Knowledge {
        threshold: ms(20),
        over: test.over,
        polls: &test.polls,
        bursts: &[],
        allowed: &|_, _, _| Duration::ZERO,
        paused: &|_, _| Duration::ZERO,
        has_evidence: true,
    };
    // The third belongs to no poll that is kept.
    let seen = knowledge.judge(vec![reports(80), reports(30), reports(95)]);
    let told: Vec<_> = seen
        .iter()
        .map(|seen| (Some(seen.verdict), seen.reports[0].duration))
        .collect();
    assert_eq!(told, [(blocks(BLOCKED, 60), ms(30)), (starved(), ms(80))]);
    let seen = knowledge.judge(Vec::new());
    assert_eq!(Some(seen[0].verdict), blocks(BLOCKED, 60));
    assert!(seen.iter().all(|seen| seen.reports.is_empty()));
}
