//! The fields of a sample, and the user's own samplers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use loopmon::{Monitor, Sample, Sampler, SleepSampler};

use crate::support::{millis, monitor};

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
