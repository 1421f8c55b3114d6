//! Load shedding by real lag.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use loopmon::Monitor;
use loopmon::shed::Priority::{Critical, Normal};
use loopmon::shed::{Law, Policy, Reason, ShedLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{millis, monitor};

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn another_thread_sees_a_stuck_runtime_and_sends_a_probe_now_and_then() {
    let (give, policy) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let stuck = thread::spawn(move || {
        current_thread().block_on(async {
            let monitor = monitor(millis(10));
            monitor.subscribe().next().await;
            give.send(Policy::new(&monitor)).unwrap();
            // Never do this in async code.
            released.recv().unwrap_err();
        });
    });
    let policy: Policy = policy.recv().unwrap();
    while !policy.is_overloaded() {
        thread::sleep(millis(1));
    }
    let (mut refused, mut admitted) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        match policy.admit(Normal) {
            Ok(()) => admitted += 1,
            Err(overloaded) => {
                assert_eq!(overloaded.reason(), Reason::Overdue);
                refused += 1;
            }
        }
        assert_eq!(policy.admit(Critical), Ok(()));
        thread::sleep(millis(1));
    }
    let most = began.elapsed().as_millis() / Policy::PROBE_INTERVAL.as_millis() + 1;
    assert!((1..=most).contains(&admitted), "{admitted} of {refused}");
    assert!(refused > 0);
    drop(release);
    stuck.join().unwrap();
    // The runtime is gone.
    assert_eq!(policy.admit(Normal), Ok(()));
}

#[test]
fn a_stall_is_the_reason_while_it_lasts() {
    let (give, policy) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let stuck = thread::spawn(move || {
        current_thread().block_on(async {
            let monitor = monitor(millis(10));
            let stalls = monitor.stalls();
            monitor.subscribe().next().await;
            give.send((Policy::new(&monitor), stalls)).unwrap();
            // Never do this in async code.
            released.recv().unwrap_err();
        });
    });
    let (policy, mut stalls) = policy.recv().unwrap();
    let stall = futures::executor::block_on(stalls.next()).unwrap();
    assert_eq!(stall.worker(), Some(0));
    // One of them may be a probe.
    let refusal = (0..3).find_map(|_| policy.admit(Normal).err()).unwrap();
    assert_eq!(refusal.reason(), Reason::Stalled);
    drop(release);
    stuck.join().unwrap();
    assert_eq!(policy.admit(Normal), Ok(()));
}

/// Asks for three times as much as one thread can do, for a second and a half.
async fn overload(policy: &Policy) -> (usize, usize) {
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let work = service_fn(async |()| {
        let began = Instant::now();
        while began.elapsed() < millis(2) {}
        Ok::<_, std::convert::Infallible>(())
    });
    let service = ShedLayer::new(policy).layer(work);
    let (requests, mut arrives) = tokio::sync::mpsc::unbounded_channel();
    let clients = thread::spawn(move || {
        let began = Instant::now();
        while began.elapsed() < millis(1_500) {
            for _ in 0..3 {
                requests.send(()).unwrap();
            }
            thread::sleep(millis(2));
        }
    });
    while arrives.recv().await.is_some() {
        let (service, counts) = (service.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let answer = service.oneshot(()).await;
            counts[usize::from(answer.is_err())].fetch_add(1, Ordering::Relaxed);
        });
    }
    clients.join().unwrap();
    let [served, refused] = &*counts;
    (
        served.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed),
    )
}

#[test]
fn a_loop_that_gets_too_much_stays_quick_and_recovers() {
    for law in [
        Law::default(),
        Law::controlled_delay(millis(20), millis(100)),
    ] {
        current_thread().block_on(async {
            let monitor: Monitor = monitor(millis(10));
            let policy = Policy::with_law(&monitor, law);
            let (served, refused) = overload(&policy).await;
            assert!(served > 50 && refused > 50, "{law:?}: {served} {refused}");
            // What was asked for in the meantime would have taken three seconds more.
            let until = Instant::now() + Duration::from_secs(20);
            while policy.is_overloaded() {
                assert!(Instant::now() < until, "{law:?} does not recover");
                tokio::time::sleep(millis(10)).await;
            }
        });
    }
}
