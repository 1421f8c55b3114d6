//! Many runtimes, one watchdog.

use std::thread;

use loopmon::Phase;
use tokio::time::sleep;

use super::{Heard, assert_one, block, current_thread, watching};
use crate::support::millis;

#[test]
fn thread_per_core_programs_build_their_own_runtimes() {
    let cores = 4;
    let heard: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                let named = thread::Builder::new().name(format!("core-{core}"));
                let run = move || {
                    current_thread().block_on(async {
                        let monitor = watching().name(format!("{core}")).install().unwrap();
                        let heard = Heard::of(monitor.stalls());
                        sleep(millis(50)).await;
                        if core % 2 == 1 {
                            block();
                        }
                        sleep(millis(50)).await;
                        monitor.stop();
                        heard
                    })
                };
                named.spawn_scoped(scope, run).unwrap()
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for (core, heard) in heard.iter().enumerate() {
        if core % 2 == 0 {
            heard.nothing_to_the_end();
            continue;
        }
        let stalls = heard.to_the_end();
        assert_one(&stalls, 0);
        assert_eq!(stalls[0].monitor.as_deref(), Some(&*core.to_string()));
        let thread = super::thread(&stalls);
        assert_eq!(thread.name.as_deref(), Some(&*format!("core-{core}")));
    }
}

#[test]
fn one_stuck_runtime_among_a_hundred() {
    let runtimes: Vec<_> = (0..100).map(|_| current_thread()).collect();
    let monitors: Vec<_> = runtimes
        .iter()
        .enumerate()
        .map(|(index, runtime)| {
            let monitor = watching().name(index.to_string()).build().unwrap();
            let heard = Heard::of(monitor.stalls());
            runtime.block_on(async {
                monitor.install().unwrap();
                sleep(millis(1)).await;
            });
            (monitor, heard)
        })
        .collect();
    runtimes[42].block_on(async {
        sleep(millis(1)).await;
        block();
        sleep(millis(50)).await;
    });
    let (_, heard) = &monitors[42];
    let reports = heard.wait_for(Phase::Ended, 1);
    assert_eq!(reports[0].monitor.as_deref(), Some("42"));
    for (monitor, heard) in &monitors {
        monitor.stop();
        heard.to_the_end();
    }
}

/// What the threads of the runtime do is recorded once for all of them.
#[cfg(target_os = "linux")]
#[test]
fn all_of_many_workers_are_stuck_at_once() {
    const WORKERS: usize = 48;
    let runtime = super::multi_thread(WORKERS);
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    super::rest(&runtime, millis(1_500));
    let all = std::sync::Arc::new(std::sync::Barrier::new(WORKERS));
    let tasks: Vec<_> = (0..WORKERS)
        .map(|_| {
            let all = std::sync::Arc::clone(&all);
            runtime.spawn(async move {
                all.wait();
                thread::sleep(millis(700));
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    super::rest(&runtime, millis(300));
    monitor.stop();
    let stalls = heard.all_to_the_end();
    // A crowded machine may keep the inspector from the first ones, and a worker from being observed before.
    for phase in [Phase::Ongoing, Phase::Ended] {
        let reports: Vec<_> = stalls.iter().filter(|stall| stall.phase == phase).collect();
        let known = reports
            .iter()
            .filter(|stall| stall.thread.is_some())
            .count();
        assert!(
            known >= WORKERS / 2,
            "{known} of {}: {phase:?}",
            reports.len()
        );
    }
}

/// All threads have the same name, and each says the index of its worker, but not of which runtime.
#[cfg(target_os = "linux")]
#[test]
fn a_thread_of_another_runtime_is_not_taken_for_a_worker() {
    use std::collections::HashSet;
    let this_thread = || {
        let path = std::fs::read_link("/proc/thread-self").unwrap();
        path.file_name().unwrap().to_str().unwrap().parse().unwrap()
    };
    let sides = [block as fn(), || super::spin(super::BLOCK)].map(|blocks| {
        let runtime = super::multi_thread(2);
        let monitor = watching().install_on(runtime.handle()).unwrap();
        let heard = Heard::of(monitor.stalls());
        (runtime, monitor, heard, blocks)
    });
    for (runtime, ..) in &sides {
        super::rest(runtime, millis(100));
    }
    let tasks = sides.each_ref().map(|(runtime, _, _, blocks)| {
        let blocks = *blocks;
        [(), ()].map(|()| {
            runtime.spawn(async move {
                blocks();
                this_thread()
            })
        })
    });
    for ((runtime, monitor, heard, _), tasks) in sides.into_iter().zip(tasks) {
        let ran: HashSet<u32> = tasks
            .into_iter()
            .map(|task| runtime.block_on(task).unwrap())
            .collect();
        super::rest(&runtime, millis(50));
        monitor.stop();
        let stalls = heard.all_to_the_end();
        let threads = stalls.iter().filter_map(|stall| stall.thread.as_ref()?.id);
        let told: HashSet<u32> = threads.collect();
        assert!(told.is_subset(&ran), "{ran:?} {stalls:?}");
    }
}
