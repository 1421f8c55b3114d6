//! Stalls on real runtimes: each scenario that the watchdog must get right.
//!
//! A threshold of 60 ms and blocks of 300: the machine may be late by a lot.

mod causes;
mod current_thread;
mod evidence;
mod help;
mod life;
mod many;
mod multi_thread;
mod pauses;
mod root;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use loopmon::{Builder, Cause, Monitor, OsThread, Phase, Stall, Stalls};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::support::millis;

pub(super) const THRESHOLD: Duration = millis(60);
pub(super) const BLOCK: Duration = millis(300);

/// Longer than anything here takes, however slow the machine.
const FOR_EVER: Duration = Duration::from_secs(30);

/// Whether a thread shows from outside that it polls a root future.
const POLLS_ARE_SEEN: bool = cfg!(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

pub(super) fn watching() -> Builder {
    Monitor::builder()
        .interval(millis(20))
        .stall_threshold(THRESHOLD)
}

pub(super) fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub(super) fn multi_thread(workers: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

/// Drives a runtime that has nothing to do.
fn rest(runtime: &Runtime, duration: Duration) {
    runtime.block_on(async { sleep(duration).await });
}

pub(super) fn block() {
    std::thread::sleep(BLOCK);
}

pub(super) fn spin(duration: Duration) {
    let began = std::time::Instant::now();
    while began.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// The reports that a thread has received which reads nothing else.
#[derive(Clone)]
pub(super) struct Heard {
    reports: Arc<(Mutex<Reports>, Condvar)>,
}

#[derive(Default)]
struct Reports {
    stalls: Vec<Stall>,
    ended: bool,
}

impl Heard {
    pub(super) fn of(mut stalls: Stalls) -> Heard {
        let reports = Arc::new((Mutex::new(Reports::default()), Condvar::new()));
        let shared = Arc::clone(&reports);
        std::thread::Builder::new()
            .spawn(move || {
                let (reports, news) = &*shared;
                loop {
                    let stall = futures::executor::block_on(stalls.next());
                    let mut reports = reports.lock().unwrap();
                    match stall {
                        Some(stall) => reports.stalls.push(stall),
                        None => reports.ended = true,
                    }
                    news.notify_all();
                    if reports.ended {
                        return;
                    }
                }
            })
            .unwrap();
        Heard { reports }
    }

    #[track_caller]
    fn wait_until(&self, what: impl Fn(&Reports) -> bool) -> Vec<Stall> {
        let (reports, news) = &*self.reports;
        let reports = reports.lock().unwrap();
        let (reports, waited) = news
            .wait_timeout_while(reports, FOR_EVER, |reports| !what(reports))
            .unwrap();
        assert!(!waited.timed_out(), "{:?}", reports.stalls);
        reports.stalls.clone()
    }

    /// Waits for as many reports of a phase.
    #[track_caller]
    pub(super) fn wait_for(&self, phase: Phase, count: usize) -> Vec<Stall> {
        self.wait_until(|reports| in_phase(&reports.stalls, phase).count() >= count)
    }

    #[track_caller]
    pub(super) fn all_to_the_end(&self) -> Vec<Stall> {
        self.wait_until(|reports| reports.ended)
    }

    /// Waits for the end, and returns what is not the fault of a crowded machine.
    #[track_caller]
    fn to_the_end(&self) -> Vec<Stall> {
        let mut stalls = self.all_to_the_end();
        let starved: Vec<_> = stalls
            .iter()
            .filter(|stall| stall.cause == Cause::Starved)
            .map(|stall| stall.id)
            .collect();
        stalls.retain(|stall| !starved.contains(&stall.id));
        stalls
    }

    #[track_caller]
    fn nothing_to_the_end(&self) {
        let stalls = self.to_the_end();
        assert!(stalls.is_empty(), "{stalls:?}");
    }
}

fn in_phase(stalls: &[Stall], phase: Phase) -> impl Iterator<Item = &Stall> {
    stalls.iter().filter(move |stall| stall.phase == phase)
}

/// What `stalls` returns when it is not the fault of a crowded machine, which may starve a runtime a few
/// times.
fn unstarved(stalls: impl Fn() -> Vec<Stall>) -> Vec<Stall> {
    let mut tries = std::iter::repeat_with(stalls).take(10);
    tries.find(|stalls| !stalls.is_empty()).unwrap_or_default()
}

/// The thread of the latest report that has one: on a crowded machine the first report may come before it is
/// known.
#[track_caller]
fn thread(stalls: &[Stall]) -> &OsThread {
    let thread = stalls.iter().rev().find_map(|stall| stall.thread.as_ref());
    thread.unwrap_or_else(|| panic!("{stalls:?}"))
}

/// One stall of this worker, from its start to its end.
#[track_caller]
fn assert_one(stalls: &[Stall], worker: usize) -> &Stall {
    let first = &stalls[0];
    assert_eq!(first.phase, Phase::Started, "{stalls:?}");
    assert!(first.duration >= THRESHOLD && first.duration < BLOCK);
    for stall in stalls {
        assert_eq!(stall.worker(), Some(worker));
        assert_eq!(
            (stall.id, stall.began_at),
            (first.id, first.began_at),
            "{stalls:?}"
        );
    }
    let last = stalls.last().unwrap();
    assert_eq!(last.phase, Phase::Ended, "{stalls:?}");
    assert!(last.duration >= BLOCK, "{last}");
    last
}
