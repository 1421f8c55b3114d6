//! Lag of real blocks, as the sleep sampler measures it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use loopmon::{Monitor, Sample};
use tokio::runtime::Runtime;

use crate::support::{millis, monitor};

fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn median(mut lags: Vec<Duration>) -> Duration {
    lags.sort_unstable();
    lags[lags.len() / 2]
}

#[test]
fn a_block_is_never_reported_more_than_one_interval_short() {
    let (interval, block) = (millis(10), millis(100));
    current_thread().block_on(async {
        let monitor = monitor(interval);
        // Phases all over the interval.
        for phase in 0..10 {
            let mut samples = monitor.subscribe();
            tokio::time::sleep(millis(20 + phase)).await;
            thread::sleep(block);
            tokio::time::sleep(millis(20)).await;
            monitor.stop();
            let mut worst = Duration::ZERO;
            while let Some(sample) = samples.next().await {
                worst = worst.max(sample.lag);
            }
            assert!(worst >= block - interval, "{worst:?} at phase {phase}");
            monitor.install().unwrap();
        }
    });
}

#[test]
fn one_blocked_thread_does_not_disturb_the_others_monitor() {
    let (told, blocked) = mpsc::channel();
    let other = thread::Builder::new()
        .spawn(move || {
            current_thread().block_on(async {
                let monitor = monitor(millis(100));
                let mut samples = monitor.subscribe();
                tokio::time::sleep(millis(50)).await;
                thread::sleep(millis(1_000));
                let sample = samples.next().await.unwrap();
                monitor.stop();
                let rest = tokio_stream::StreamExt::collect::<Vec<_>>(samples).await;
                told.send((sample, rest.len())).unwrap();
            });
        })
        .unwrap();
    let here: Vec<Sample> = current_thread().block_on(async {
        let monitor = monitor(millis(100));
        let samples = monitor.subscribe();
        tokio::time::sleep(millis(1_050)).await;
        monitor.stop();
        tokio_stream::StreamExt::collect(samples).await
    });
    other.join().unwrap();
    let (there, more) = blocked.recv().unwrap();
    assert!(there.lag >= millis(900), "{there}");
    assert_eq!(more, 0, "one sample while it was blocked");
    assert!(here.len() >= 5, "{} samples", here.len());
    let worst = here.iter().map(|sample| sample.lag).max().unwrap();
    assert!(worst < there.lag / 2, "{worst:?}");
}

#[test]
fn lag_grows_on_another_thread_while_the_runtime_is_stuck() {
    let runtime = current_thread();
    let monitor = Monitor::builder()
        .interval(millis(10))
        .install_on(runtime.handle())
        .unwrap();
    let watched = monitor.clone();
    let (stuck, is_stuck) = mpsc::channel();
    let (let_go, released) = mpsc::channel();
    let worker = thread::Builder::new()
        .spawn(move || {
            runtime.block_on(async {
                let mut samples = watched.subscribe();
                samples.next().await.unwrap();
                stuck.send(()).unwrap();
                released.recv().unwrap();
                samples.next().await.unwrap()
            })
        })
        .unwrap();
    is_stuck.recv().unwrap();
    let latest = monitor.latest();
    let mut last = Duration::ZERO;
    for _ in 0..5 {
        thread::sleep(millis(20));
        let lag = monitor.lag();
        assert!(lag > last, "{lag:?} after {last:?}");
        last = lag;
    }
    assert!(last >= millis(5 * 20 - 10), "{last:?}");
    assert_eq!(monitor.latest(), latest, "no sample can have been taken");
    let_go.send(()).unwrap();
    assert!(worker.join().unwrap().lag >= last);
}

/// Tokio's timers alone report about 1.1 ms on an idle runtime.
#[test]
fn the_rounding_of_tokios_timers_is_not_reported_as_lag() {
    current_thread().block_on(async {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        let monitor = monitor(millis(10));
        let mut samples = monitor.subscribe();
        for _ in 0..51 {
            ours.push(samples.next().await.unwrap().lag);
        }
        monitor.stop();
        for _ in 0..51 {
            let began = Instant::now();
            tokio::time::sleep(millis(10)).await;
            bare.push(began.elapsed() - millis(10));
        }
        let (ours, bare) = (median(ours), median(bare));
        assert!(ours < bare / 2, "{ours:?} against {bare:?}");
    });
}

#[test]
fn busy_tells_an_idle_runtime_from_a_busy_one() {
    current_thread().block_on(async {
        let monitor = monitor(millis(20));
        let mut samples = monitor.subscribe();
        let mut idle = Vec::new();
        for _ in 0..5 {
            idle.push(samples.next().await.unwrap().busy);
        }
        tokio::spawn(async {
            loop {
                thread::sleep(millis(1));
                tokio::task::yield_now().await;
            }
        });
        let mut busy = Vec::new();
        for _ in 0..10 {
            busy.push(samples.next().await.unwrap().busy);
        }
        let least_idle = idle.into_iter().fold(1.0, f64::min);
        let most_busy = busy.into_iter().fold(0.0, f64::max);
        assert!(
            least_idle < 0.5 && most_busy > 0.5,
            "{least_idle} {most_busy}"
        );
    });
}
