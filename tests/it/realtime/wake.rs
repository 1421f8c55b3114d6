//! The wake sampler and its thread.

use std::thread;
use std::time::Duration;

use loopmon::{Monitor, WakeSampler};

use crate::support::millis;

fn threads_named(name: &str) -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.trim_end() == name)
        .count()
}

fn wake_monitor(interval: Duration) -> Monitor {
    Monitor::builder()
        .interval(interval)
        .sampler(WakeSampler::new())
        .install()
        .unwrap()
}

#[tokio::test]
async fn sees_a_block_up_to_one_interval_short() {
    let (interval, block) = (millis(10), millis(100));
    let monitor = wake_monitor(interval);
    let mut samples = monitor.subscribe();
    samples.next().await.unwrap();
    thread::sleep(block);
    let sample = samples.next().await.unwrap();
    // Short of the interval by what its thread was late, too: generous, as the machine is shared.
    assert!(sample.lag >= block - 3 * interval, "{sample}");
}

#[tokio::test]
async fn samples_come_about_every_interval() {
    let interval = millis(20);
    let monitor = wake_monitor(interval);
    let mut samples = monitor.subscribe();
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        samples.next().await.unwrap();
    }
    let passed = began.elapsed();
    assert!(passed >= 10 * (interval - interval / 8), "{passed:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn its_thread_ends_with_the_run() {
    const MANY: usize = 40;
    for _ in 0..3 {
        let monitors: Vec<Monitor> = (0..MANY).map(|_| wake_monitor(millis(5))).collect();
        for monitor in &monitors {
            monitor.subscribe().next().await.unwrap();
        }
        assert!(threads_named("loopmon-wake") >= MANY);
        for monitor in &monitors {
            monitor.stop();
            monitor.stopped().await;
        }
        // The threads have been told; each needs a moment of processor time to end. Other tests may
        // have some of their own.
        while threads_named("loopmon-wake") >= MANY / 4 {
            tokio::time::sleep(millis(1)).await;
        }
    }
}
