//! Polls of instrumented futures, on executors of every kind.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use loopmon::{Cause, Monitor, Phase, Place, Stall};

use super::stalls::{BLOCK, Heard, THRESHOLD, block, current_thread, multi_thread, spin, watching};
use crate::support::millis;

/// A monitor that is attached to nothing, and what it reports.
fn monitor() -> (Monitor, Heard) {
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    (monitor, heard)
}

fn place(name: &str) -> Place {
    Place::Future(name.into())
}

/// The reports of one stall: live, with its place and thread, and a duration that is never too short.
#[track_caller]
fn assert_one(stalls: &[Stall], name: &str, blocked: Duration) {
    assert_eq!(stalls.first().unwrap().phase, Phase::Started, "{stalls:?}");
    assert_eq!(stalls.last().unwrap().phase, Phase::Ended, "{stalls:?}");
    let ids = stalls.iter().all(|stall| stall.id == stalls[0].id);
    assert!(ids, "{stalls:?}");
    assert!(stalls.iter().all(|stall| stall.place == place(name)));
    assert!(stalls[0].duration < blocked);
    assert!(stalls.last().unwrap().duration >= blocked, "{stalls:?}");
    if cfg!(target_os = "linux") {
        let cause = stalls[0].cause;
        assert!(matches!(cause, Cause::Blocked { .. }), "{cause:?}");
    }
}

/// Ends the monitor, and returns all that was reported.
fn all(monitor: &Monitor, heard: &Heard) -> Vec<Stall> {
    monitor.stop();
    heard.all_to_the_end()
}

#[test]
fn without_any_runtime() {
    let (monitor, heard) = monitor();
    block_on(monitor.instrument("import", async { block() }));
    let stalls = heard.wait_for(Phase::Ended, 1);
    assert_one(&stalls, "import", BLOCK);
    let thread = stalls[0].thread.as_ref().unwrap();
    assert_eq!(thread.name.as_deref(), thread::current().name());
    assert_eq!(all(&monitor, &heard).len(), stalls.len());
}

#[test]
fn on_the_thread_of_block_on_and_in_a_local_set() {
    let (monitor, heard) = monitor();
    let runtime = multi_thread(2);
    monitor.install_on(runtime.handle()).unwrap();
    let of = |stalls: Vec<Stall>, name| -> Vec<_> {
        let stalls = stalls.into_iter();
        stalls.filter(|stall| stall.place == place(name)).collect()
    };
    runtime.block_on(monitor.instrument("root", async { block() }));
    let local = tokio::task::LocalSet::new();
    local.spawn_local(monitor.instrument("local", async { block() }));
    runtime.block_on(local);
    let stalls = all(&monitor, &heard);
    assert_one(&of(stalls.clone(), "root"), "root", BLOCK);
    assert_one(&of(stalls, "local"), "local", BLOCK);
}

#[test]
fn of_a_future_on_a_watched_worker_and_of_the_worker() {
    let (monitor, heard) = monitor();
    let runtime = current_thread();
    runtime.block_on(async {
        monitor.install().unwrap();
        tokio::time::sleep(millis(50)).await;
        monitor.instrument("handler", async { block() }).await;
        tokio::time::sleep(millis(50)).await;
    });
    let stalls = all(&monitor, &heard);
    let of = |place: Place| -> Vec<_> {
        let stalls = stalls.iter().cloned();
        stalls.filter(|stall| stall.place == place).collect()
    };
    assert_one(&of(place("handler")), "handler", BLOCK);
    assert_eq!(of(Place::Worker(0))[0].phase, Phase::Started);
}

#[test]
fn only_the_innermost_of_several_is_reported() {
    let (monitor, heard) = monitor();
    let inner = monitor.instrument("inner", async { block() });
    let middle = monitor.instrument("middle", inner);
    block_on(monitor.instrument("outer", middle));
    assert_one(&all(&monitor, &heard), "inner", BLOCK);
}

#[test]
fn many_short_polls_in_a_long_one() {
    let (monitor, heard) = monitor();
    let each = || monitor.instrument("each", async { thread::sleep(millis(5)) });
    let all_of_them = futures::future::join_all((0..60).map(|_| each()));
    block_on(monitor.instrument("all", all_of_them));
    assert_one(&all(&monitor, &heard), "all", millis(300));
}

#[test]
fn a_panic_ends_the_poll() {
    let (monitor, heard) = monitor();
    let panics = monitor.instrument("panics", async {
        block();
        std::panic::resume_unwind(Box::new(()));
    });
    let panics: Result<(), _> = catch_unwind(AssertUnwindSafe(|| block_on(panics)));
    assert!(panics.is_err());
    assert_one(&heard.wait_for(Phase::Ended, 1), "panics", BLOCK);
    // The thread is in no poll any more.
    block();
    assert_eq!(heard.wait_for(Phase::Ended, 1), all(&monitor, &heard));
}

#[test]
fn a_future_that_moves_between_threads() {
    let (monitor, heard) = monitor();
    let mut polls = 0;
    let mut future = Box::pin(monitor.instrument(
        "moves",
        poll_fn(move |_| {
            polls += 1;
            block();
            if polls == 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }),
    ));
    for number in 0..3 {
        let name = format!("poller-{number}");
        let polls = thread::Builder::new().name(name.clone()).spawn(move || {
            let polled = futures::FutureExt::now_or_never(&mut future);
            (future, polled)
        });
        future = polls.unwrap().join().unwrap().0;
        let stalls = heard.wait_for(Phase::Ended, number + 1);
        let thread = stalls.last().unwrap().thread.as_ref().unwrap();
        assert_eq!(thread.name.as_deref(), Some(name.as_str()));
    }
    let stalls = all(&monitor, &heard);
    let starts = stalls.iter().filter(|stall| stall.phase == Phase::Started);
    assert_eq!(starts.count(), 3);
}

#[test]
fn healthy_futures_by_the_thousand() {
    let (monitor, heard) = monitor();
    let short = |index: u64| {
        monitor.instrument("short", async move {
            for _ in 0..3 {
                tokio::time::sleep(millis(index % 50)).await;
            }
        })
    };
    let runtime = multi_thread(2);
    runtime.block_on(async {
        let spawned: Vec<_> = (0..5_000).map(|index| tokio::spawn(short(index))).collect();
        for task in spawned {
            task.await.unwrap();
        }
        futures::future::join_all((0..10_000).map(short)).await;
    });
    // Between two polls a thread may do what it likes.
    block_on(monitor.instrument("short", async {}));
    block();
    assert!(all(&monitor, &heard).is_empty());
}

#[test]
fn a_task_that_yields_is_not_stuck() {
    let (monitor, heard) = monitor();
    let runtime = current_thread();
    runtime.block_on(monitor.instrument("yields", async {
        let began = std::time::Instant::now();
        while began.elapsed() < BLOCK {
            spin(millis(1));
            tokio::task::yield_now().await;
        }
    }));
    assert!(all(&monitor, &heard).is_empty());
}

#[test]
fn polls_below_a_tick_are_measured() {
    let monitor = Monitor::builder()
        .stall_threshold(millis(2))
        .build()
        .unwrap();
    let heard = Heard::of(monitor.stalls());
    for _ in 0..20 {
        block_on(monitor.instrument("short", async { thread::sleep(millis(3)) }));
    }
    let stalls = heard.wait_for(Phase::Ended, 20);
    assert!(stalls.iter().all(|stall| stall.place == place("short")));
    let ended = stalls.iter().filter(|stall| stall.phase == Phase::Ended);
    assert!(
        ended
            .map(|stall| stall.duration)
            .all(|lasted| lasted >= millis(3))
    );
}

#[test]
fn a_monitor_goes_on_after_a_stop() {
    let (monitor, heard) = monitor();
    let mut future = Box::pin(monitor.instrument(
        "twice",
        poll_fn(|_| {
            block();
            Poll::<()>::Pending
        }),
    ));
    let mut poll = || assert!(futures::FutureExt::now_or_never(&mut future).is_none());
    poll();
    assert_one(&all(&monitor, &heard), "twice", BLOCK);
    // Nobody wants to know.
    poll();
    let heard = Heard::of(monitor.stalls());
    poll();
    assert_one(&all(&monitor, &heard), "twice", BLOCK);
}

#[test]
fn the_stream_ends_with_the_last_handle() {
    let (monitor, heard) = monitor();
    let future = monitor.instrument("late", async { block() });
    drop(monitor);
    assert_eq!(heard.all_to_the_end(), []);
    // Nobody can want to know.
    block_on(future);
}

#[test]
fn callbacks_and_exports_of_an_installed_monitor_know_them() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeps = Arc::clone(&told);
    let monitor = watching()
        .stall_callback(move |stall: Stall| {
            keeps.lock().unwrap().push(stall);
            async {}
        })
        .build()
        .unwrap();
    let runtime = multi_thread(1);
    monitor.install_on(runtime.handle()).unwrap();
    runtime.block_on(monitor.instrument("root", async { block() }));
    monitor.stop();
    block_on(monitor.stopped());
    let told = told.lock().unwrap();
    assert!(told.iter().any(|stall| stall.place == place("root")));
}

#[cfg(all(feature = "stack", target_os = "linux"))]
#[test]
fn a_stack_shows_what_the_future_does() {
    #[inline(never)]
    fn a_slow_parser() {
        spin(BLOCK);
        std::hint::black_box(());
    }
    let (monitor, heard) = monitor();
    block_on(monitor.instrument("parse", async { a_slow_parser() }));
    let stalls = heard.wait_for(Phase::Ended, 1);
    let traces = stalls.iter().filter_map(|stall| stall.trace.as_ref());
    let traces: Vec<_> = traces.map(ToString::to_string).collect();
    let names_it = traces.iter().any(|trace| trace.contains("a_slow_parser"));
    assert!(names_it, "{traces:?}");
    monitor.stop();
}

#[test]
fn a_threshold_is_that_of_the_monitor() {
    let (monitor, heard) = monitor();
    let patient = Monitor::builder()
        .stall_threshold(BLOCK * 10)
        .build()
        .unwrap();
    let patiently = Heard::of(patient.stalls());
    let inner = patient.instrument("inner", async { block() });
    block_on(monitor.instrument("outer", inner));
    // Of this monitor's futures, the outer one is the innermost.
    assert_one(&all(&monitor, &heard), "outer", BLOCK);
    assert!(all(&patient, &patiently).is_empty());
    assert!(THRESHOLD < BLOCK);
}
