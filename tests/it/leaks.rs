//! Nothing is left behind.

use std::sync::Arc;
use std::time::Duration;

use loopmon::{Monitor, Sampler, SleepSampler};
use tokio::runtime::Handle;

use crate::support::{millis, settle};

/// Shows by its count whether a sampler, and with it everything that a monitor owns, still exists.
struct Tracked(#[expect(dead_code, reason = "only its count is of use")] Arc<()>);

impl Sampler for Tracked {
    async fn measure(&mut self, interval: Duration) -> Duration {
        SleepSampler.measure(interval).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_monitors_leave_no_task_and_no_memory_behind() {
    let token = Arc::new(());
    let monitors: Vec<Monitor> = (0..1_000)
        .map(|_| {
            Monitor::builder()
                .interval(millis(10))
                .sampler(Tracked(Arc::clone(&token)))
                .callback(async |_| {})
                .install()
                .unwrap()
        })
        .collect();
    tokio::time::sleep(millis(25)).await;
    assert_eq!(monitors[999].latest().unwrap().tasks, 0);
    monitors.iter().for_each(Monitor::stop);
    for monitor in &monitors {
        monitor.stopped().await;
    }
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    drop(monitors);
    assert_eq!(Arc::strong_count(&token), 1);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_ends_lets_go_of_everything() {
    let token = Arc::new(());
    for stop_first in [true, false] {
        let monitor = Monitor::builder()
            .interval(millis(10))
            .sampler(Tracked(Arc::clone(&token)))
            .callback(async |_| std::future::pending().await)
            .build()
            .unwrap();
        let samples = monitor.subscribe();
        let inner = std::thread::Builder::new()
            .spawn({
                let monitor = monitor.clone();
                move || {
                    crate::support::paused_runtime().block_on(async {
                        monitor.install().unwrap();
                        tokio::time::sleep(millis(25)).await;
                        if stop_first {
                            monitor.stop();
                            settle().await;
                        }
                    });
                }
            })
            .unwrap();
        inner.join().unwrap();
        // The call that never ends is gone, too.
        monitor.stopped().await;
        drop((samples, monitor));
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
