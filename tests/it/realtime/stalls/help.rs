//! The opt-in rescue: another worker takes over timers and I/O.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::{BLOCK, Heard, multi_thread, watching};
use crate::support::millis;

/// How late a timer is at the most while the worker that drives the timers is stuck.
fn lateness(rescue: bool) -> Duration {
    let runtime = multi_thread(2);
    let monitor = watching()
        .interval(Duration::from_secs(3_600))
        .rescue_timers(rescue)
        .install_on(runtime.handle())
        .unwrap();
    let heard = Heard::of(monitor.stalls());
    let worst = (0..3).map(|_| one_timer(&runtime)).min().unwrap();
    monitor.stop();
    heard.to_the_end();
    worst
}

fn one_timer(runtime: &Runtime) -> Duration {
    // By the time it is due, the worker that this timer wakes blocks.
    let due = millis(100);
    let late = runtime.spawn(async move {
        let began = Instant::now();
        sleep(due).await;
        began.elapsed().saturating_sub(due)
    });
    runtime
        .block_on(runtime.spawn(async {
            sleep(millis(50)).await;
            std::thread::sleep(BLOCK);
        }))
        .unwrap();
    runtime.block_on(late).unwrap()
}

#[test]
fn a_timer_of_a_runtime_whose_worker_is_stuck() {
    let (alone, helped) = (lateness(false), lateness(true));
    assert!(
        helped < alone / 2,
        "{helped:?} with help, {alone:?} without"
    );
}
