//! A runtime of several workers.

use std::sync::{Arc, Barrier};

use loopmon::{Cause, Monitor, Phase};
use tokio::runtime::{Runtime, worker_index};
use tokio::time::sleep;

use super::{
    BLOCK, Heard, POLLS_ARE_SEEN, assert_one, block, in_phase, multi_thread, rest, spin, unstarved,
    watching,
};
use crate::support::millis;

/// Watches a runtime, and lets it settle.
fn watch(runtime: &Runtime) -> (Monitor, Heard) {
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    rest(runtime, millis(100));
    (monitor, heard)
}

/// The calling thread's id, as `/proc` has it.
fn own_id() -> Option<u32> {
    let path = std::fs::read_link("/proc/thread-self").ok()?;
    path.file_name()?.to_str()?.parse().ok()
}

#[test]
fn an_idle_runtime() {
    let runtime = multi_thread(4);
    let (monitor, heard) = watch(&runtime);
    block();
    monitor.stop();
    heard.nothing_to_the_end();
}

#[test]
fn one_worker_of_four_blocks() {
    let runtime = multi_thread(4);
    let (monitor, heard) = watch(&runtime);
    let (worker, thread) = runtime
        .block_on(runtime.spawn(async {
            block();
            (worker_index().unwrap(), own_id())
        }))
        .unwrap();
    rest(&runtime, millis(50));
    monitor.stop();
    let stalls = heard.to_the_end();
    assert_one(&stalls, worker);
    assert_eq!(super::thread(&stalls).id, thread);
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_could_never_be_observed_is_on_the_thread_that_is_left() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("one-is-left")
        .enable_all()
        .build()
        .unwrap();
    let blocks = Arc::new(Barrier::new(2));
    let task = runtime.spawn({
        let blocks = Arc::clone(&blocks);
        async move {
            blocks.wait();
            block();
            (worker_index().unwrap(), own_id())
        }
    });
    blocks.wait();
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    let (worker, thread) = runtime.block_on(task).unwrap();
    rest(&runtime, millis(50));
    monitor.stop();
    let stalls = heard.to_the_end();
    assert_one(&stalls, worker);
    assert_eq!(super::thread(&stalls).id, thread);
}

#[test]
fn both_workers_block() {
    let runtime = multi_thread(2);
    let (monitor, heard) = watch(&runtime);
    let together = Arc::new(Barrier::new(2));
    let blocks: Vec<_> = (0..2)
        .map(|_| {
            let together = Arc::clone(&together);
            runtime.spawn(async move {
                together.wait();
                block();
                (worker_index().unwrap(), own_id())
            })
        })
        .collect();
    let blocks = blocks
        .into_iter()
        .map(|task| runtime.block_on(task).unwrap());
    let blocks: Vec<_> = blocks.collect();
    rest(&runtime, millis(50));
    monitor.stop();
    let stalls = heard.to_the_end();
    for (worker, thread) in blocks {
        let mut of_worker = stalls.clone();
        of_worker.retain(|stall| stall.worker() == Some(worker));
        assert_one(&of_worker, worker);
        assert_eq!(super::thread(&of_worker).id, thread);
    }
}

#[test]
fn blocking_where_it_is_allowed() {
    let runtime = multi_thread(2);
    let (monitor, heard) = watch(&runtime);
    runtime.block_on(async {
        tokio::task::spawn_blocking(block).await.unwrap();
        let in_place = tokio::spawn(async { tokio::task::block_in_place(block) });
        in_place.await.unwrap();
    });
    monitor.stop();
    heard.nothing_to_the_end();
}

#[test]
fn a_stall_on_the_thread_that_took_over_from_block_in_place() {
    let runtime = multi_thread(1);
    let (monitor, heard) = watch(&runtime);
    let in_place = runtime.spawn(async { tokio::task::block_in_place(block) });
    rest(&runtime, millis(100));
    let thread = runtime.block_on(runtime.spawn(async {
        block();
        own_id()
    }));
    runtime.block_on(in_place).unwrap();
    rest(&runtime, millis(50));
    monitor.stop();
    let stalls = heard.to_the_end();
    assert_one(&stalls, 0);
    assert_eq!(super::thread(&stalls).id, thread.unwrap());
}

#[test]
fn the_core_is_left_unattended_as_the_blocking_pool_is_full() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (monitor, heard) = watch(&runtime);
    let full = runtime.spawn_blocking(|| std::thread::sleep(2 * BLOCK));
    let in_place = runtime.spawn(async { tokio::task::block_in_place(block) });
    runtime.block_on(full).unwrap();
    runtime.block_on(in_place).unwrap();
    rest(&runtime, millis(50));
    monitor.stop();
    let stalls = heard.to_the_end();
    assert_one(&stalls, 0);
    // Without the stack of its thread, the worker looks like one that sleeps in a poll while the pool is full.
    let doubtful = [Cause::Unattended, Cause::Unknown];
    for stall in &stalls {
        assert!(doubtful.contains(&stall.cause), "{stall}");
    }
}

#[test]
fn many_medium_polls_in_a_row_on_one_worker() {
    let stalls = unstarved(|| {
        let runtime = multi_thread(1);
        let (monitor, heard) = watch(&runtime);
        runtime.block_on(async {
            let tasks: Vec<_> = (0..60)
                .map(|_| tokio::spawn(async { std::thread::sleep(millis(5)) }))
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            sleep(millis(50)).await;
        });
        monitor.stop();
        heard.to_the_end()
    });
    let last = in_phase(&stalls, Phase::Ended).last().unwrap();
    assert_eq!(last.cause, Cause::ManyPolls, "{stalls:?}");
}

#[test]
fn medium_polls_with_a_sleep_between() {
    let runtime = multi_thread(2);
    let (monitor, heard) = watch(&runtime);
    let task = runtime.spawn(async {
        for _ in 0..60 {
            spin(millis(5));
            sleep(millis(1)).await;
        }
    });
    runtime.block_on(task).unwrap();
    monitor.stop();
    heard.nothing_to_the_end();
}

/// Documented as not detected: its thread is no worker.
#[test]
fn the_root_future_of_block_on_blocks() {
    let runtime = multi_thread(2);
    let (monitor, heard) = watch(&runtime);
    runtime.block_on(async { block() });
    monitor.stop();
    if !POLLS_ARE_SEEN {
        heard.nothing_to_the_end();
    }
}
