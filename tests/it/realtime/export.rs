//! What a scrape shows of a stall.
#![cfg(feature = "metrics")]

use std::io::ErrorKind;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use loopmon::Monitor;
use loopmon::export::Metrics;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::export::endpoint::{endpoint, eventually, opened};
use crate::support::millis;

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn watching(name: &str) -> loopmon::Builder {
    Monitor::builder()
        .name(name)
        .interval(millis(10))
        .stall_threshold(millis(50))
}

/// A busy machine may add stalls of its own, and may change the cause.
#[test]
fn a_scrape_answers_during_a_stall_and_shows_it() {
    endpoint();
    let (let_go, released) = mpsc::channel::<()>();
    let (stuck, is_stuck) = mpsc::channel();
    let runtime = thread::Builder::new().spawn(move || {
        current_thread().block_on(async {
            let monitor = watching("stuck").install().unwrap();
            let export = Metrics::new().start(&monitor).unwrap();
            tokio::time::sleep(millis(100)).await;
            stuck.send(()).unwrap();
            released.recv().unwrap();
            tokio::time::sleep(millis(100)).await;
            monitor.stop();
            drop(monitor);
            export.finish().await;
        });
    });
    let value = |name| endpoint().value(name, "stuck");
    is_stuck.recv().unwrap();
    // From here on the runtime is stuck until it is released.
    eventually(|| value("loopmon_stall_in_progress_seconds") >= Some(1.0));
    let samples = value("loopmon_lag_seconds_count").unwrap();
    let lasted = value("loopmon_stall_in_progress_seconds").unwrap();
    eventually(|| value("loopmon_stall_in_progress_seconds") >= Some(lasted + 1.0));
    assert_eq!(value("loopmon_stalled_workers"), Some(1.0));
    let stalls = value("loopmon_stalls_total");
    assert!(stalls >= Some(1.0), "{stalls:?}");
    let seconds = value("loopmon_stall_seconds_total");
    assert!(seconds >= Some(lasted.floor()), "{seconds:?}");
    assert_eq!(value("loopmon_lag_seconds_count"), Some(samples));

    let_go.send(()).unwrap();
    runtime.unwrap().join().unwrap();
    assert_eq!(value("loopmon_stalled_workers"), Some(0.0));
    assert_eq!(value("loopmon_stall_in_progress_seconds"), Some(0.0));
    assert!(value("loopmon_stalls_total") >= stalls);
    assert!(value("loopmon_lag_seconds_count") > Some(samples));
}

/// As a framework's runtimes, one for each thread.
#[test]
fn runtimes_of_one_name_show_each_that_is_stuck() {
    endpoint();
    let stuck = Arc::new(Barrier::new(3));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (let_go, released) = mpsc::channel::<()>();
            let stuck = Arc::clone(&stuck);
            let thread = thread::Builder::new().spawn(move || {
                current_thread().block_on(async {
                    let monitor = watching("each").install().unwrap();
                    let export = Metrics::new().start(&monitor).unwrap();
                    tokio::time::sleep(millis(100)).await;
                    stuck.wait();
                    released.recv().unwrap();
                    monitor.stop();
                    export.finish().await;
                });
            });
            (let_go, thread.unwrap())
        })
        .collect();
    stuck.wait();
    let stalled = || endpoint().value("loopmon_stalled_workers", "each");
    eventually(|| stalled() == Some(2.0));
    for (left, (let_go, thread)) in (0..2).rev().zip(threads) {
        let_go.send(()).unwrap();
        thread.join().unwrap();
        eventually(|| stalled() == Some(f64::from(left)));
    }
}

/// The trap of docs::operating.
#[test]
fn an_endpoint_on_the_stuck_runtime_does_not_answer() {
    let (let_go, released) = mpsc::channel::<()>();
    let (stuck, is_stuck) = mpsc::channel();
    let (end, ended) = oneshot::channel::<()>();
    let runtime = thread::Builder::new().spawn(move || {
        current_thread().block_on(async {
            let (built, endpoint) = opened(PrometheusBuilder::build);
            let (_recorder, serve) = built.unwrap();
            tokio::spawn(serve);
            stuck.send(endpoint).unwrap();
            released.recv().unwrap();
            ended.await.unwrap();
        });
    });
    let endpoint = is_stuck.recv().unwrap();
    // It accepts the connection and does not answer.
    let refused = endpoint.try_scrape(millis(300)).unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{refused}"
    );
    let_go.send(()).unwrap();
    eventually(|| endpoint.try_scrape(millis(1000)).is_ok());
    end.send(()).unwrap();
    runtime.unwrap().join().unwrap();
}

#[test]
fn each_worker_that_was_ever_stalled_adds_eight_series() {
    endpoint();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let monitor = watching("each-worker")
        .install_on(runtime.handle())
        .unwrap();
    let export = Metrics::new().per_worker(true).start(&monitor).unwrap();
    let of_workers = |count: usize| Metrics::BUCKETS.len() + 9 + 8 * count;
    let series = || endpoint().series_of("each-worker").len();
    eventually(|| series() == of_workers(0));
    // Neither task passes this before the other is on the other worker.
    let both = Arc::new(Barrier::new(2));
    for _ in 0..2 {
        let both = Arc::clone(&both);
        runtime.spawn(async move {
            both.wait();
            thread::sleep(millis(500));
        });
    }
    eventually(|| series() == of_workers(2));
    monitor.stop();
    drop(monitor);
    runtime.block_on(export.finish());
    assert_eq!(series(), of_workers(2));
}
