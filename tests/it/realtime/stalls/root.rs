//! The future that a thread polls in `block_on`: seen from outside, with the `stack` feature.
#![cfg(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

use std::thread;
use std::time::{Duration, Instant};

use loopmon::{Cause, Monitor, OsThread, Phase, Place, Stall};
use tokio::runtime::Runtime;
use tokio::task::{self, LocalSet};
use tokio::time::sleep;

use super::{
    BLOCK, Heard, THRESHOLD, block, current_thread, in_phase, multi_thread, rest, spin, watching,
};
use crate::support::millis;

#[inline(never)]
fn sleeps_in_the_root() {
    block();
}

#[inline(never)]
fn spins_in_the_root() {
    spin(BLOCK);
}

/// All reports of the only stall, which began while it lasted, and the thread that it names. On a crowded
/// machine, other stalls may come before or after.
#[track_caller]
fn assert_live(reports: &[Stall], place: &Place, function: &str) {
    let shows = |stall: &&Stall| {
        let trace = stall.trace.as_ref();
        let mut frames = trace.into_iter().flat_map(|trace| trace.user_frames());
        frames.any(|frame| frame.function().is_some_and(|name| name.contains(function)))
    };
    let named = reports
        .iter()
        .find(shows)
        .unwrap_or_else(|| panic!("{function}: {reports:#?}"));
    let reports: Vec<_> = reports
        .iter()
        .filter(|stall| stall.id == named.id)
        .collect();
    assert_eq!(reports[0].phase, Phase::Started, "{reports:?}");
    assert!(
        reports[0].duration >= THRESHOLD && reports[0].duration < BLOCK,
        "{reports:?}"
    );
    assert!(
        reports.iter().all(|stall| stall.place == *place),
        "{reports:?}"
    );
    let last = reports.last().unwrap();
    assert_eq!(last.phase, Phase::Ended, "{reports:?}");
    assert!(last.duration >= BLOCK - THRESHOLD, "{last}");
    let name = thread::current().name().map(Into::into);
    assert_eq!(last.thread.as_ref().map(|thread| &thread.name), Some(&name));
}

/// What is reported when the future of a `block_on` does this. Waits for the end before the monitor stops, as
/// that would publish reports without their stacks.
fn reports(runtime: &Runtime, is_inside: bool, blocks: fn()) -> Vec<Stall> {
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    if !is_inside {
        monitor.install_on(runtime.handle()).unwrap();
    }
    runtime.block_on(async {
        if is_inside {
            monitor.install().unwrap();
        }
        sleep(millis(50)).await;
        blocks();
        sleep(millis(50)).await;
        task::spawn_blocking({
            let heard = heard.clone();
            move || {
                heard.wait_until(|reports| {
                    in_phase(&reports.stalls, Phase::Ended)
                        .any(|stall| stall.duration >= BLOCK - THRESHOLD)
                })
            }
        })
        .await
        .unwrap();
    });
    monitor.stop();
    heard.all_to_the_end()
}

#[test]
fn a_root_future_that_blocks_is_reported_while_it_does() {
    for is_inside in [true, false] {
        let reports = reports(&multi_thread(2), is_inside, sleeps_in_the_root);
        assert_live(&reports, &Place::RootFuture, "sleeps_in_the_root");
    }
}

#[test]
fn a_root_future_that_computes_is_reported_while_it_does() {
    for is_inside in [true, false] {
        let reports = reports(&multi_thread(2), is_inside, spins_in_the_root);
        assert_live(&reports, &Place::RootFuture, "spins_in_the_root");
    }
}

#[test]
fn a_local_set_that_is_driven_there_is_part_of_it() {
    let reports = {
        let monitor = watching().build().unwrap();
        let heard = Heard::of(monitor.stalls());
        LocalSet::new().block_on(&multi_thread(2), async {
            monitor.install().unwrap();
            task::spawn_local(async { sleeps_in_the_root() })
                .await
                .unwrap();
            let waits = heard.clone();
            let waits = task::spawn_blocking(move || waits.wait_for(Phase::Ended, 1));
            waits.await.unwrap();
        });
        monitor.stop();
        heard.all_to_the_end()
    };
    assert_live(&reports, &Place::RootFuture, "sleeps_in_the_root");
}

#[test]
fn stalls_that_somebody_asks_for_elsewhere() {
    let runtime = multi_thread(2);
    let reports = runtime.block_on(async {
        let monitor = watching().install().unwrap();
        let stalls = monitor.clone();
        let heard = task::spawn_blocking(move || Heard::of(stalls.stalls()));
        let heard = heard.await.unwrap();
        sleeps_in_the_root();
        let waits = heard.clone();
        let waits = task::spawn_blocking(move || waits.wait_for(Phase::Ended, 1));
        waits.await.unwrap();
        monitor.stop();
        heard.all_to_the_end()
    });
    assert_live(&reports, &Place::RootFuture, "sleeps_in_the_root");
}

/// Nothing is reported when the thread does this after the monitor was installed in a `block_on`.
#[track_caller]
fn assert_silent(runtime: &Runtime, does: impl FnOnce(&Runtime)) {
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    runtime.block_on(async {
        monitor.install().unwrap();
        sleep(millis(50)).await;
    });
    does(runtime);
    monitor.stop();
    // On a crowded machine, a worker may get no CPU for a while.
    let mut stalls = heard.all_to_the_end();
    stalls.retain(|stall| stall.place == Place::RootFuture);
    assert!(stalls.is_empty(), "{stalls:?}");
}

#[test]
fn waiting_in_block_on_is_no_stall() {
    assert_silent(&multi_thread(2), |runtime| rest(runtime, millis(1_000)));
}

#[test]
fn what_the_thread_does_outside_of_block_on_is_no_stall() {
    assert_silent(&multi_thread(2), |runtime| {
        for _ in 0..2 {
            sleeps_in_the_root();
            rest(runtime, millis(50));
            spins_in_the_root();
            rest(runtime, millis(50));
        }
        sleeps_in_the_root();
        let _entered = runtime.enter();
        sleeps_in_the_root();
    });
}

#[test]
fn what_the_thread_does_in_another_runtime_is_no_stall_of_this_one() {
    assert_silent(&multi_thread(2), |_| {
        for other in [multi_thread(1), current_thread()] {
            other.block_on(async {
                sleeps_in_the_root();
                spins_in_the_root();
            });
        }
    });
}

#[test]
fn many_short_calls_are_no_stall() {
    assert_silent(&multi_thread(2), |runtime| {
        for _ in 0..1_000 {
            runtime.block_on(async { task::yield_now().await });
        }
        thread::sleep(BLOCK);
    });
}

#[test]
fn blocking_where_that_is_allowed_is_no_stall() {
    assert_silent(&multi_thread(2), |runtime| {
        runtime.block_on(async {
            task::block_in_place(sleeps_in_the_root);
            let handle = tokio::runtime::Handle::current();
            let nested = move || handle.block_on(async { sleep(BLOCK).await });
            task::spawn_blocking(nested).await.unwrap();
        });
    });
}

#[test]
fn many_short_polls_of_local_tasks_are_no_stall() {
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    LocalSet::new().block_on(&multi_thread(2), async {
        monitor.install().unwrap();
        for _ in 0..40 {
            task::spawn_local(async {
                loop {
                    spin(millis(1));
                    sleep(millis(20)).await;
                }
            });
        }
        sleep(millis(1_000)).await;
    });
    monitor.stop();
    // On a crowded machine, the thread may get no CPU for a while.
    let mut stalls = heard.all_to_the_end();
    stalls.retain(|stall| stall.place == Place::RootFuture && stall.cause == Cause::OnCpu);
    assert!(stalls.is_empty(), "{stalls:?}");
}

/// A crowded machine may starve the thread, which is a stall.
#[test]
fn a_busy_root_future_that_waits_in_between_is_no_stall() {
    let tries = (0..10).find(|_| {
        let monitor = watching().build().unwrap();
        let heard = Heard::of(monitor.stalls());
        let longest = multi_thread(2).block_on(async {
            monitor.install().unwrap();
            let mut longest = Duration::ZERO;
            for _ in 0..20 {
                let began = Instant::now();
                spin(millis(15));
                longest = longest.max(began.elapsed());
                sleep(millis(1)).await;
            }
            longest
        });
        monitor.stop();
        let stalls = heard.all_to_the_end();
        let is_root = |stall: &Stall| stall.place == Place::RootFuture;
        assert!(
            longest >= THRESHOLD / 2 || !stalls.iter().any(is_root),
            "{stalls:?}"
        );
        longest < THRESHOLD / 2
    });
    assert!(tries.is_some());
}

/// A `block_on` for each of many culprits, given from outside: nothing else shows that the runtime is driven.
#[test]
fn culprits_of_a_current_thread_runtime_that_is_driven_now_and_then() {
    let runtime = current_thread();
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    monitor.install_on(runtime.handle()).unwrap();
    for number in 0..20 {
        runtime.block_on(async {
            if number % 4 >= 2 {
                sleep(millis(5)).await;
            }
            if number % 2 == 0 {
                sleeps_in_the_root();
            } else {
                spins_in_the_root();
            }
        });
        // Waits for the stack, which the end would not.
        heard.wait_for(Phase::Ended, number + 1);
    }
    monitor.stop();
    let reports = heard.all_to_the_end();
    let live: Vec<_> = in_phase(&reports, Phase::Started).collect();
    assert!(live.len() >= 20, "{reports:?}");
    for function in ["sleeps_in_the_root", "spins_in_the_root"] {
        assert_live(&reports, &Place::Worker(0), function);
    }
}

/// The thread is that of the monitor's owner, whoever asks for the stalls.
#[test]
fn a_monitor_of_a_runtime_that_another_thread_drives_learns_nothing_wrong() {
    let runtime = current_thread();
    let monitor: Monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    let driver = thread::scope(|scope| {
        let drives = scope.spawn(|| {
            runtime.block_on(async {
                sleep(millis(100)).await;
                block();
                sleep(millis(50)).await;
            });
            thread::current().id()
        });
        block();
        drives.join().unwrap()
    });
    assert_ne!(driver, thread::current().id());
    monitor.stop();
    let stalls = heard.to_the_end();
    let here = |thread: &OsThread| thread.name.as_deref() == thread::current().name();
    let is_here = |stall: &Stall| stall.thread.as_ref().is_some_and(here);
    assert!(!stalls.iter().any(is_here), "{stalls:?}");
    assert!(!stalls.is_empty());
}
