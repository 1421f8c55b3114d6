//! From install to stop, and again.

use std::pin::pin;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use loopmon::{BlockingPoolSampler, Monitor, WakeSampler};
use tokio::runtime::{Handle, Runtime};
use tokio::time::Instant;

use crate::support::{Read, manual, millis, monitor, paused_runtime, read, recorder, settle};

fn multi_thread(workers: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn stop_does_not_wait_for_the_interval() {
    let monitor = monitor(Duration::from_secs(30));
    let mut samples = monitor.subscribe();
    settle().await;
    let began = Instant::now();
    monitor.stop();
    monitor.stopped().await;
    assert_eq!(samples.next().await, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[test]
fn stop_works_from_any_thread_and_twice() {
    let runtime = multi_thread(2);
    let monitor = Monitor::builder()
        .interval(Duration::from_secs(30))
        .install_on(runtime.handle())
        .unwrap();
    let stopped = monitor.clone();
    thread::Builder::new()
        .spawn(move || {
            stopped.stop();
            stopped.stop();
            futures::executor::block_on(stopped.stopped());
            futures::executor::block_on(stopped.stopped());
        })
        .unwrap()
        .join()
        .unwrap();
    assert!(!monitor.is_running());
}

#[tokio::test(start_paused = true)]
async fn stopping_before_installing_ends_the_streams() {
    let monitor = Monitor::builder().build().unwrap();
    let mut samples = monitor.subscribe();
    monitor.stop();
    assert_eq!(read(&mut samples), Read::End);
    monitor.stopped().await;
    monitor.install().unwrap();
    assert!(monitor.subscribe().next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_monitor_can_be_installed_again() {
    let (callback, recorded) = recorder();
    let monitor = loopmon::create(millis(10), callback).unwrap();
    for run in 1..=3 {
        let mut samples = monitor.subscribe();
        tokio::time::sleep(millis(25)).await;
        monitor.stop();
        assert_eq!(recorded.len(), 2 * run);
        assert_ne!(read(&mut samples), Read::End);
        assert_ne!(read(&mut samples), Read::End);
        assert_eq!(read(&mut samples), Read::End);
        // Before the monitor's task is gone.
        monitor.install().unwrap();
        assert!(monitor.is_installed());
        assert_eq!(read(&mut samples), Read::End);
    }
}

#[test]
fn a_monitor_can_move_to_another_runtime() {
    let monitor = Monitor::builder().interval(millis(10)).build().unwrap();
    for _ in 0..3 {
        let runtime = paused_runtime();
        let mut samples = monitor.subscribe();
        monitor.install_on(runtime.handle()).unwrap();
        runtime.block_on(async { samples.next().await.unwrap() });
        drop(runtime);
        assert_eq!(read(&mut samples), Read::End);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_detaches() {
    let mut samples = monitor(millis(10)).subscribe();
    for _ in 0..3 {
        assert!(samples.next().await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn stop_on_drop_stops() {
    let guard = monitor(millis(10)).stop_on_drop();
    let other = Monitor::clone(&guard);
    let mut samples = guard.subscribe();
    assert!(samples.next().await.is_some());
    drop(guard);
    assert!(!other.is_running());
    assert_eq!(samples.next().await, None);
    other.stopped().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn run_is_driven_by_the_caller_until_stopped() {
    let monitor = Monitor::builder().interval(millis(10)).build().unwrap();
    let mut samples = monitor.subscribe();
    let read = async {
        assert!(monitor.is_running());
        assert!(!monitor.is_installed());
        assert_eq!(samples.next().await.unwrap().tasks, 0);
        monitor.stop();
        monitor.stopped().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    };
    let (ran, ()) = tokio::join!(monitor.run(), read);
    ran.unwrap();
    assert!(!monitor.is_running());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_ends() {
    let monitor = Monitor::builder().interval(millis(10)).build().unwrap();
    let mut samples = monitor.subscribe();
    assert!(
        tokio::time::timeout(millis(25), monitor.run())
            .await
            .is_err()
    );
    assert!(!monitor.is_running());
    monitor.stopped().await;
    assert_ne!(read(&mut samples), Read::End);
    assert_ne!(read(&mut samples), Read::End);
    assert_eq!(read(&mut samples), Read::End);
    assert!(
        tokio::time::timeout(millis(25), monitor.run())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn run_calls_callbacks_too() {
    let (callback, recorded) = recorder();
    let monitor = Monitor::builder()
        .interval(millis(10))
        .callback(callback)
        .build()
        .unwrap();
    assert!(
        tokio::time::timeout(millis(35), monitor.run())
            .await
            .is_err()
    );
    monitor.stopped().await;
    assert_eq!(recorded.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn several_monitors_on_one_runtime_leave_out_each_others_tasks() {
    let (callback, _) = recorder();
    let first = monitor(millis(10));
    let second = loopmon::create(millis(15), callback).unwrap();
    let user = tokio::spawn(std::future::pending::<()>());
    assert_eq!(first.subscribe().next().await.unwrap().tasks, 1);
    assert_eq!(second.subscribe().next().await.unwrap().tasks, 1);
    first.stop();
    first.stopped().await;
    assert_eq!(second.subscribe().next().await.unwrap().tasks, 1);
    user.abort();
    assert_eq!(second.subscribe().next().await.unwrap().tasks, 0);
}

#[tokio::test(start_paused = true)]
async fn the_latest_sample_is_there_when_a_reader_has_it() {
    let (hand, sampler) = manual();
    let monitor = Monitor::builder().sampler(sampler).install().unwrap();
    let mut samples = monitor.subscribe();
    assert_eq!(monitor.latest(), None);
    for lag in 1..10 {
        hand.publish(millis(lag)).await;
        assert_eq!(monitor.latest(), samples.next().await);
        assert_eq!(monitor.lag(), millis(lag));
    }
    let last = monitor.latest();
    monitor.stop();
    assert_eq!(monitor.latest(), last);
}

#[tokio::test(start_paused = true)]
async fn lag_shows_how_overdue_the_next_sample_is() {
    let (hand, sampler) = manual();
    let monitor = Monitor::builder()
        .sampler(sampler)
        .interval(millis(10))
        .install()
        .unwrap();
    assert_eq!(monitor.lag(), Duration::ZERO);
    // The first sample is 25 ms overdue.
    tokio::time::advance(millis(35)).await;
    assert_eq!(monitor.lag(), millis(25));
    hand.publish(millis(3)).await;
    assert_eq!(monitor.lag(), millis(3));
    tokio::time::advance(millis(12)).await;
    assert_eq!(monitor.lag(), millis(3));
    tokio::time::advance(millis(100)).await;
    assert_eq!(monitor.lag(), millis(102));
    // No sample is due once the monitor has ended.
    monitor.stop();
    assert_eq!(monitor.lag(), millis(3));
    tokio::time::advance(millis(100)).await;
    // The next run starts without the lag of this one.
    monitor.install().unwrap();
    assert_eq!(monitor.lag(), Duration::ZERO);
    tokio::time::advance(millis(30)).await;
    assert_eq!(monitor.lag(), millis(20));
}

struct Panics;
impl loopmon::Sampler for Panics {
    async fn measure(&mut self, _: Duration) -> Duration {
        panic!("a sampler's own mistake")
    }
}

#[tokio::test(start_paused = true)]
async fn a_sampler_that_panics_ends_the_monitor() {
    let monitor = Monitor::builder().sampler(Panics).install().unwrap();
    let mut samples = monitor.subscribe();
    assert_eq!(samples.next().await, None);
    assert!(!monitor.is_running());
    monitor.stopped().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a sampler's own mistake")]
async fn a_sampler_that_panics_panics_in_run() {
    let monitor = Monitor::builder().sampler(Panics).build().unwrap();
    monitor.run().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sampler_that_never_waits_leaves_others_their_turn() {
    struct Eager;
    impl loopmon::Sampler for Eager {
        async fn measure(&mut self, _: Duration) -> Duration {
            Duration::ZERO
        }
    }
    let monitor = Monitor::builder().sampler(Eager).install().unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(monitor.latest().is_some());
    monitor.stop();
}

/// Returns monitors with each sampler, not yet attached.
fn of_each_sampler() -> [Monitor; 3] {
    let builder = || Monitor::builder().interval(millis(5));
    [
        builder(),
        builder().sampler(WakeSampler::new()),
        builder().sampler(BlockingPoolSampler::new()),
    ]
    .map(|builder| builder.build().unwrap())
}

#[test]
fn a_run_ends_with_its_runtime_also_when_the_runtime_does_not_poll_it() {
    for monitor in of_each_sampler() {
        let runtime = multi_thread(1);
        let handle = runtime.handle().clone();
        let running = monitor.clone();
        let mut samples = monitor.subscribe();
        let caller = thread::Builder::new()
            .spawn(move || handle.block_on(running.run()))
            .unwrap();
        futures::executor::block_on(samples.next()).unwrap();
        drop(runtime);
        caller.join().unwrap().unwrap();
        assert!(!monitor.is_running());
        while futures::executor::block_on(samples.next()).is_some() {}
    }
}

#[test]
fn a_stopped_monitor_can_leave_a_runtime_that_is_not_driven() {
    for monitor in of_each_sampler() {
        let idle = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        monitor.install_on(idle.handle()).unwrap();
        idle.block_on(monitor.subscribe().next()).unwrap();
        monitor.stop();
        let other = paused_runtime();
        monitor.install_on(other.handle()).unwrap();
        assert!(other.block_on(monitor.subscribe().next()).is_some());
    }
}

#[test]
fn a_stopped_monitor_can_leave_a_runtime_that_is_stuck() {
    let (callback, recorded) = recorder();
    let stuck = multi_thread(1);
    let monitor = Monitor::builder()
        .interval(millis(5))
        .callback(callback)
        .install_on(stuck.handle())
        .unwrap();
    let (is_stuck, reported) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    stuck.spawn(async move {
        is_stuck.send(()).unwrap();
        released.recv().unwrap();
    });
    reported.recv().unwrap();
    monitor.stop();
    let before = recorded.len();
    let other = paused_runtime();
    monitor.install_on(other.handle()).unwrap();
    other.block_on(async {
        assert!(monitor.subscribe().next().await.is_some());
        settle().await;
    });
    assert!(recorded.len() > before, "callbacks are served there, too");
    release.send(()).unwrap();
}

/// The future of `run` exists, but is not polled while the other branch runs.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_polled_can_be_stopped_and_restarted() {
    let monitor = Monitor::builder().interval(millis(5)).build().unwrap();
    let mut run = pin!(monitor.run());
    tokio::select! {
        _ = &mut run => unreachable!("nobody stops it but the other branch"),
        () = tokio::time::sleep(millis(30)) => {
            monitor.stop();
            monitor.stopped().await;
            monitor.install().unwrap();
            assert!(monitor.subscribe().next().await.is_some());
        }
    }
    run.await.unwrap();
    assert!(monitor.is_installed());
}

/// Tasks are gone when `stopped` returns, also as seen from another thread. Tokio drops a future before it
/// removes the task from its list, so it takes many tries to see a mistake.
#[test]
fn no_task_is_left_when_stopped_returns_on_multi_thread() {
    let runtime = multi_thread(2);
    for _ in 0..300 {
        let monitor = Monitor::builder()
            .interval(millis(1))
            .callback(async |_| {})
            .install_on(runtime.handle())
            .unwrap();
        runtime.block_on(async {
            monitor.subscribe().next().await.unwrap();
            monitor.stop();
            monitor.stopped().await;
        });
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_can_stop_its_monitor() {
    let slot = Arc::new(OnceLock::<Monitor>::new());
    let own = Arc::clone(&slot);
    let monitor = Monitor::builder()
        .interval(millis(5))
        .callback(move |_| {
            let own = Arc::clone(&own);
            async move { own.get().unwrap().stop() }
        })
        .build()
        .unwrap();
    slot.set(monitor.clone()).unwrap();
    monitor.install().unwrap();
    monitor.stopped().await;
    assert!(!monitor.is_running());
}
