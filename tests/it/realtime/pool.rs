//! The sampler of the blocking pool, and pools that are full.

use std::future::poll_fn;
use std::sync::mpsc::{Sender, channel};
use std::task::Poll;
use std::thread::sleep;
use std::time::{Duration, Instant};

use loopmon::{BlockingPoolSampler, Monitor, Sampler, Samples};
use tokio::runtime::{Builder, Runtime};

use crate::support::{millis, paused_runtime};

/// The size of the pools.
const THREADS: usize = 2;

fn runtime() -> Runtime {
    build(Builder::new_multi_thread())
}

fn build(mut builder: Builder) -> Runtime {
    builder
        .worker_threads(2)
        .max_blocking_threads(THREADS)
        .enable_all()
        .build()
        .unwrap()
}

/// Uses every thread of the pool until the senders are dropped.
fn fill(runtime: &Runtime) -> Vec<Sender<()>> {
    let (started, has_started) = channel();
    let release = (0..THREADS)
        .map(|_| {
            let (release, released) = channel();
            let started = started.clone();
            runtime.spawn_blocking(move || {
                started.send(()).unwrap();
                released.recv().ok();
            });
            release
        })
        .collect();
    for _ in 0..THREADS {
        has_started.recv().unwrap();
    }
    release
}

fn monitor() -> Monitor {
    Monitor::builder()
        .name("blocking-pool")
        .interval(millis(10))
        .sampler(BlockingPoolSampler::new())
        .build()
        .unwrap()
}

/// Installs the monitor and waits until its job must be in the full pool.
fn install(monitor: &Monitor, runtime: &Runtime) {
    monitor.install_on(runtime.handle()).unwrap();
    wait_for_lag(monitor, millis(60));
}

fn wait_for_lag(monitor: &Monitor, lag: Duration) {
    while monitor.lag() < lag {
        sleep(millis(5));
    }
}

fn next(samples: &mut Samples) -> Option<Duration> {
    futures::executor::block_on(samples.next()).map(|sample| sample.lag)
}

#[test]
fn lag_grows_while_the_pool_is_full_and_a_sample_has_all_of_it() {
    let runtime = runtime();
    let monitor = monitor();
    let mut samples = monitor.subscribe();
    monitor.install_on(runtime.handle()).unwrap();
    let mut idle: Vec<_> = (0..15).map(|_| next(&mut samples).unwrap()).collect();
    idle.sort_unstable();
    let idle = idle[idle.len() / 2];

    let release = fill(&runtime);
    wait_for_lag(&monitor, millis(60));
    let latest = monitor.latest();
    let mut last = Duration::ZERO;
    for _ in 0..5 {
        sleep(millis(40));
        let lag = monitor.lag();
        assert!(lag > last, "{lag:?} after {last:?}");
        last = lag;
    }
    assert!(last >= millis(5 * 40), "{last:?}");
    assert_eq!(monitor.latest(), latest, "its job has not run");
    // The runtime itself is well.
    runtime
        .block_on(runtime.spawn(async { tokio::time::sleep(millis(1)).await }))
        .unwrap();

    let mut samples = monitor.subscribe();
    drop(release);
    let full = next(&mut samples).unwrap();
    // What is missing is how late the machine was when the job was given.
    assert!(full >= last / 2, "{full:?} after {last:?}");
    assert!(idle < full / 2, "{idle:?} before {full:?}");
}

/// When the task of the sampler has its turn depends on the runtime, not on the pool.
#[test]
fn a_stuck_runtime_is_no_lag_of_the_pool() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let mut sampler = BlockingPoolSampler::new();
    let block = millis(600);
    let began = Instant::now();
    let mut is_over = false;
    // Polled after the sampler, which has just given its job to the pool.
    let blocks = poll_fn(|_| {
        if !is_over && began.elapsed() >= millis(5) {
            is_over = true;
            sleep(block);
        }
        if is_over {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    let (lag, ()) =
        runtime.block_on(async { tokio::join!(biased; sampler.measure(millis(10)), blocks) });
    assert!(lag < block / 2, "{lag:?}");
}

#[test]
fn a_monitor_stops_while_its_job_waits() {
    let runtime = runtime();
    let monitor = monitor();
    let release = fill(&runtime);
    let mut samples = monitor.subscribe();
    install(&monitor, &runtime);
    monitor.stop();
    runtime.block_on(monitor.stopped());
    assert_eq!(next(&mut samples), None);
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);

    // When it is installed again it waits for the same job.
    let again = Instant::now();
    install(&monitor, &runtime);
    let mut samples = monitor.subscribe();
    let waited = again.elapsed();
    drop(release);
    let lag = next(&mut samples).unwrap();
    assert!(lag >= waited, "{lag:?} after {waited:?}");
    assert!(next(&mut samples).is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn one_job_waits_at_most() {
    fn open_nowheres() -> usize {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
            .filter(|path| path == std::path::Path::new("/dev/null"))
            .count()
    }

    let before = open_nowheres();
    let runtime = runtime();
    let monitor = monitor();
    let _release = fill(&runtime);
    for _ in 0..5 {
        install(&monitor, &runtime);
        monitor.stop();
    }
    assert_eq!(open_nowheres(), before + 1);
}

#[test]
fn a_job_that_ran_unnoticed_is_not_a_sample() {
    let runtime = runtime();
    let monitor = monitor();
    let release = fill(&runtime);
    install(&monitor, &runtime);
    wait_for_lag(&monitor, millis(500));
    monitor.stop();
    drop(release);
    // It has run when another one has that came after it.
    let later = (0..=THREADS).map(|_| runtime.spawn_blocking(|| ()));
    for ran in later.collect::<Vec<_>>() {
        runtime.block_on(ran).unwrap();
    }
    sleep(millis(60));
    let mut samples = monitor.subscribe();
    monitor.install_on(runtime.handle()).unwrap();
    let first = next(&mut samples).unwrap();
    assert!(first < millis(400), "{first:?}");
}

#[test]
fn a_monitor_leaves_a_full_pool_for_another_runtime() {
    let runtime = runtime();
    let monitor = monitor();
    let _release = fill(&runtime);
    install(&monitor, &runtime);
    monitor.stop();
    has_no_lag_elsewhere(&monitor);
}

fn has_no_lag_elsewhere(monitor: &Monitor) {
    let other = paused_runtime();
    monitor.install_on(other.handle()).unwrap();
    let sample = other.block_on(monitor.subscribe().next()).unwrap();
    assert_eq!(sample.lag, Duration::ZERO);
}

#[test]
fn a_runtime_shuts_down_while_its_pool_is_full() {
    let flavours: [fn() -> Builder; 2] = [Builder::new_multi_thread, Builder::new_current_thread];
    let ways: [fn(Runtime); 2] = [Runtime::shutdown_background, |runtime| {
        runtime.shutdown_timeout(millis(30));
    }];
    for (flavour, shut_down) in flavours
        .into_iter()
        .flat_map(|flavour| ways.map(|way| (flavour, way)))
    {
        let runtime = build(flavour());
        let monitor = monitor();
        let release = fill(&runtime);
        let mut samples = monitor.subscribe();
        monitor.install_on(runtime.handle()).unwrap();
        runtime.block_on(async { tokio::time::sleep(millis(50)).await });
        shut_down(runtime);
        assert_eq!(next(&mut samples), None);
        assert!(!monitor.is_running());
        futures::executor::block_on(monitor.stopped());
        has_no_lag_elsewhere(&monitor);
        drop(release);
    }
}

#[test]
fn a_runtime_is_dropped_while_its_job_waits() {
    let runtime = runtime();
    let monitor = monitor();
    let release = fill(&runtime);
    install(&monitor, &runtime);
    let dropped = std::thread::Builder::new().spawn(move || drop(runtime));
    // Tokio waits for what its pool runs, and for no longer.
    sleep(millis(50));
    drop(release);
    dropped.unwrap().join().unwrap();
    assert!(!monitor.is_running());
}
