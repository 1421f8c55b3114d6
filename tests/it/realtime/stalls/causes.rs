//! Causes by what `/proc` says.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::Mutex;

use loopmon::{Cause, Phase, Stall};
use tokio::time::sleep;

use super::{BLOCK, Heard, block, current_thread, in_phase, spin, watching};
use crate::support::millis;

/// The last report of the stall that `blocking` makes.
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

/// What the calling thread has done so far: nanoseconds on a CPU, and waiting for one.
fn times() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let mut fields = text.split_ascii_whitespace();
    [(); 2].map(|()| fields.next().unwrap().parse().unwrap())
}

/// On a crowded machine the thread may get no CPU for most of the time. Then that is the right cause, as the
/// thread's own times show.
#[test]
fn a_computation() {
    for _ in 0..10 {
        let mut did = [0; 2];
        let stall = stall(|| {
            let before = times();
            spin(BLOCK);
            let after = times();
            did = [0, 1].map(|index| after[index] - before[index]);
        });
        let [on_cpu, waited] = did;
        println!("{on_cpu} ns on a CPU, {waited} ns waiting for one: {stall}");
        // Near the middle it depends on when the thread was observed.
        if on_cpu > 3 * waited {
            return assert_eq!(stall.cause, Cause::OnCpu);
        } else if waited > 3 * on_cpu {
            return assert_eq!(stall.cause, Cause::Starved);
        }
    }
}
