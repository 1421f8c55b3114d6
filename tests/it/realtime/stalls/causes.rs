//! Why, as `/proc` has it.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::Mutex;

use loopmon::{Cause, Phase, Stall};
use tokio::time::sleep;

use super::{BLOCK, Heard, block, current_thread, in_phase, spin, watching};
use crate::support::millis;

/// The stall that `blocking` makes, as it was told at its end.
fn stall(blocking: impl FnOnce()) -> Stall {
    current_thread().block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        sleep(millis(50)).await;
        blocking();
        sleep(millis(50)).await;
        monitor.stop();
        let stalls = heard.all_to_the_end();
        in_phase(&stalls, Phase::Ended).next().unwrap().clone()
    })
}

fn syscall(stall: &Stall) -> Option<&'static str> {
    match stall.cause {
        Cause::Blocked { syscall, .. } => syscall?.name(),
        _ => panic!("{stall}"),
    }
}

#[test]
fn a_sleep() {
    assert_eq!(syscall(&stall(block)), Some("clock_nanosleep"));
}

#[test]
fn a_lock() {
    let lock = Mutex::new(());
    std::thread::scope(|scope| {
        let stall = stall(|| {
            let held = lock.lock().unwrap();
            scope.spawn(|| {
                let _waits = lock.lock();
            });
            let (locked, is_locked) = std::sync::mpsc::channel();
            drop(held);
            scope.spawn({
                let lock = &lock;
                move || {
                    let _held = lock.lock();
                    locked.send(()).unwrap();
                    block();
                }
            });
            is_locked.recv().unwrap();
            drop(lock.lock());
        });
        assert_eq!(syscall(&stall), Some("futex"));
    });
}

#[test]
fn a_child_process() {
    let stall = stall(|| {
        let child = Command::new("sleep").arg("0.3").status();
        assert!(child.unwrap().success());
    });
    let syscall = syscall(&stall).unwrap();
    assert!(matches!(syscall, "wait4" | "waitid"), "{syscall}");
}

#[test]
fn a_computation() {
    // A crowded machine may starve it a few times.
    let causes = std::iter::repeat_with(|| stall(|| spin(BLOCK)).cause);
    let cause = causes.take(10).find(|cause| *cause != Cause::Starved);
    assert_eq!(cause, Some(Cause::OnCpu));
}
