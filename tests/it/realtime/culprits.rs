//! The account of culprits, on real runtimes.

use std::thread;
use std::time::Duration;

use loopmon::{Blame, Cause, Culprits, Monitor, Phase, Place};

use super::stalls::{BLOCK, Heard, THRESHOLD, block, current_thread, multi_thread, watching};
use crate::support::millis;

/// Longer than anything here takes, however slow the machine.
const FOR_EVER: Duration = Duration::from_secs(30);

/// Takes snapshots until one is as expected.
#[track_caller]
fn wait_until(monitor: &Monitor, expected: impl Fn(&Culprits) -> bool) -> Culprits {
    let began = std::time::Instant::now();
    loop {
        let culprits = monitor.culprits();
        if expected(&culprits) {
            return culprits;
        }
        assert!(began.elapsed() < FOR_EVER, "{culprits}");
        thread::sleep(millis(5));
    }
}

#[test]
fn nobody_has_to_read_the_stalls() {
    let monitor = watching().build().unwrap();
    assert!(monitor.culprits().is_empty());
    let runtime = current_thread();
    for _ in 0..2 {
        runtime.block_on(async {
            monitor.install().unwrap();
            tokio::time::sleep(millis(50)).await;
            block();
            tokio::time::sleep(millis(50)).await;
        });
        monitor.stop();
    }
    // The first stack takes a while.
    let has_stack = |culprits: &Culprits| culprits.iter().all(|one| one.trace.is_some());
    let culprits = wait_until(&monitor, |culprits| {
        let is_all = culprits.all().total >= 2 * BLOCK;
        is_all && (!cfg!(feature = "stack") || has_stack(culprits))
    });
    assert!(culprits.all().stalls >= 2, "{culprits}");
    let worst = culprits.iter().next().unwrap();
    assert!(
        worst
            .places
            .iter()
            .any(|(place, _)| *place == Place::Worker(0))
    );
    assert!(worst.first_seen < worst.last_seen);
    if cfg!(target_os = "linux") {
        assert!(
            matches!(worst.causes[0].0, Cause::Blocked { .. }),
            "{culprits}"
        );
    }
    if cfg!(feature = "stack") {
        let Blame::Own(call) = &worst.blame else {
            panic!("{culprits}");
        };
        assert!(call.function.as_ref().unwrap().ends_with("stalls::block"));
        assert!(worst.stalls >= 2 && worst.trace.is_some(), "{culprits}");
    }
}

#[test]
fn a_stall_grows_while_it_lasts() {
    let monitor = watching().build().unwrap();
    let other = monitor.clone();
    assert!(monitor.culprits().is_empty());
    let reader = thread::Builder::new()
        .spawn(move || {
            let first = wait_until(&other, |culprits| !culprits.is_empty());
            let reset = wait_until(&other, |culprits| culprits.all().total > first.all().total);
            (first, reset, other.reset_culprits())
        })
        .unwrap();
    let runtime = current_thread();
    runtime.block_on(async {
        monitor.install().unwrap();
        tokio::time::sleep(millis(50)).await;
        while !reader.is_finished() {
            thread::sleep(millis(1));
        }
        tokio::time::sleep(millis(50)).await;
    });
    let (first, later, reset) = reader.join().unwrap();
    assert!(first.all().total >= THRESHOLD);
    assert_eq!((first.all().stalls, later.all().stalls), (1, 1), "{later}");
    // The rest of it is no stall of its own.
    let rest = wait_until(&monitor, |culprits| !culprits.is_empty());
    assert_eq!(rest.all().stalls, 0, "{rest}");
    assert!(rest.since() > reset.since());
}

#[test]
fn a_reader_that_reads_nothing_loses_nothing() {
    let monitor = watching().stall_capacity(1).build().unwrap();
    let stalls = monitor.stalls();
    let runtime = current_thread();
    runtime.block_on(async {
        monitor.install().unwrap();
        for _ in 0..4 {
            tokio::time::sleep(millis(50)).await;
            block();
        }
        tokio::time::sleep(millis(50)).await;
    });
    // The last report of the last stall may wait for its stack.
    let culprits = wait_until(&monitor, |culprits| culprits.all().total >= 4 * BLOCK);
    assert!(culprits.all().stalls >= 4, "{culprits}");
    drop(stalls);
}

#[test]
fn the_time_of_a_worker_is_counted_once() {
    let monitor = watching().build().unwrap();
    let heard = Heard::of(monitor.stalls());
    let runtime = multi_thread(2);
    runtime.block_on(async {
        monitor.install().unwrap();
        tokio::time::sleep(millis(100)).await;
        let stuck = monitor.instrument("handler", async { block() });
        tokio::spawn(stuck).await.unwrap();
        tokio::time::sleep(millis(100)).await;
    });
    monitor.stop();
    let stalls = heard.all_to_the_end();
    let ended = stalls.iter().filter(|stall| stall.phase == Phase::Ended);
    let reported: Duration = ended.map(|stall| stall.duration).sum();
    let culprits = monitor.culprits();
    let all = culprits.all().total;
    assert!(all >= BLOCK, "{culprits}");
    let knows_thread = |stall: &&loopmon::Stall| stall.worker().is_some() && stall.thread.is_some();
    if stalls.iter().any(|stall| knows_thread(&stall)) {
        assert!(all + BLOCK / 2 <= reported, "{culprits}");
        assert_eq!(
            culprits.iter().next().unwrap().places[0].0,
            Place::Future("handler".into())
        );
    }
}
