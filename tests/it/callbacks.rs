//! Promise 2: callbacks of every shape, their overlap, its bound, and their panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use loopmon::{Callbacks, IntoCallbacks, Monitor, Sample, Stall};
use tokio::sync::mpsc;

use crate::support::{manual, millis, recorder, settle};

static PLAIN: AtomicU64 = AtomicU64::new(0);

async fn plain(_: Sample) {
    PLAIN.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(start_paused = true)]
async fn callbacks_of_all_shapes_are_called_with_each_sample() {
    let calls = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&calls);
    let capturing = move |_: Sample| {
        let counter = Arc::clone(&counter);
        async move {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    };
    let monitor = Monitor::builder()
        .interval(millis(10))
        .callbacks((plain, async |sample: Sample| plain(sample).await))
        .callbacks([capturing.clone(), capturing.clone()])
        .callbacks(vec![capturing.clone()])
        .callbacks(())
        .callback(capturing)
        .install()
        .unwrap();
    tokio::time::sleep(millis(35)).await;
    monitor.stop();
    monitor.stopped().await;
    assert_eq!(PLAIN.load(Ordering::Relaxed), 3 * 2);
    assert_eq!(calls.load(Ordering::Relaxed), 3 * 4);
}

#[test]
fn a_bare_callback_is_enough() {
    assert_eq!(plain.into_callbacks().len(), 1);
    let eight = (plain, plain, plain, plain, plain, plain, plain, plain);
    assert_eq!(eight.into_callbacks().len(), 8);
}

#[test]
fn callbacks_of_stalls_come_in_all_shapes_too() {
    async fn one(_: Stall) {}
    let two = [one, one].into_callbacks();
    assert_eq!(two.len(), 2);
    let builder = Monitor::builder()
        .stall_callbacks((one, async |_| {}, async |stall: Stall| drop(stall.thread)))
        .stall_callbacks(two)
        .stall_callbacks(vec![one])
        .stall_callbacks(one)
        .stall_callback(|_| std::future::ready(()));
    assert!(format!("{builder:?}").contains("stall_callbacks: Callbacks { len: 8 }"));
}

#[tokio::test(start_paused = true)]
async fn calls_overlap_and_sampling_never_waits() {
    let (in_flight, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let slow = {
        let (in_flight, most) = (Arc::clone(&in_flight), Arc::clone(&most));
        move |_| {
            let (in_flight, most) = (Arc::clone(&in_flight), Arc::clone(&most));
            async move {
                let now = in_flight.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(millis(20)).await;
                in_flight.fetch_sub(1, Ordering::Relaxed);
            }
        }
    };
    let (callback, recorded) = recorder();
    let monitor = loopmon::create(millis(10), (slow, callback)).unwrap();
    let mut samples = monitor.subscribe();
    for _ in 0..10 {
        let sample = samples.next().await.unwrap();
        assert_eq!((sample.lag, sample.missed, sample.tasks), (millis(0), 0, 0));
    }
    settle().await;
    assert_eq!(recorded.len(), 10);
    assert!(most.load(Ordering::Relaxed) >= 2);
    monitor.stop();
    // Calls in flight continue, and `stopped` waits for them.
    monitor.stopped().await;
    assert_eq!(in_flight.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_never_ends_is_bounded_and_learns_what_it_lost() {
    let (hand, sampler) = manual();
    let (calls, mut called) = mpsc::unbounded_channel();
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let waiting = Arc::clone(&release);
    let callback = move |sample: Sample| {
        calls.send(sample.missed).unwrap();
        let waiting = Arc::clone(&waiting);
        async move { drop(waiting.acquire_owned().await) }
    };
    let monitor = Monitor::builder()
        .sampler(sampler)
        .callback(callback)
        .install()
        .unwrap();
    for lag in 0..1_000 {
        hand.publish(millis(lag)).await;
    }
    for _ in 0..Callbacks::MAX_CALLS_IN_FLIGHT {
        assert_eq!(called.try_recv(), Ok(0));
    }
    assert!(called.try_recv().is_err());

    release.add_permits(1_000);
    settle().await;
    hand.publish(millis(0)).await;
    let lost = 1_000 - Callbacks::MAX_CALLS_IN_FLIGHT as u64;
    assert_eq!(called.try_recv(), Ok(lost));
    monitor.stop();
    monitor.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn panics_end_only_their_own_call() {
    fn in_the_call(_: Sample) -> std::future::Ready<()> {
        panic!("a mistake in the call")
    }
    async fn in_the_future(_: Sample) {
        tokio::task::yield_now().await;
        panic!("a mistake in the future")
    }
    let (callback, recorded) = recorder();
    let monitor = loopmon::create(millis(10), (in_the_call, in_the_future, callback)).unwrap();
    let more = 2 * Callbacks::MAX_CALLS_IN_FLIGHT;
    let mut samples = monitor.subscribe();
    for _ in 0..more {
        assert_eq!(samples.next().await.unwrap().missed, 0);
    }
    settle().await;
    assert_eq!(recorded.len(), more);
    monitor.stop();
    monitor.stopped().await;
}

#[test]
fn a_panic_is_reported_by_the_panic_hook() {
    // The panic hook belongs to the process, so the report is read from another process.
    if std::env::var_os("LOOPMON_TEST_PANICS").is_some() {
        let runtime = crate::support::paused_runtime();
        runtime.block_on(async {
            let monitor =
                loopmon::create(millis(10), async |_| panic!("reported by the hook")).unwrap();
            monitor.subscribe().next().await.unwrap();
            settle().await;
        });
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "callbacks::a_panic_is_reported_by_the_panic_hook",
        ])
        .args(["--nocapture", "--test-threads=1"])
        .env("LOOPMON_TEST_PANICS", "1")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("reported by the hook"), "{report}");
}
