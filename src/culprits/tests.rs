mod bounds;
mod printed;
mod shared;
mod sums;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};

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
