//! Subscriptions: what each reader gets, what it loses, and how it ends.

use std::pin::pin;
use std::time::Duration;

use futures::stream::FusedStream;
use loopmon::{Monitor, Samples};

use crate::support::{Read, manual, millis, monitor, paused_runtime, read, settle};

fn sample(lag: u64, missed: u64) -> Read {
    Read::Sample {
        lag: millis(lag),
        missed,
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_to_those_who_subscribed_before_install() {
    let (hand, sampler) = manual();
    let monitor = Monitor::builder().sampler(sampler).build().unwrap();
    let mut early = monitor.subscribe();
    monitor.install().unwrap();
    hand.publish(millis(1)).await;
    let mut late = monitor.subscribe();
    hand.publish(millis(2)).await;
    assert_eq!(read(&mut early), sample(1, 0));
    assert_eq!(read(&mut early), sample(2, 0));
    assert_eq!(read(&mut early), Read::Nothing);
    assert_eq!(read(&mut late), sample(2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_its_oldest_and_learns_how_many() {
    let (hand, sampler) = manual();
    let monitor = Monitor::builder()
        .sampler(sampler)
        .capacity(3)
        .install()
        .unwrap();
    let mut slow = monitor.subscribe();
    let mut quick = monitor.subscribe();
    for lag in 1..=10 {
        hand.publish(millis(lag)).await;
        assert_eq!(read(&mut quick), sample(lag, 0));
    }
    assert_eq!(slow.missed(), 0);
    assert_eq!(read(&mut slow), sample(8, 7));
    assert_eq!(slow.missed(), 7);
    assert_eq!(read(&mut slow), sample(9, 0));
    for lag in 11..=20 {
        hand.publish(millis(lag)).await;
    }
    monitor.stop();
    assert_eq!(read(&mut slow), sample(18, 8));
    assert_eq!(read(&mut slow), sample(19, 0));
    assert_eq!(read(&mut slow), sample(20, 0));
    assert_eq!(read(&mut slow), Read::End);
    assert_eq!(slow.missed(), 15);
    assert_eq!(quick.missed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_that_never_poll_cost_nothing_but_their_own_samples() {
    let (hand, sampler) = manual();
    let monitor = Monitor::builder()
        .sampler(sampler)
        .capacity(4)
        .install()
        .unwrap();
    let idle: Vec<Samples> = (0..1_000).map(|_| monitor.subscribe()).collect();
    let mut quick = monitor.subscribe();
    for lag in 1..=100 {
        hand.publish(millis(lag)).await;
        assert_eq!(read(&mut quick), sample(lag, 0));
    }
    for mut samples in idle {
        assert_eq!(read(&mut samples), sample(97, 96));
    }
}

/// The counts of a broadcast channel can go wrong when readers are dropped while it overflows, and when it is
/// closed while it is full.
#[tokio::test(start_paused = true)]
async fn readers_dropped_while_overflowing_leave_the_others_right() {
    let (hand, sampler) = manual();
    let monitor = Monitor::builder()
        .sampler(sampler)
        .capacity(2)
        .install()
        .unwrap();
    let mut stays = monitor.subscribe();
    let mut goes: Vec<Samples> = Vec::new();
    for lag in 1..=30 {
        goes.push(monitor.subscribe());
        hand.publish(millis(lag)).await;
        if lag % 3 == 0 {
            // One reader lags, one is half-way, one has everything.
            read(&mut goes[1]);
            read(&mut goes[2]);
            read(&mut goes[2]);
            goes.clear();
        }
    }
    monitor.stop();
    assert_eq!(read(&mut stays), sample(29, 28));
    drop(monitor);
    assert_eq!(read(&mut stays), sample(30, 0));
    assert_eq!(read(&mut stays), Read::End);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_ended_stays_so() {
    let monitor = monitor(millis(10));
    let mut samples = monitor.subscribe();
    assert!(samples.next().await.is_some());
    assert!(!samples.is_terminated());
    monitor.stop();
    for _ in 0..3 {
        assert_eq!(samples.next().await, None);
        assert!(samples.is_terminated());
    }
}

#[test]
fn a_reader_waiting_on_another_thread_ends_with_the_runtime() {
    let runtime = paused_runtime();
    let monitor = Monitor::builder()
        .interval(Duration::from_secs(3_600))
        .install_on(runtime.handle())
        .unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let mut samples = monitor.subscribe();
            std::thread::Builder::new()
                .spawn(move || futures::executor::block_on(samples.next()))
                .unwrap()
        })
        .collect();
    drop(runtime);
    for reader in waiting {
        assert_eq!(reader.join().unwrap(), None);
    }
}

#[test]
fn a_reader_on_another_runtime_ends_with_stop() {
    let monitored = paused_runtime();
    let monitor = Monitor::builder()
        .interval(Duration::from_secs(3_600))
        .install_on(monitored.handle())
        .unwrap();
    let reading = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let mut samples = monitor.subscribe();
    let reader = reading.spawn(async move { samples.next().await });
    monitor.stop();
    assert_eq!(reading.block_on(reader).unwrap(), None);
}

#[test]
fn a_monitor_that_is_dropped_before_install_ends_its_streams() {
    let monitor = Monitor::builder().build().unwrap();
    let mut samples = monitor.subscribe();
    assert_eq!(read(&mut samples), Read::Nothing);
    drop(monitor);
    assert_eq!(read(&mut samples), Read::End);
}

#[tokio::test(start_paused = true)]
async fn works_with_the_extensions_of_futures() {
    use futures::StreamExt;

    let monitor = monitor(millis(10));
    let lags: Vec<Duration> = monitor
        .subscribe()
        .filter(|sample| std::future::ready(sample.lag < millis(1)))
        .take(3)
        .map(|sample| sample.lag)
        .collect()
        .await;
    assert_eq!(lags, [Duration::ZERO; 3]);
}

#[tokio::test(start_paused = true)]
async fn works_with_the_extensions_of_tokio_stream() {
    use tokio_stream::StreamExt;

    let monitor = monitor(millis(10));
    let mut lags = pin!(
        monitor
            .subscribe()
            .filter(|sample| sample.lag < millis(1))
            .throttle(millis(35))
            .map(|sample| sample.lag)
    );
    assert_eq!(lags.next().await, Some(Duration::ZERO));
    monitor.stop();
    while lags.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn works_with_select() {
    let monitor = monitor(millis(10));
    let mut samples = monitor.subscribe();
    let mut seen = 0;
    while seen < 3 {
        futures::select! {
            sample = futures::StreamExt::select_next_some(&mut samples) => {
                assert_eq!(sample.missed, 0);
                seen += 1;
            }
            complete => panic!("the monitor goes on"),
        }
    }
    monitor.stop();
    settle().await;
}
