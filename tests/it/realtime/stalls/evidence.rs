//! Which thread a worker runs on, and what it does: no report says what is not certain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;

use loopmon::chrono::Utc;
use loopmon::{Cause, Phase, Stall};
use tokio::runtime::Runtime;

use super::{BLOCK, Heard, THRESHOLD, block, multi_thread, rest, spin, watching};
use crate::support::millis;

/// The calling thread's id, as `/proc` has it.
fn own_id() -> Option<u32> {
    let path = std::fs::read_link("/proc/thread-self").ok()?;
    path.file_name()?.to_str()?.parse().ok()
}

/// Tasks that move their worker to another thread all the time, until the flag is set.
fn keep_moving(runtime: &Runtime) -> Arc<AtomicBool> {
    let end = Arc::new(AtomicBool::new(false));
    for index in 0..8 {
        let end = Arc::clone(&end);
        runtime.spawn(async move {
            while !end.load(Ordering::Relaxed) {
                tokio::task::block_in_place(|| sleep(millis(5)));
                tokio::time::sleep(millis(3 + index % 3)).await;
            }
        });
    }
    end
}

/// The reports of the time in which `blocking` ran as a task, with the thread that it ran on.
fn stalls_of(
    runtime: &Runtime,
    heard: &Heard,
    blocking: impl Fn() + Send + Copy + 'static,
) -> (Vec<Stall>, Option<u32>) {
    let began = Utc::now() - THRESHOLD;
    let task = runtime.spawn(async move {
        blocking();
        own_id()
    });
    let thread = runtime.block_on(task).unwrap();
    // On a crowded machine it may go unnoticed: what is reported has to be right.
    rest(runtime, millis(200));
    let mut stalls = heard.wait_until(|_| true);
    // A report of an earlier one may come late.
    stalls.retain(|stall| stall.began_at >= began);
    (stalls, thread)
}

#[test]
fn a_worker_that_has_moved_is_reported_with_its_own_thread_or_with_none() {
    let runtime = multi_thread(4);
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    let end = keep_moving(&runtime);
    rest(&runtime, millis(500));
    let (mut known, mut all) = (0, 0);
    for round in 0..10 {
        let (stalls, thread) = if round % 2 == 0 {
            stalls_of(&runtime, &heard, || spin(BLOCK))
        } else {
            stalls_of(&runtime, &heard, block)
        };
        for stall in &stalls {
            let reported = stall.thread.as_ref().map(|thread| thread.id);
            assert!(reported.is_none() || reported == Some(thread), "{stall}");
            let allowed = match stall.cause {
                Cause::OnCpu => round % 2 == 0,
                Cause::Blocked { .. } => round % 2 == 1,
                Cause::Unknown | Cause::Starved | Cause::ManyPolls => true,
                _ => false,
            };
            assert!(allowed, "round {round}: {stall}");
            known += u32::from(reported.is_some());
            all += 1;
        }
    }
    println!("{known} of {all} reports have a thread");
    assert!(all > 0);
    end.store(true, Ordering::Relaxed);
    rest(&runtime, millis(50));
    monitor.stop();
}

#[test]
fn a_monitor_that_is_installed_within_a_stall_is_no_sign_of_progress() {
    let runtime = multi_thread(2);
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    rest(&runtime, millis(200));
    let (stalls, _) = stalls_of(&runtime, &heard, || {
        for _ in 0..10 {
            let other = watching().install().unwrap().stop_on_drop();
            let _stalls = other.stalls();
            sleep(BLOCK / 10);
        }
    });
    assert!(!stalls.is_empty());
    for stall in stalls {
        assert_ne!(stall.cause, Cause::ManyPolls, "{stall}");
    }
    monitor.stop();
}

#[test]
fn a_task_that_ends_on_a_thread_without_a_worker_is_no_sign_of_progress() {
    let runtime = multi_thread(1);
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    for index in 0..16 {
        let outside = move || sleep(millis(160 + 20 * index));
        runtime.spawn(async move { tokio::task::block_in_place(outside) });
    }
    rest(&runtime, millis(150));
    let (stalls, _) = stalls_of(&runtime, &heard, block);
    assert!(!stalls.is_empty());
    for stall in stalls {
        assert_ne!(stall.cause, Cause::ManyPolls, "{stall}");
    }
    monitor.stop();
}

#[test]
fn a_full_pool_does_not_make_a_worker_unattended() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    rest(&runtime, millis(200));
    for _ in 0..2 {
        runtime.spawn_blocking(|| sleep(4 * BLOCK));
    }
    sleep(millis(20));
    for blocking in [(|| spin(BLOCK)) as fn(), block] {
        let (stalls, thread) = stalls_of(&runtime, &heard, blocking);
        for stall in &stalls {
            assert_ne!(stall.cause, Cause::Unattended, "{stall}");
            let reported = stall.thread.as_ref().map(|thread| thread.id);
            assert!(reported.is_none() || reported == Some(thread), "{stall}");
        }
    }
    monitor.stop();
}

#[test]
fn an_unpark_hook_that_blocks_keeps_the_cause_that_was_seen() {
    static ARMED: AtomicBool = AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_unpark(|| {
            if ARMED.swap(false, Ordering::SeqCst) {
                block();
            }
        })
        .build()
        .unwrap();
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    rest(&runtime, millis(200));
    ARMED.store(true, Ordering::SeqCst);
    runtime.block_on(runtime.spawn(async {})).unwrap();
    let stalls = heard.wait_for(Phase::Ended, 1);
    monitor.stop();
    for stall in &stalls {
        assert_ne!(stall.cause, Cause::Unattended, "{stall}");
    }
    if cfg!(target_os = "linux") {
        let last = stalls.last().unwrap();
        assert!(matches!(last.cause, Cause::Blocked { .. }), "{last}");
    }
}

#[test]
fn workers_that_are_stuck_from_the_start_are_reported_while_it_lasts() {
    static STUCK: AtomicU32 = AtomicU32::new(0);
    let runtime = multi_thread(8);
    let heard = runtime.block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        let stuck = || {
            STUCK.fetch_add(1, Ordering::SeqCst);
            sleep(4 * BLOCK);
            STUCK.fetch_sub(1, Ordering::SeqCst);
        };
        let tasks: Vec<_> = (0..8)
            .map(|_| tokio::spawn(async move { stuck() }))
            .collect();
        // On a thread that is no worker.
        let reports = heard.wait_for(Phase::Started, 8);
        assert_eq!(STUCK.load(Ordering::SeqCst), 8, "{reports:?}");
        for task in tasks {
            task.await.unwrap();
        }
        monitor.stop();
        heard
    });
    heard.all_to_the_end();
}
