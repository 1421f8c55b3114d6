//! When runtimes are watched, and what is left afterwards.

use std::time::Duration;

use loopmon::Phase;
use tokio::time::sleep;

use super::{FOR_EVER, Heard, assert_one, block, current_thread, multi_thread, rest, watching};
use crate::support::millis;

/// Whether the process has a thread of this name now.
fn has_thread(name: &str) -> bool {
    threads(name) > 0
}

/// How many threads of this name the process has now.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let is_named_so = |task: &std::fs::DirEntry| {
        let name_of_task = std::fs::read_to_string(task.path().join("comm"));
        // The system keeps 15 bytes.
        name_of_task.is_ok_and(|it| it.trim_end() == &name[..name.len().min(15)])
    };
    tasks.filter(is_named_so).count()
}

#[track_caller]
fn wait_until(what: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !what() {
        assert!(began.elapsed() < FOR_EVER);
        std::thread::sleep(millis(5));
    }
}

/// How often the threads of this name have gone to sleep.
#[cfg(target_os = "linux")]
fn sleeps_of(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let statuses =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_start_matches(':').trim().to_owned()
    };
    let of_this_name =
        statuses.filter(|status| field(status, "Name") == name[..name.len().min(15)]);
    of_this_name
        .map(|status| {
            field(&status, "voluntary_ctxt_switches")
                .parse::<u64>()
                .unwrap()
        })
        .sum()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
#[cfg(target_os = "linux")]
fn the_threads_are_there_as_long_as_somebody_wants_stalls() {
    let threads = ["loopmon-watchdog", "loopmon-reporter", "loopmon-callbacks"];
    let none = || !threads.iter().any(|name| has_thread(name));
    wait_until(none);
    let runtime = multi_thread(2);

    let samples_alone = watching().install_on(runtime.handle()).unwrap();
    rest(&runtime, millis(100));
    assert!(none());
    samples_alone.stop();

    let monitor = watching().install_on(runtime.handle()).unwrap();
    let stalls = monitor.stalls();
    wait_until(|| has_thread("loopmon-watchdog") && has_thread("loopmon-reporter"));
    assert!(!has_thread("loopmon-callbacks"));
    drop(stalls);
    wait_until(none);

    // Once more, and for two monitors.
    let other = watching().install_on(runtime.handle()).unwrap();
    let (stalls, others) = (monitor.stalls(), other.stalls());
    monitor.stop();
    drop(others);
    wait_until(none);
    drop((stalls, other));

    let monitor = watching()
        .stall_callback(async |_| {})
        .install_on(runtime.handle())
        .unwrap();
    wait_until(|| threads.iter().all(|name| has_thread(name)));
    monitor.stop();
    wait_until(none);
}

#[test]
#[cfg(target_os = "linux")]
fn the_watchdog_of_an_idle_runtime_looks_less_often() {
    let runtime = multi_thread(1);
    // A sample may be just at a look, which then finds the runtime busy.
    let rarely = Duration::from_secs(10);
    let monitor = watching().interval(rarely).stall_threshold(millis(100));
    let monitor = monitor.build().unwrap();
    // This thread would be watched as well, and is not idle.
    let installer = || monitor.install_on(runtime.handle()).unwrap();
    std::thread::scope(|scope| scope.spawn(installer).join().unwrap());
    let heard = Heard::of(monitor.stalls());
    let looks_in = |duration| {
        let before = sleeps_of("loopmon-watchdog");
        std::thread::sleep(duration);
        sleeps_of("loopmon-watchdog") - before
    };
    // The first second shows that the runtime is idle.
    std::thread::sleep(millis(2_000));
    let idle = looks_in(millis(1_000));
    assert!((1..=30).contains(&idle), "{idle}");

    // It looks more often once a worker is busy.
    runtime.spawn(async { std::thread::sleep(millis(1_500)) });
    std::thread::sleep(millis(200));
    let busy = looks_in(millis(1_000));
    assert!(busy > idle, "{busy} {idle}");
    heard.wait_for(Phase::Ended, 1);
    monitor.stop();
    assert_one(&heard.to_the_end(), 0);
}

#[test]
#[cfg(all(target_os = "linux", feature = "stack"))]
fn stacks_are_resolved_by_one_thread_at_most() {
    // Each has a stack to resolve when its watch, the only one, ends. That takes long in a program like this.
    for _ in 0..10 {
        current_thread().block_on(async {
            let monitor = watching().install().unwrap();
            let heard = Heard::of(monitor.stalls());
            sleep(millis(20)).await;
            block();
            tokio::task::yield_now().await;
            monitor.stop();
            heard.all_to_the_end();
        });
        assert!(threads("loopmon-stacks") <= 1);
    }
    wait_until(|| !has_thread("loopmon-stacks"));
}

#[test]
fn the_tasks_are_not_counted_and_are_gone_after_stopped() {
    for runtime in [current_thread(), multi_thread(2)] {
        let monitor = watching().stall_callback(async |_| {}).build().unwrap();
        runtime.block_on(async {
            let _stalls = monitor.stalls();
            monitor.install().unwrap();
            sleep(millis(100)).await;
            assert_eq!(monitor.latest().unwrap().tasks, 0);
            monitor.stop();
            monitor.stopped().await;
        });
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_runtime_that_has_ended_is_let_go() {
    let before = open_files();
    let monitor = watching().build().unwrap();
    let stalls = monitor.stalls();
    for build in [current_thread, || multi_thread(2)] {
        let runtime = build();
        let heard = Heard::of(monitor.stalls());
        monitor.install_on(runtime.handle()).unwrap();
        rest(&runtime, millis(100));
        drop(runtime);
        heard.nothing_to_the_end();
        wait_until(|| open_files() <= before);
    }
    drop(stalls);
}

#[test]
fn a_runtime_that_shuts_down_with_a_stuck_worker_is_let_go() {
    let runtime = multi_thread(2);
    let monitor = watching().install_on(runtime.handle()).unwrap();
    let heard = Heard::of(monitor.stalls());
    rest(&runtime, millis(50));
    runtime.spawn(async { block() });
    heard.wait_for(Phase::Started, 1);
    runtime.shutdown_background();
    heard.to_the_end();
    assert!(!monitor.is_running());
}

#[test]
fn a_stall_that_has_just_ended_is_reported_before_the_stream_ends() {
    current_thread().block_on(async {
        let monitor = watching().install().unwrap();
        let heard = Heard::of(monitor.stalls());
        sleep(millis(50)).await;
        block();
        tokio::task::yield_now().await;
        sleep(Duration::ZERO).await;
        monitor.stop();
        assert_one(&heard.to_the_end(), 0);
    });
}

#[test]
fn a_stream_asked_for_before_the_monitor_is_installed() {
    let monitor = watching().name("early").build().unwrap();
    let heard = Heard::of(monitor.stalls());
    current_thread().block_on(async {
        monitor.install().unwrap();
        block();
        sleep(millis(50)).await;
        monitor.stop();
    });
    let stalls = heard.to_the_end();
    assert_one(&stalls, 0);
    assert_eq!(stalls[0].monitor.as_deref(), Some("early"));
}

#[test]
fn a_stream_of_a_monitor_that_is_never_installed_ends_with_it() {
    let monitor = watching().build().unwrap();
    let stopped = Heard::of(monitor.stalls());
    monitor.stop();
    stopped.nothing_to_the_end();
    let dropped = Heard::of(monitor.stalls());
    drop(monitor);
    dropped.nothing_to_the_end();
}

#[test]
fn a_monitor_that_the_caller_drives() {
    current_thread().block_on(async {
        let monitor = watching().build().unwrap();
        let heard = Heard::of(monitor.stalls());
        let running = async {
            sleep(millis(50)).await;
            block();
            sleep(millis(50)).await;
            monitor.stop();
        };
        let (run, ()) = tokio::join!(monitor.run(), running);
        run.unwrap();
        assert_one(&heard.to_the_end(), 0);
    });
}

#[test]
fn callbacks_run_while_it_lasts_and_may_use_tokio() {
    let (sender, reports) = std::sync::mpsc::channel();
    let callback = move |stall: loopmon::Stall| {
        let sender = sender.clone();
        async move {
            sleep(millis(1)).await;
            let thread = std::thread::current().name().unwrap().to_owned();
            sender.send((stall, thread)).unwrap();
        }
    };
    current_thread().block_on(async {
        let monitor = watching().stall_callback(callback).install().unwrap();
        block();
        let (stall, thread) = reports.recv_timeout(FOR_EVER).unwrap();
        assert_eq!(stall.phase, Phase::Started);
        assert_eq!(thread, "loopmon-callbacks");
        sleep(millis(50)).await;
        monitor.stop();
        monitor.stopped().await;
    });
    let mut last = None;
    while let Ok((stall, _)) = reports.recv_timeout(FOR_EVER) {
        last = Some(stall);
    }
    assert_eq!(last.unwrap().phase, Phase::Ended);
}

#[test]
fn a_callback_that_blocks_holds_up_no_stream() {
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let held = std::sync::Arc::new(held);
    let stuck = move |_| {
        let held = std::sync::Arc::clone(&held);
        async move {
            let _ended = held.lock().unwrap().recv();
        }
    };
    current_thread().block_on(async {
        let monitor = watching().stall_callback(stuck).install().unwrap();
        let heard = Heard::of(monitor.stalls());
        block();
        sleep(millis(50)).await;
        block();
        sleep(millis(50)).await;
        heard.wait_for(Phase::Ended, 2);
        monitor.stop();
        heard.to_the_end();
        drop(let_go);
        monitor.stopped().await;
    });
}
