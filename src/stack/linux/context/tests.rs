use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{self, LocalSet};
use tokio::time::{Duration, sleep};

use super::*;

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// What a thread of loopmon sees of the calling one: whether it polls, and whether it drives.
fn seen(runtime: &Handle) -> (bool, bool) {
    let here = ContextAddress::here().unwrap();
    thread::scope(|scope| {
        let look = scope.spawn(|| Witness::of(runtime).unwrap().look(here).unwrap());
        let look = look.join().unwrap();
        (look.polls, look.drives)
    })
}

const POLLS: (bool, bool) = (true, false);
const DRIVES: (bool, bool) = (true, true);

#[test]
fn sees_the_polls_of_block_on_and_no_others() {
    let (runtime, other) = (multi_thread(), multi_thread());
    let see = || seen(runtime.handle()).0;
    assert!(!see());
    assert_eq!(runtime.block_on(async { seen(runtime.handle()) }), POLLS);
    assert!(!see());
    {
        let _entered = runtime.enter();
        assert!(!see());
    }
    assert!(!other.block_on(async { see() }));
    // Not after another runtime was entered within the poll, nor where blocking is allowed.
    assert!(!runtime.block_on(async {
        let _entered = other.enter();
        see()
    }));
    assert!(!runtime.block_on(async { task::block_in_place(see) }));
    // Outside of a worker, Tokio does not restore the budget: the rest of that poll is not seen.
    assert!(!runtime.block_on(async {
        task::block_in_place(|| ());
        see()
    }));
    assert!(runtime.block_on(async {
        task::block_in_place(|| ());
        task::yield_now().await;
        see()
    }));
    let handle = runtime.handle().clone();
    let blocking = runtime.spawn_blocking(move || seen(&handle).0);
    assert!(!runtime.block_on(blocking).unwrap());
}

#[test]
fn sees_who_drives_a_scheduler() {
    let runtime = multi_thread();
    let handle = runtime.handle().clone();
    let worker = runtime.spawn(async move { seen(&handle) });
    assert_eq!(runtime.block_on(worker).unwrap(), DRIVES);
    let runtime = current_thread();
    assert_eq!(runtime.block_on(async { seen(runtime.handle()) }), DRIVES);
    // The second caller of `block_on` drives nothing.
    let (leave, stay) = tokio::sync::oneshot::channel::<()>();
    thread::scope(|scope| {
        let (inside, is_inside) = mpsc::channel();
        let runtime = &runtime;
        scope.spawn(move || {
            runtime.block_on(async {
                inside.send(()).unwrap();
                stay.await.ok();
            });
        });
        is_inside.recv().unwrap();
        assert_eq!(runtime.block_on(async { seen(runtime.handle()) }), POLLS);
        drop(leave);
    });
}

#[test]
fn sees_local_tasks_and_later_polls() {
    let runtime = multi_thread();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        sleep(Duration::from_millis(1)).await;
        let handle = Handle::current();
        assert_eq!(seen(&handle), POLLS);
        let inner = task::spawn_local(async move { seen(&handle) });
        assert_eq!(inner.await.unwrap(), POLLS);
    });
    assert!(!seen(runtime.handle()).0);
}

#[test]
fn a_parked_thread_polls_nothing() {
    let runtime = multi_thread();
    let (sender, receiver) = mpsc::channel();
    let (leave, stay) = tokio::sync::oneshot::channel::<()>();
    thread::scope(|scope| {
        let runtime = &runtime;
        scope.spawn(move || {
            runtime.block_on(async {
                sender.send(ContextAddress::here().unwrap()).unwrap();
                stay.await.ok();
            });
        });
        let there = receiver.recv().unwrap();
        let witness = Witness::of(runtime.handle()).unwrap();
        while witness.look(there).unwrap().polls {
            thread::yield_now();
        }
        drop(leave);
    });
}

#[test]
fn a_new_poll_leaves_marks() {
    let runtime = multi_thread();
    let handle = runtime.handle();
    let here = ContextAddress::here().unwrap();
    let look = || Witness::of(handle).unwrap().look(here).unwrap();
    let marks = || {
        let look = thread::scope(|scope| scope.spawn(look).join().unwrap());
        (look.budget, look.seed)
    };
    runtime.block_on(async {
        let first = marks();
        assert_eq!(first, marks());
        task::consume_budget().await;
        assert_ne!(first, marks());
    });
    let seeds: Vec<_> = (0..3)
        .map(|_| runtime.block_on(async { marks().1 }))
        .collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
}
