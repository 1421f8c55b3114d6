use super::*;
use crate::clock;
use crate::culprits::Account;
use crate::polls::{Demand, PolledFuture, Running};
use crate::stack::StackCapture;
use crate::stall::{OsThread, Stall};
use crate::watchdog::outlet::Outlet;
use crate::watchdog::poll_subject::PollRequest;

/// Long, so that the time that really passes hardly counts: the polls are real, the clock is not.
const UNIT: Duration = Duration::from_secs(1);

/// 100 units.
const THRESHOLD: Duration = Duration::from_secs(100);

/// A watch of which the test says what time it is. The polls are real, and this thread's.
struct Bench {
    watch: PollWatch,
    demand: Arc<Demand>,
    mailboxes: Mailboxes,
    lost: LostTime,
    began: Instant,
}

/// Phase, name and duration of a report.
type Told = (Phase, String, u64);

fn units(units: u32) -> Duration {
    UNIT * units
}

impl Bench {
    fn new() -> Bench {
        let demand = Arc::new(Demand::new(THRESHOLD));
        let account = Arc::new(Account::new(THRESHOLD));
        let subject = PollSubject::new(PollRequest {
            demand: Arc::clone(&demand),
            name: None,
            threshold: THRESHOLD,
            stack_capture: StackCapture::new(),
            outlet: Arc::new(Outlet::new(1, account.recorder(), Arc::default())),
        });
        Bench {
            watch: PollWatch::new(subject),
            demand,
            mailboxes: Mailboxes::new(),
            lost: LostTime::new(),
            began: clock::now(),
        }
    }

    fn future(&self, name: &str) -> PolledFuture {
        PolledFuture::new(name.into(), Arc::clone(&self.demand))
    }

    fn pass<R>(&mut self, at: u32, act: impl FnOnce(&mut PollWatch, &Pass<'_>) -> R) -> R {
        let pass = Pass {
            time: AwakeTime {
                now: AwakeInstant::START + units(at),
                lost: Duration::ZERO,
                held_up: Duration::ZERO,
            },
            now: self.began + units(at),
            lost: &self.lost,
            mailboxes: &self.mailboxes,
            polls: Polls::get(),
        };
        act(&mut self.watch, &pass)
    }

    /// The watchdog sees the polls of this thread. Returns what is reported.
    fn see(&mut self, at: u32) -> Vec<Told> {
        self.pass(at, |watch, pass| {
            let number = watch.subject.watch;
            pass.polls.for_each_thread(pass.now, |thread| {
                for (index, poll) in thread.iter().enumerate() {
                    if poll.watch == number {
                        watch.see(thread, index, pass);
                    }
                }
            });
            watch.settle(pass);
        });
        self.told()
    }

    /// What a thread hands over that was in this poll.
    fn over(&self, name: &str, poll: Running, lasted: u32, within: u32) -> EndedPoll {
        EndedPoll {
            poll: Running {
                lasted: units(lasted),
                at_most: units(lasted),
                reported_within: units(within),
                ..poll
            },
            name: name.into(),
            thread: OsThread::current(),
            ended: self.began + units(lasted),
        }
    }

    /// The poll has ended. Returns what is reported.
    fn ended(&mut self, name: &str, poll: Running, lasted: u32, within: u32) -> Vec<Told> {
        let ended = self.over(name, poll, lasted, within);
        self.pass(lasted, |watch, pass| watch.ended(ended, pass));
        self.told()
    }

    /// The polls of this thread, the outermost first.
    fn polls(&self) -> Vec<Running> {
        let (number, mut polls) = (self.watch.subject.watch, Vec::new());
        Polls::get().for_each_thread(clock::now(), |thread| {
            let wanted = thread.iter().filter(|poll| poll.watch == number).copied();
            polls.extend(wanted);
        });
        polls
    }

    fn reports(&self) -> Vec<Stall> {
        let next = || self.mailboxes.reporter.pop(Some(clock::now()));
        let stall = |event| match event {
            Event::Report(report) => Some(report.stall),
            _ => None,
        };
        std::iter::from_fn(next).filter_map(stall).collect()
    }

    fn told(&self) -> Vec<Told> {
        let told = |stall: Stall| {
            let name = stall.place.to_string().replace("future ", "");
            let units = (stall.duration + UNIT * 5 / 2).as_secs() / 5 * 5;
            (stall.phase, name, units)
        };
        self.reports().into_iter().map(told).collect()
    }
}

fn told(phase: Phase, name: &str, units: u64) -> Vec<Told> {
    vec![(phase, name.to_owned(), units)]
}

#[test]
fn a_long_poll_is_reported_at_doubling_durations_and_exactly_at_its_end() {
    let mut bench = Bench::new();
    let mut future = bench.future("slow");
    let polling = future.begin();
    let poll = bench.polls()[0];
    let mut reports = Vec::new();
    for at in (0..=45).map(|tick| tick * 20 + 5) {
        reports.extend(bench.see(at));
    }
    let expected = [
        told(Phase::Started, "slow", 105),
        told(Phase::Ongoing, "slow", 205),
        told(Phase::Ongoing, "slow", 405),
        told(Phase::Ongoing, "slow", 805),
    ];
    assert_eq!(reports, expected.concat());
    drop(polling);
    assert_eq!(
        bench.ended("slow", poll, 915, 0),
        told(Phase::Ended, "slow", 915)
    );
    assert_eq!(bench.see(920), []);
}

#[test]
fn a_poll_is_over_even_if_its_end_is_lost() {
    let mut bench = Bench::new();
    let mut future = bench.future("slow");
    let polling = future.begin();
    bench.see(60);
    assert_eq!(bench.see(110), told(Phase::Started, "slow", 110));
    drop(polling);
    assert_eq!(bench.see(130), []);
    assert_eq!(bench.see(150), told(Phase::Ended, "slow", 110));
    assert_eq!(bench.see(170), []);
}

#[test]
fn a_poll_that_ends_unseen_is_reported_with_its_thread() {
    let mut bench = Bench::new();
    let mut future = bench.future("slow");
    let polling = future.begin();
    let poll = bench.polls()[0];
    drop(polling);
    let ended = bench.over("slow", poll, 120, 0);
    bench.pass(125, |watch, pass| watch.ended(ended, pass));
    let reports = bench.reports();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].thread, Some(OsThread::current()));
    assert_eq!(
        (reports[0].phase, reports[0].duration),
        (Phase::Ended, units(120))
    );
}

#[test]
fn the_innermost_of_several_is_reported_and_its_time_is_not_the_outer_ones() {
    let mut bench = Bench::new();
    let (mut outer, mut inner) = (bench.future("outer"), bench.future("inner"));
    let outer_polling = outer.begin();
    let inner_polling = inner.begin();
    let polls = bench.polls();
    bench.see(60);
    assert_eq!(bench.see(110), told(Phase::Started, "inner", 110));
    assert_eq!(bench.see(190), []);
    drop(inner_polling);
    assert_eq!(
        bench.ended("inner", polls[1], 195, 0),
        told(Phase::Ended, "inner", 195)
    );
    drop(outer_polling);
    // It went on for 50 units of its own.
    assert_eq!(bench.ended("outer", polls[0], 245, 195), []);
    assert_eq!(bench.see(250), []);
    assert_eq!(bench.see(270), []);
}

#[test]
fn many_short_polls_within_make_the_outer_one_long() {
    let mut bench = Bench::new();
    let (mut outer, mut inner) = (bench.future("outer"), bench.future("inner"));
    let outer_polling = outer.begin();
    let mut reports = Vec::new();
    for at in (0..6).map(|tick| tick * 20 + 5) {
        drop(inner.begin());
        reports.extend(bench.see(at));
    }
    assert_eq!(reports, told(Phase::Started, "outer", 105));
    drop(outer_polling);
}

#[test]
fn time_in_which_the_process_did_not_run_does_not_count() {
    let mut bench = Bench::new();
    let mut future = bench.future("paused");
    let polling = future.begin();
    let poll = bench.polls()[0];
    bench.lost.update(bench.began + units(500), units(450));
    assert_eq!(bench.see(505), []);
    assert_eq!(bench.see(530), []);
    assert_eq!(bench.see(555), told(Phase::Started, "paused", 105));
    drop(polling);
    assert_eq!(
        bench.ended("paused", poll, 600, 0),
        told(Phase::Ended, "paused", 600)
    );
    // One that seems to have been too long.
    let polling = future.begin();
    let poll = bench.polls()[0];
    drop(polling);
    assert_eq!(bench.ended("paused", poll, 520, 0), []);
}

#[test]
fn a_pass_neither_allocates_nor_frees() {
    let mut bench = Bench::new();
    let (mut outer, mut inner) = (bench.future("outer"), bench.future("inner"));
    let polling = [outer.begin(), inner.begin()];
    let polls = bench.polls();
    // Whoever drops it frees its name.
    let ended = bench.over("inner", polls[1], 120, 0);
    let number = bench.watch.subject.watch;
    let mut see = |at| {
        bench.pass(at, |watch, pass| {
            pass.polls.for_each_thread(pass.now, |thread| {
                for (index, poll) in thread.iter().enumerate() {
                    if poll.watch == number {
                        watch.see(thread, index, pass);
                    }
                }
            });
            watch.settle(pass);
        });
    };
    let passes = allocation_counter::measure(|| [0, 60, 110].into_iter().for_each(&mut see));
    assert_eq!(passes.count_total, 0);
    let at_end = allocation_counter::measure(|| {
        bench.pass(120, |watch, pass| watch.ended(ended, pass));
    });
    assert_eq!((at_end.count_total, at_end.count_current), (0, 0));
    drop(polling);
    assert_eq!(bench.told().len(), 2);
}
