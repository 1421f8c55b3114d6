//! The fields of a sample, and the user's own samplers.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use chrono::{DateTime, Utc};
use loopmon::{BlockingPoolSampler, Monitor, Sample, Sampler, SleepSampler};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::support::{millis, monitor, settle};

#[tokio::test(start_paused = true)]
async fn a_sampler_of_the_users_own_is_used() {
    struct Counting(u64);
    impl Sampler for Counting {
        async fn measure(&mut self, interval: Duration) -> Duration {
            tokio::time::sleep(interval).await;
            self.0 += 1;
            Duration::from_secs(self.0)
        }
    }
    let monitor = Monitor::builder()
        .interval(millis(20))
        .sampler(Counting(0))
        .install()
        .unwrap();
    let mut samples = monitor.subscribe();
    assert_eq!(samples.next().await.unwrap().lag.as_secs(), 1);
    assert_eq!(samples.next().await.unwrap().lag.as_secs(), 2);
    // The next run uses the same sampler.
    monitor.stop();
    monitor.install().unwrap();
    assert_eq!(monitor.subscribe().next().await.unwrap().lag.as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_sample_describes_the_runtime() {
    let monitor = monitor(millis(10));
    let mut samples = monitor.subscribe();
    let before = Utc::now();
    let quiet = samples.next().await.unwrap();
    assert_eq!((quiet.tasks, quiet.queue_depth, quiet.missed), (0, 0, 0));
    assert!((before..=Utc::now()).contains(&quiet.data_at));

    let tasks: Vec<_> = (0..5)
        .map(|_| tokio::spawn(std::future::pending::<()>()))
        .collect();
    assert_eq!(samples.next().await.unwrap().tasks, 5);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(samples.next().await.unwrap().tasks, 0);
}

#[test]
fn a_sample_is_printed_as_one_line() {
    let at = DateTime::from_timestamp(1_645_630_780, 766_393_000).unwrap();
    for (lag, tasks, line) in [
        (0, 0, "event loop lag: 0.000, running tasks: 0, at "),
        (1_001_499, 2, "event loop lag: 1.001, running tasks: 2, at "),
        (
            3_600_000_000,
            9,
            "event loop lag: 3600.000, running tasks: 9, at ",
        ),
    ] {
        let sample = Sample::new(Duration::from_micros(lag), tasks, at);
        let line = format!("{line}2022-02-23 15:39:40.766393+00:00");
        assert_eq!(sample.to_string(), line);
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_sample_survives_serialisation() {
    let at = DateTime::from_timestamp(1_645_630_780, 766_393_000).unwrap();
    let sample = Sample::new(Duration::from_micros(1_234), 7, at);
    let json = serde_json::to_string(&sample).unwrap();
    assert_eq!(serde_json::from_str::<Sample>(&json).unwrap(), sample);
}

#[tokio::test(start_paused = true)]
async fn the_sleep_sampler_takes_any_interval() {
    let mut sampler = SleepSampler;
    let longest = sampler.measure(Duration::MAX);
    assert!(tokio::time::timeout(millis(10), longest).await.is_err());
    assert_eq!(SleepSampler.measure(Duration::ZERO).await, Duration::ZERO);
}

fn pool_monitor() -> Monitor {
    Monitor::builder()
        .interval(millis(10))
        .sampler(BlockingPoolSampler::new())
        .install()
        .unwrap()
}

/// A runtime whose pool a single job fills.
fn small_pool_runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_free_blocking_pool_has_no_lag_on_the_paused_clock() {
    let monitor = pool_monitor();
    let mut samples = monitor.subscribe();
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(samples.next().await.unwrap().lag, Duration::ZERO);
    }
    assert_eq!(began.elapsed(), millis(100));
}

/// While the pool works, Tokio does not advance the clock by itself.
#[test]
fn a_full_blocking_pool_is_lag_on_the_paused_clock() {
    small_pool_runtime().block_on(async {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let blocked = tokio::task::spawn_blocking(move || released.recv());
        let monitor = pool_monitor();
        let mut samples = monitor.subscribe();
        settle().await;
        tokio::time::advance(millis(10)).await;
        settle().await;
        assert_eq!(monitor.lag(), Duration::ZERO);
        for waited in [30, 60, 90] {
            tokio::time::advance(millis(30)).await;
            settle().await;
            assert_eq!(monitor.lag(), millis(waited));
        }
        assert_eq!(monitor.latest(), None);
        drop(release);
        let sample = samples.next().await.unwrap();
        assert_eq!(sample.lag, millis(90));
        assert_eq!(monitor.lag(), millis(90));
        blocked.await.unwrap().unwrap_err();
        assert_eq!(samples.next().await.unwrap().lag, Duration::ZERO);
        assert_eq!(monitor.lag(), Duration::ZERO);
    });
}

#[tokio::test(start_paused = true)]
async fn work_in_the_blocking_pool_is_no_task() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || released.recv());
    let mut samples = pool_monitor().subscribe();
    settle().await;
    // The clock does not advance by itself while the pool works.
    tokio::time::advance(millis(10)).await;
    assert_eq!(samples.next().await.unwrap().tasks, 0);
    drop(release);
}

struct Unused;

impl std::task::Wake for Unused {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_dropped_measurement_leaves_its_job_in_the_blocking_pool_and_no_waker() {
    small_pool_runtime().block_on(async {
        let (release, released) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || released.recv());
        let mut sampler = BlockingPoolSampler::new();
        let unused = Arc::new(Unused);
        let waker = Arc::clone(&unused).into();
        let mut cx = Context::from_waker(&waker);
        let mut dropped = Box::pin(sampler.measure(millis(10)));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
        tokio::time::advance(millis(10)).await;
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
        drop(dropped);
        drop(waker);
        assert_eq!(Arc::strong_count(&unused), 1);

        let mut measured = Box::pin(sampler.measure(millis(10)));
        assert!(futures::poll!(&mut measured).is_pending());
        tokio::time::advance(millis(10)).await;
        assert!(futures::poll!(&mut measured).is_pending());
        tokio::time::advance(millis(30)).await;
        drop(release);
        assert_eq!(measured.await, millis(40));
    });
}
