//! A runtime of one thread.

use std::thread;

use loopmon::{Cause, Phase};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::{
    BLOCK, Heard, POLLS_ARE_SEEN, assert_one, block, current_thread, in_phase, rest, spin,
    unstarved, watching,
};
use crate::support::millis;

#[test]
fn built_and_never_driven() {
    let runtime = current_thread();
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    block();
    monitor.stop();
    heard.nothing_to_the_end();
}

#[test]
fn watched_before_and_not_driven_since() {
    let runtime = current_thread();
    let monitor = watching().build().unwrap();
    let earlier = Heard::of(monitor.stalls());
    runtime.block_on(async {
        monitor.install().unwrap();
        sleep(millis(50)).await;
        monitor.stop();
    });
    earlier.nothing_to_the_end();
    let heard = Heard::of(monitor.stalls());
    let handle = runtime.handle();
    thread::scope(|scope| {
        scope.spawn(|| monitor.install_on(handle).unwrap());
    });
    block();
    monitor.stop();
    heard.nothing_to_the_end();
}

#[test]
fn the_root_future_blocks() {
    current_thread().block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        sleep(millis(50)).await;
        block();
        let reports = heard.wait_for(Phase::Started, 1);
        // While it lasts: the worker has not been back at its scheduler yet.
        assert_eq!(in_phase(&reports, Phase::Ended).count(), 0);
        sleep(millis(50)).await;
        monitor.stop();
        let stalls = heard.to_the_end();
        assert_one(&stalls, 0);
        if cfg!(target_os = "linux") {
            let here = super::thread(&stalls);
            assert_eq!(here.name.as_deref(), thread::current().name());
            assert!(here.id.is_some());
        }
    });
}

#[test]
fn the_root_future_blocks_in_its_very_first_poll() {
    current_thread().block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        block();
        let reports = heard.wait_for(Phase::Started, 1);
        assert_eq!(in_phase(&reports, Phase::Ended).count(), 0);
        sleep(millis(50)).await;
        monitor.stop();
        assert_one(&heard.to_the_end(), 0);
    });
}

#[test]
fn a_task_blocks() {
    current_thread().block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        tokio::spawn(async { block() }).await.unwrap();
        sleep(millis(50)).await;
        monitor.stop();
        assert_one(&heard.to_the_end(), 0);
    });
}

#[test]
fn a_task_of_a_local_set_blocks() {
    let local = LocalSet::new();
    local.block_on(&current_thread(), async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        sleep(millis(50)).await;
        tokio::task::spawn_local(async { block() }).await.unwrap();
        sleep(millis(50)).await;
        monitor.stop();
        assert_one(&heard.to_the_end(), 0);
    });
}

#[test]
fn blocking_where_it_is_allowed() {
    current_thread().block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        tokio::task::spawn_blocking(block).await.unwrap();
        monitor.stop();
        heard.nothing_to_the_end();
    });
}

#[test]
fn medium_polls_with_a_sleep_between() {
    current_thread().block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        for _ in 0..60 {
            spin(millis(5));
            sleep(millis(1)).await;
        }
        monitor.stop();
        heard.nothing_to_the_end();
    });
}

#[test]
fn many_medium_polls_in_a_row() {
    let polls = async || {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        sleep(millis(50)).await;
        let tasks: Vec<_> = (0..60)
            .map(|_| tokio::spawn(async { thread::sleep(millis(5)) }))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        sleep(millis(50)).await;
        monitor.stop();
        heard.to_the_end()
    };
    let stalls = unstarved(|| current_thread().block_on(polls()));
    assert_eq!(assert_one(&stalls, 0).cause, Cause::ManyPolls);
}

#[test]
fn two_back_to_back_are_two() {
    current_thread().block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        sleep(millis(50)).await;
        block();
        sleep(millis(1)).await;
        block();
        sleep(millis(50)).await;
        monitor.stop();
        let stalls = heard.to_the_end();
        let second = in_phase(&stalls, Phase::Started).nth(1).unwrap();
        let second = stalls.iter().position(|stall| stall.id == second.id);
        let (first, second) = stalls.split_at(second.unwrap());
        assert_one(first, 0);
        assert_one(second, 0);
    });
}

#[test]
fn between_two_calls_of_block_on_when_given_from_outside() {
    let runtime = current_thread();
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    for _ in 0..2 {
        rest(&runtime, millis(50));
        block();
    }
    rest(&runtime, millis(50));
    // A stall is still reported, once the busy time has shown that it was one.
    runtime.block_on(async {
        block();
        sleep(millis(50)).await;
    });
    monitor.stop();
    let stalls = heard.to_the_end();
    if POLLS_ARE_SEEN {
        assert_one(&stalls, 0);
        return;
    }
    assert_eq!(stalls.len(), 1, "{stalls:?}");
    assert_eq!(stalls[0].phase, Phase::Ended);
    assert!(stalls[0].duration >= BLOCK);
    assert_ne!(stalls[0].cause, Cause::Unattended);
}

#[test]
fn between_two_calls_of_block_on_when_installed_inside_it_learns() {
    let runtime = current_thread();
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    runtime.block_on(async {
        monitor.install().unwrap();
        sleep(millis(50)).await;
    });
    for _ in 0..3 {
        block();
        rest(&runtime, millis(50));
    }
    monitor.stop();
    let stalls = heard.to_the_end();
    let ended: Vec<_> = in_phase(&stalls, Phase::Ended).collect();
    assert_eq!(ended.len(), 1, "{stalls:?}");
    assert_eq!(ended[0].cause, Cause::Unattended);
    assert_eq!(in_phase(&stalls, Phase::Started).count(), 1);
}

#[test]
fn nobody_drives_it_after_its_thread_has_ended() {
    let runtime = current_thread();
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                monitor.install().unwrap();
                sleep(millis(50)).await;
            });
        });
    });
    block();
    monitor.stop();
    if cfg!(target_os = "linux") {
        heard.nothing_to_the_end();
    }
}

#[test]
fn another_thread_drives_it_and_blocks() {
    let runtime = current_thread();
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    runtime.block_on(async {
        monitor.install().unwrap();
        sleep(millis(50)).await;
    });
    thread::scope(|scope| {
        thread::Builder::new()
            .name("another".to_owned())
            .spawn_scoped(scope, || {
                runtime.block_on(async {
                    sleep(millis(150)).await;
                    block();
                    sleep(millis(50)).await;
                });
            })
            .unwrap();
    });
    monitor.stop();
    let stalls = heard.to_the_end();
    assert_one(&stalls, 0);
    let thread = super::thread(&stalls);
    assert_eq!(thread.name.as_deref(), Some("another"));
}

#[test]
fn the_runtime_of_one_thread_is_a_local_one() {
    let runtime = tokio::runtime::LocalRuntime::new();
    let Ok(runtime) = runtime else {
        panic!("{runtime:?}");
    };
    runtime.block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        sleep(millis(50)).await;
        tokio::task::spawn_local(async { block() }).await.unwrap();
        sleep(millis(50)).await;
        monitor.stop();
        assert_one(&heard.to_the_end(), 0);
    });
}
