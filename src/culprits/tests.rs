use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;

use super::book::{FEWEST, MOST};
use super::pending::{KEPT, MOST_OPEN};
use super::*;
use crate::stack::{StackTrace, Unresolved};
use crate::stall::{Cause, OsThread, Phase, Place, Stall, StallId};
use crate::syscall::Syscall;

const THRESHOLD: Duration = millis(100);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn account() -> (Arc<Account>, Recorder) {
    let account = Arc::new(Account::new(THRESHOLD));
    let recorder = account.recorder();
    (account, recorder)
}

fn trace(function: &str) -> Arc<StackTrace> {
    let calls = [
        ("libc::sleep", None),
        (function, Some("/app/src/main.rs")),
        ("app::main::{{closure}}", Some("/app/src/main.rs")),
    ];
    Arc::new(StackTrace::of(&calls, Some(1)))
}

/// A stall of a worker that has ended, and that began `at` so many milliseconds.
fn ended(worker: usize, at: i64, lasted: u64) -> Stall {
    Stall {
        duration: millis(lasted),
        began_at: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(at),
        ..Stall::of(worker, Phase::Ended)
    }
}

fn by(stall: Stall, function: &str) -> Stall {
    Stall {
        trace: Some(trace(function)),
        ..stall
    }
}

fn on(stall: Stall, thread: u32) -> Stall {
    Stall {
        thread: Some(OsThread::new(Some(thread), None)),
        ..stall
    }
}

fn of(stall: Stall, future: &str) -> Stall {
    Stall {
        place: Place::Future(future.into()),
        ..stall
    }
}

fn live(stall: &Stall, lasted: u64) -> Stall {
    Stall {
        phase: Phase::Ongoing,
        duration: millis(lasted),
        ..stall.clone()
    }
}

/// Who, how many, and how long.
fn told(culprits: &Culprits) -> Vec<(String, u64, u128)> {
    let tell = |culprit: &Culprit| {
        let total = culprit.total.as_millis();
        (culprit.blame.to_string(), culprit.stalls, total)
    };
    culprits.iter().map(tell).collect()
}

fn all(culprits: &Culprits) -> (u64, u128) {
    (culprits.all().stalls, culprits.all().total.as_millis())
}

const SAVE: &str = "app::save at /app/src/main.rs:1";
const LOAD: &str = "app::load at /app/src/main.rs:1";

#[test]
fn adds_up_by_culprit_cause_and_place() {
    let (account, recorder) = account();
    let mut asleep = by(ended(1, 0, 200), "app::save::{{closure}}");
    asleep.cause = Cause::blocked(Some(Syscall::new(35)));
    recorder.record(&asleep, None);
    recorder.record(&by(ended(0, 300, 500), "app::save::<u8>"), None);
    recorder.record(&by(ended(0, 900, 100), "app::load"), None);
    let culprits = account.snapshot();
    assert_eq!(
        told(&culprits),
        [(SAVE.to_owned(), 2, 700), (LOAD.to_owned(), 1, 100)]
    );
    let save = culprits.iter().next().unwrap();
    assert_eq!(save.longest, millis(500));
    assert_eq!(save.first_seen, DateTime::UNIX_EPOCH);
    let last = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(800);
    assert_eq!(save.last_seen, last);
    let tally = |stalls, total| Tally {
        stalls,
        total: millis(total),
    };
    assert_eq!(
        save.causes,
        [(Cause::OnCpu, tally(1, 500)), (asleep.cause, tally(1, 200))]
    );
    assert_eq!(
        save.places,
        [
            (Place::Worker(0), tally(1, 500)),
            (Place::Worker(1), tally(1, 200))
        ]
    );
    // The longest stall's.
    assert_eq!(save.trace, Some(trace("app::save::<u8>")));
}

#[test]
fn blames_what_is_known() {
    let (account, recorder) = account();
    let calls = [
        ("libc::read", None),
        ("dep::run", Some("/dep/lib.rs")),
        ("", None),
    ];
    let mut nobodys = ended(0, 0, 400);
    nobodys.trace = Some(Arc::new(StackTrace::of(&calls[..2], None)));
    recorder.record(&nobodys, None);
    recorder.record(&ended(0, 500, 300), None);
    // No call of the user's has made these.
    let mut starved = by(ended(0, 900, 200), "app::save");
    starved.cause = Cause::Starved;
    recorder.record(&starved, None);
    let mut many = by(ended(0, 1_900, 100), "app::save");
    many.cause = Cause::ManyPolls;
    recorder.record(&many, None);
    let blames = account.snapshot();
    let blames: Vec<_> = blames.iter().map(|culprit| culprit.blame.clone()).collect();
    assert!(
        matches!(&blames[0], Blame::Outermost(call) if call.to_string() == "dep::run at /dep/lib.rs:1")
    );
    assert_eq!(
        blames[1..],
        [
            Blame::Cause(Cause::OnCpu),
            Blame::Cause(Cause::Starved),
            Blame::Cause(Cause::ManyPolls)
        ]
    );
}

#[test]
fn a_stall_that_goes_on_is_counted_as_long_as_it_was_reported() {
    let (account, recorder) = account();
    let stall = by(ended(0, 0, 950), "app::save");
    for lasted in [100, 200, 400, 800] {
        recorder.record(&live(&stall, lasted), None);
        assert_eq!(
            told(&account.snapshot()),
            [(SAVE.to_owned(), 1, lasted.into())]
        );
    }
    recorder.record(&stall, None);
    assert_eq!(told(&account.snapshot()), [(SAVE.to_owned(), 1, 950)]);
}

#[test]
fn the_last_report_says_who_it_was() {
    let (account, recorder) = account();
    let stall = by(ended(0, 0, 300), "app::save");
    let early = Stall {
        trace: None,
        ..live(&stall, 100)
    };
    recorder.record(&early, None);
    let unknown = Blame::Cause(Cause::OnCpu);
    assert_eq!(account.snapshot().iter().next().unwrap().blame, unknown);
    recorder.record(&stall, None);
    assert_eq!(told(&account.snapshot()), [(SAVE.to_owned(), 1, 300)]);
}

#[test]
fn a_stack_may_come_late_and_stays() {
    let (account, recorder) = account();
    let stall = on(ended(0, 0, 300), 7);
    let (snapshot, unresolved) = Unresolved::empty();
    recorder.record(&live(&stall, 100), Some(snapshot));
    unresolved.come_out(&trace("app::save"));
    assert_eq!(told(&account.snapshot()), [(SAVE.to_owned(), 1, 100)]);
    recorder.record(&stall, None);
    assert_eq!(told(&account.snapshot()), [(SAVE.to_owned(), 1, 300)]);
    // It may be that of a thread which does not run the worker after all.
    let mut stall = on(by(ended(1, 0, 300), "app::load"), 7);
    recorder.record(&live(&stall, 100), None);
    (stall.thread, stall.trace) = (None, None);
    recorder.record(&stall, None);
    let unknown = (Cause::OnCpu.to_string(), 1, 300);
    assert_eq!(told(&account.snapshot())[1], unknown);
}

#[test]
fn an_end_that_was_lost_comes_with_the_next_stall_of_the_worker_or_the_end_of_the_run() {
    let (account, recorder) = account();
    for at in 0..1_000 {
        let stall = by(ended(at % 2, 0, 0), "app::save");
        recorder.record(&live(&stall, 100), None);
    }
    assert_eq!(all(&account.snapshot()), (1_000, 100_000));
    let future = by(of(ended(0, 0, 0), "accept"), "app::load");
    recorder.record(&live(&future, 300), None);
    let next_run = account.recorder();
    recorder.end();
    recorder.end();
    next_run.record(&by(ended(0, 0, 50), "app::save"), None);
    assert_eq!(
        told(&account.snapshot()),
        [(SAVE.to_owned(), 1_001, 100_050), (LOAD.to_owned(), 1, 300)]
    );
}

#[test]
fn the_time_of_a_future_on_a_worker_is_the_futures() {
    let worker = on(by(ended(0, 10, 290), "app::load"), 7);
    let future = on(of(by(ended(0, 0, 280), "app::save"), "accept"), 7);
    let reports = [
        live(&worker, 100),
        live(&future, 100),
        live(&worker, 200),
        live(&future, 200),
        worker.clone(),
        future.clone(),
    ];
    let both_orders = [[0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4]];
    for order in both_orders {
        let (account, recorder) = account();
        for report in order {
            recorder.record(&reports[report], None);
        }
        assert_eq!(told(&account.snapshot()), [(SAVE.to_owned(), 1, 280)]);
        // And so it is later.
        for at in 0..2 * KEPT {
            recorder.record(&ended(1, at as i64, 0), None);
        }
        assert_eq!(told(&account.snapshot())[0], (SAVE.to_owned(), 1, 280));
        assert_eq!(account.snapshot().all().total, millis(280));
    }
}

#[test]
fn what_is_left_of_the_worker_counts_if_it_is_a_stall_by_itself() {
    let (account, recorder) = account();
    let worker = on(by(ended(0, 0, 1_000), "app::load"), 7);
    for at in [100, 500] {
        recorder.record(
            &on(of(by(ended(0, at, 300), "app::save"), "accept"), 7),
            None,
        );
    }
    recorder.record(&worker, None);
    let apart = [(SAVE.to_owned(), 2, 600), (LOAD.to_owned(), 1, 400)];
    assert_eq!(told(&account.snapshot()), apart);
    // Others have nothing to do with it: another thread's, and that of another time.
    recorder.record(
        &on(of(by(ended(0, 0, 100), "app::other"), "accept"), 8),
        None,
    );
    recorder.record(
        &on(of(by(ended(0, 1_000, 100), "app::other"), "accept"), 7),
        None,
    );
    recorder.record(&of(by(ended(0, 0, 100), "app::other"), "accept"), None);
    assert_eq!(told(&account.snapshot())[..2], apart);
}

#[test]
fn a_future_within_a_worker_that_is_stuck_for_ever() {
    let (account, recorder) = account();
    let worker = on(by(ended(0, 0, 0), "app::load"), 7);
    recorder.record(&live(&worker, 100), None);
    for at in 0..500 {
        let at = 100 + at * 110;
        recorder.record(
            &on(of(by(ended(0, at, 110), "app::save"), "accept"), 7),
            None,
        );
    }
    recorder.record(&live(&worker, 55_200), None);
    let save = (SAVE.to_owned(), 500, 55_000);
    assert_eq!(told(&account.snapshot()), [save, (LOAD.to_owned(), 1, 200)]);
}

#[test]
fn a_reset_counts_nothing_twice() {
    let (account, recorder) = account();
    let stall = by(ended(0, 0, 500), "app::save");
    recorder.record(&by(ended(1, 0, 100), "app::load"), None);
    recorder.record(&live(&stall, 200), None);
    let before = account.reset();
    assert_eq!(
        told(&before),
        [(SAVE.to_owned(), 1, 200), (LOAD.to_owned(), 1, 100)]
    );
    assert!(account.snapshot().is_empty());
    assert!(account.snapshot().since() >= before.since());
    recorder.record(&stall, None);
    let after = account.reset();
    assert_eq!(told(&after), [(SAVE.to_owned(), 0, 300)]);
    assert_eq!(after.iter().next().unwrap().longest, millis(500));
}

#[test]
fn many_culprits_give_way_and_nothing_is_lost() {
    let (account, recorder) = account();
    for number in 0..10_000_u64 {
        let function = format!("app::f{number}");
        recorder.record(&by(ended(0, 0, 100), &function), None);
        // One that comes back, among many that do not.
        if number % 100 == 0 {
            recorder.record(&by(ended(0, 0, 200), "app::save"), None);
        }
    }
    let culprits = account.snapshot();
    assert_eq!(told(&culprits)[0], (SAVE.to_owned(), 100, 20_000));
    assert!((FEWEST..=MOST).contains(&culprits.len()));
    assert!(culprits.other().stalls > 9_000);
    assert_eq!(all(&culprits), (10_100, 1_020_000));
}

#[test]
fn many_places_are_not_all_listed() {
    let (account, recorder) = account();
    for number in 0..1_000 {
        let name = format!("connection {number}");
        recorder.record(&of(by(ended(0, 0, 100 + number), "app::save"), &name), None);
    }
    let culprits = account.snapshot();
    let save = culprits.iter().next().unwrap();
    assert_eq!((save.stalls, save.places.len()), (1_000, 16));
    assert_eq!(save.places[0].0, Place::Future("connection 999".into()));
}

#[test]
fn many_that_go_on_are_counted_at_their_end() {
    let (account, recorder) = account();
    let stalls: Vec<_> = (0..2 * MOST_OPEN)
        .map(|_| of(ended(0, 0, 300), "accept"))
        .collect();
    for stall in &stalls {
        recorder.record(&live(stall, 100), None);
    }
    assert_eq!(account.snapshot().all().stalls, MOST_OPEN as u64);
    stalls.iter().for_each(|stall| recorder.record(stall, None));
    assert_eq!(
        all(&account.snapshot()),
        (2 * MOST_OPEN as u64, 300 * 2 * MOST_OPEN as u128)
    );
}

#[test]
fn durations_without_end_do_not_overflow() {
    let (account, recorder) = account();
    let mut stall = on(ended(0, 0, 0), 7);
    stall.duration = Duration::MAX;
    recorder.record(&stall, None);
    let mut future = on(of(ended(0, 0, 0), "accept"), 7);
    future.duration = Duration::MAX;
    recorder.record(&future, None);
    stall.id = StallId::next();
    stall.began_at = DateTime::<chrono::Utc>::MAX_UTC;
    recorder.record(&stall, None);
    let culprits = account.snapshot();
    assert_eq!(culprits.all().total, Duration::MAX);
    assert!(culprits.to_string().ends_with("all"));
    assert!(culprits.folded().lines().count() == 1);
}

#[test]
fn prints_a_table_at_the_width_given() {
    let (account, recorder) = account();
    let mut stall = by(ended(1, 0, 1_204), "app::orders::save");
    stall.cause = Cause::blocked(None);
    recorder.record(&stall, None);
    stall = by(ended(2, 0, 1_000), "app::orders::save");
    stall.id = StallId::next();
    recorder.record(&stall, None);
    recorder.record(&of(ended(1, 0, 12), "\u{1b}[31m\nx"), None);
    let culprits = account.snapshot();
    assert_eq!(
        culprits.to_string(),
        "      total  stalls    longest  culprit
    2.204 s       2    1.204 s  app::orders::save at /app/src/main.rs:1
                                blocked in the kernel and 1 more, worker 1 and …
    0.012 s       1    0.012 s  running on the CPU
                                future \\u{1b}[31m\\nx, last at 00:00:00
    2.216 s       3             all"
    );
    let narrow = format!("{culprits:50}");
    assert!(narrow.contains("  …app/src/main.rs:1\n"), "{narrow}");
    for width in [0, 44, 60, 200] {
        let table = format!("{culprits:width$}");
        let widest = table.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(width.max(44)), "{table}");
    }
    assert!(format!("{culprits:200}").contains("worker 1 and 1 more, last at 00:00:01"));
}

#[test]
fn flame_graph_tools_read_the_folded_stacks() {
    let (account, recorder) = account();
    recorder.record(&by(ended(1, 0, 300), "<app::S; as T>::save\n7"), None);
    recorder.record(&ended(0, 0, 200), None);
    for number in 0..1_000 {
        recorder.record(&by(ended(0, 0, 100), &format!("app::f{number}")), None);
    }
    let folded = account.snapshot().folded();
    let mut lines = folded.lines();
    assert_eq!(
        lines.next(),
        Some("app::main::{{closure}};<app::S: as T>::save?7;libc::sleep 300000")
    );
    assert_eq!(lines.next(), Some("running on the CPU 200000"));
    assert!(lines.next_back().unwrap().starts_with("other "));
    let mut options = inferno::flamegraph::Options::default();
    let mut graph = Vec::new();
    inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut graph).unwrap();
    let graph = String::from_utf8(graph).unwrap();
    assert!(graph.contains("all (100,500,000 samples, 100%)"), "{graph}");
    assert!(graph.contains("&lt;app::S: as T&gt;::save?7 (300,000 samples"));
}

/// A report of one of a few stalls.
#[derive(Debug, Clone)]
struct Step {
    stall: usize,
    grows: u64,
    ends: bool,
    resets: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_usize..300, 1_u64..1_000, any::<bool>(), 0_u8..20);
    let step = step.prop_map(|(stall, grows, ends, resets)| Step {
        stall,
        grows,
        ends,
        resets: resets == 0,
    });
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// The sum over all culprits and what gave way is that over all stalls, whatever is reset in between.
    #[test]
    fn sums_lose_nothing(steps in steps()) {
        let (account, recorder) = account();
        let mut stalls: HashMap<usize, Stall> = HashMap::new();
        let mut lasted = Duration::ZERO;
        let (mut before, mut begun) = (Tally::default(), 0);
        for step in steps {
            let stall = stalls.entry(step.stall).or_insert_with(|| {
                begun += 1;
                // Of each worker one at a time, so that none is taken for over.
                let stall = Stall { phase: Phase::Started, ..ended(step.stall, 0, 0) };
                by(stall, &format!("app::f{}", step.stall))
            });
            stall.duration += millis(step.grows);
            lasted += millis(step.grows);
            if step.ends {
                stall.phase = Phase::Ended;
            }
            recorder.record(stall, None);
            if step.ends {
                stalls.remove(&step.stall);
            }
            let now = if step.resets { account.reset() } else { account.snapshot() };
            let mut sum = before;
            sum.add(now.all());
            prop_assert_eq!(sum, Tally { stalls: begun, total: lasted });
            prop_assert!(now.len() <= MOST);
            if step.resets {
                before = sum;
            }
        }
    }

    /// A worker and the futures on it never count more than the time that there is, nor less than the futures.
    #[test]
    fn shared_time_counts_once(
        worker in 100_u64..2_000,
        polls in proptest::collection::vec((0_u64..200, 100_u64..300), 0..8),
        order in any::<proptest::sample::Index>(),
    ) {
        let (account, recorder) = account();
        let (mut at, mut futures) = (0, 0);
        let mut reports = Vec::new();
        for (pause, lasts) in polls {
            at += pause;
            if at + lasts > worker {
                break;
            }
            reports.push(on(of(ended(0, at as i64, lasts), "accept"), 7));
            at += lasts;
            futures += lasts;
        }
        let place = order.index(reports.len() + 1);
        reports.insert(place, on(ended(0, 0, worker), 7));
        reports.iter().for_each(|report| recorder.record(report, None));
        let rest = worker - futures;
        let counts = futures == 0 || millis(rest) >= THRESHOLD;
        let expected = futures + if counts { rest } else { 0 };
        prop_assert_eq!(account.snapshot().all().total, millis(expected));
    }
}

#[cfg(feature = "serde")]
#[test]
fn survives_serde() {
    let (account, recorder) = account();
    recorder.record(&by(ended(1, 0, 300), "app::save"), None);
    recorder.record(&ended(0, 0, 200), None);
    let culprits = account.snapshot();
    let json = serde_json::to_string(&culprits).unwrap();
    assert_eq!(serde_json::from_str::<Culprits>(&json).unwrap(), culprits);
}

/// Microseconds that a report costs if so many culprits take turns. The best of some rounds.
fn report_cost(culprits: u64, rounds: usize) -> f64 {
    let (_, recorder) = account();
    let stalls: Vec<_> = (0..culprits)
        .map(|number| by(ended(0, 0, 100), &format!("app::orders::f{number}")))
        .collect();
    let round = || {
        let began = crate::clock::now();
        for stall in stalls.iter().cycle().take(4_096) {
            recorder.record(stall, None);
        }
        began.elapsed().as_secs_f64() * 1e6 / 4_096.0
    };
    (0..rounds).map(|_| round()).fold(f64::MAX, f64::min)
}

#[test]
fn a_report_costs_about_the_same_however_many_culprits_there_are() {
    let (few, many) = (report_cost(1, 5), report_cost(MOST as u64 - 1, 5));
    let new = report_cost(4_096, 5);
    println!("us a report: {few:.2} of one culprit, {many:.2} of many, {new:.2} of new ones");
    assert!(many < 100.0 * few, "{few} {many}");
    assert!(new < 1_000.0 * few, "{few} {new}");
}
