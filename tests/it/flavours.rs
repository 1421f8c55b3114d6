//! Promise 4: every flavour of runtime, and several at once.

use loopmon::Monitor;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::LocalSet;

use crate::support::{millis, monitor, paused_runtime, recorder};

/// Installs on the current runtime, reads three samples, stops.
async fn three_samples() {
    let (callback, recorded) = recorder();
    let monitor = Monitor::builder()
        .interval(millis(1))
        .callback(callback)
        .install()
        .unwrap();
    let mut samples = monitor.subscribe();
    for _ in 0..3 {
        let sample = samples.next().await.unwrap();
        assert!((0.0..=1.0).contains(&sample.busy), "{sample:?}");
    }
    monitor.stop();
    monitor.stopped().await;
    assert!(recorded.len() >= 3);
    assert_eq!(
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        0
    );
}

#[test]
fn current_thread() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(three_samples());
}

#[test]
fn multi_thread() {
    for workers in [1, 4] {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(three_samples());
    }
}

#[test]
fn local_runtime() {
    let runtime = LocalRuntime::new().unwrap();
    runtime.block_on(three_samples());
    drop(runtime);
    let paused = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .unwrap();
    paused.block_on(three_samples());
}

#[test]
fn local_set() {
    let runtime = paused_runtime();
    LocalSet::new().block_on(&runtime, async {
        tokio::task::spawn_local(three_samples()).await.unwrap();
    });
}

#[test]
fn independent_runtimes_on_their_own_threads() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::Builder::new()
                .spawn(|| paused_runtime().block_on(three_samples()))
                .unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_paused_clock_samples_follow_virtual_time_without_lag() {
    let monitor = monitor(millis(100));
    let mut samples = monitor.subscribe();
    let began = tokio::time::Instant::now();
    for count in 1..=100 {
        let sample = samples.next().await.unwrap();
        assert_eq!(sample.lag, millis(0));
        assert_eq!(began.elapsed(), millis(100) * count);
    }
    assert_eq!(monitor.lag(), millis(0));
}

#[tokio::test(start_paused = true)]
async fn on_a_paused_clock_a_jump_is_a_stall() {
    let monitor = monitor(millis(100));
    let mut samples = monitor.subscribe();
    tokio::task::yield_now().await;
    tokio::time::advance(millis(500)).await;
    assert_eq!(samples.next().await.unwrap().lag, millis(400));
}

/// The clock advances only when the runtime is idle: a monitor that kept it busy, or that never let
/// time pass, would keep this test from ending.
#[tokio::test(start_paused = true)]
async fn on_a_paused_clock_a_monitor_keeps_no_test_from_ending() {
    let _shortest = monitor(std::time::Duration::from_nanos(1));
    let _other = monitor(millis(7));
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
}
