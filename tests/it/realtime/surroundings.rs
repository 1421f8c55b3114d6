//! Processes that fork, lose `/proc`, or are at their limit of threads: they go on, and so does the
//! detection of stalls.
#![cfg(target_os = "linux")]
#![allow(
    unsafe_code,
    reason = "what a program does to itself here has no safe form"
)]

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use loopmon::{BlockingPoolSampler, Cause, Monitor, Phase, Stall};

use crate::support::millis;

/// Asks this binary to be the process in which it happens.
const CHILD: &str = "LOOPMON_TEST_SURROUNDINGS";

/// Runs `act` in a process of its own, by way of the test of this name.
fn in_a_process(name: &str, act: fn()) {
    in_a_process_with(&[], name, act);
}

/// As `in_a_process`, with these variables in its environment.
fn in_a_process_with(variables: &[(&str, &str)], name: &str, act: fn()) {
    if std::env::var_os(CHILD).is_some() {
        act();
        // What is left of the process does not matter.
        std::process::exit(0);
    }
    let name = format!("realtime::surroundings::{name}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_root() -> bool {
    // SAFETY: it takes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// A runtime that is built, watched and blocked now: its stall is told while it lasts.
fn stall_is_told() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let monitor = watch(&runtime);
    told_live(&runtime, &monitor);
    monitor.stop();
}

fn watch(runtime: &tokio::runtime::Runtime) -> Monitor {
    let monitor = Monitor::builder()
        .stall_threshold(millis(60))
        .install_on(runtime.handle())
        .unwrap();
    sleep(millis(200));
    monitor
}

/// Returns the report of the end.
fn told_live(runtime: &tokio::runtime::Runtime, monitor: &Monitor) -> Stall {
    let mut stalls = monitor.stalls();
    sleep(millis(100));
    let task = runtime.spawn(async { sleep(millis(600)) });
    let first = futures::executor::block_on(stalls.next()).unwrap();
    assert_eq!(first.phase, Phase::Started, "{first}");
    assert!(!task.is_finished(), "{first}");
    runtime.block_on(task).unwrap();
    loop {
        let stall = futures::executor::block_on(stalls.next()).unwrap();
        if stall.phase == Phase::Ended {
            return stall;
        }
    }
}

#[test]
fn the_child_of_a_fork_starts_afresh() {
    in_a_process("the_child_of_a_fork_starts_afresh", || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let monitor = watch(&runtime);
        let _stalls = monitor.stalls();
        sleep(millis(100));
        // SAFETY: the child uses nothing that another thread may have locked, but for the allocator,
        // which glibc and musl make fit for it.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: it ends this process if it hangs.
            unsafe { libc::alarm(60) };
            stall_is_told();
            // SAFETY: it ends this process.
            unsafe { libc::_exit(7) };
        }
        let mut status = 0;
        // SAFETY: the status is there to be written to.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7,
            "{status}"
        );
        told_live(&runtime, &monitor);
    });
}

/// `fork` shares all memory with the child, and lets no other thread write meanwhile: so also the watchdog only
/// sees the end.
#[test]
fn a_long_fork_is_told_and_no_pause() {
    in_a_process("a_long_fork_is_told_and_no_pause", || {
        // The system copies what is at lower addresses first, such as the stacks of later threads.
        make_fork_slow();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let monitor = Monitor::builder()
            .stall_threshold(millis(15))
            .install_on(runtime.handle())
            .unwrap();
        let mut stalls = monitor.stalls();
        // On a crowded machine a fork may go unnoticed: the watchdog waits for a CPU as well.
        let (mut told, mut forks) = (0, 0);
        while told < 3 && forks < 10 {
            forks += 1;
            sleep(millis(300));
            let forked = runtime.block_on(runtime.spawn(async { fork_once() }));
            let (child, lasted) = forked.unwrap();
            sleep(millis(300));
            // SAFETY: a status is not asked for.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            let stalls = std::iter::from_fn(|| futures::FutureExt::now_or_never(stalls.next())?);
            let ended = stalls.filter(|stall| stall.phase == Phase::Ended).last();
            told += usize::from(ended.is_some_and(|stall| stall.duration >= lasted / 2));
        }
        // The host may keep the watchdog from its CPU just then, or stop.
        let paused = loopmon::pauses().count;
        assert!(told == 3 && 2 * paused <= forks, "{told} {forks} {paused}");
        monitor.stop();
    });
}

#[test]
fn the_watchdog_needs_no_memory_while_it_watches() {
    in_a_process("the_watchdog_needs_no_memory_while_it_watches", || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let monitor = watch(&runtime);
        let _stalls = monitor.stalls();
        // So that all code has run once, which is mapped as well.
        told_live(&runtime, &monitor);
        let before = watchdog_faults();
        for _ in 0..3 {
            told_live(&runtime, &monitor);
        }
        let during = watchdog_faults() - before;
        assert!(during <= 2, "{during}");
        monitor.stop();
    });
}

/// How often the watchdog's thread has needed a page of memory.
fn watchdog_faults() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")));
    let watchdog = stats
        .filter_map(Result::ok)
        .find_map(|stat| Some(stat.split_once("(loopmon-watchdo) ")?.1.to_owned()))
        .unwrap();
    // Of what follows the name, the state is the third field of proc(5), and the faults are the 10th and the 12th.
    let field = |number: usize| watchdog.split(' ').nth(number - 3).unwrap();
    field(10).parse::<u64>().unwrap() + field(12).parse::<u64>().unwrap()
}

/// A handler that is slow, and runs on whatever thread, holds up no report.
#[cfg(feature = "stack")]
#[test]
fn no_handler_of_the_program_runs_on_the_threads_that_detect_stalls() {
    in_a_process(
        "no_handler_of_the_program_runs_on_the_threads_that_detect_stalls",
        || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let monitor = watch(&runtime);
            let _stalls = monitor.stalls();
            // Has the inspector ask the blocking pool, which starts a thread for that.
            told_live(&runtime, &monitor);
            let threads = threads_that_block(libc::SIGUSR1);
            let named = |name: &str| threads.iter().filter(|(thread, _)| thread == name).count();
            for own in ["watchdo", "inspect", "reporte", "stacks"] {
                assert_eq!(named(&format!("loopmon-{own}")), 1, "{own}: {threads:?}");
            }
            assert!(named("tokio-rt-worker") >= 3, "{threads:?}");
            for (thread, blocks) in &threads {
                let detects = thread.starts_with("loopmon-") && thread != "loopmon-wakers";
                assert_eq!(*blocks, detects, "{thread}: {threads:?}");
            }
            monitor.stop();
        },
    );
}

/// Returns the names of all threads, each with whether it blocks the signal.
#[cfg(feature = "stack")]
fn threads_that_block(signal: i32) -> Vec<(String, bool)> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let read = |thread: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        let field = |name: &str| {
            let mut lines = status.lines();
            Some(lines.find_map(|line| line.strip_prefix(name))?.trim())
        };
        let mask = u64::from_str_radix(field("SigBlk:")?, 16).ok()?;
        Some((field("Name:")?.to_owned(), mask >> (signal - 1) & 1 == 1))
    };
    threads.filter_map(read).collect()
}

/// Splits the memory map into many parts, which `fork` copies one by one: that takes about 0.1 s.
fn make_fork_slow() {
    const PARTS: usize = 60_000;
    const PAGE: usize = 4_096;
    let (private, both) = (
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        libc::PROT_READ | libc::PROT_WRITE,
    );
    // SAFETY: the system chooses where it is.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), PARTS * PAGE, both, private, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    let page = |part: usize| memory.wrapping_byte_add(part * PAGE);
    for part in 0..PARTS {
        // SAFETY: nothing else uses the page.
        unsafe { page(part).cast::<u8>().write_volatile(1) };
    }
    for part in (0..PARTS).step_by(2) {
        // SAFETY: nothing writes to the page any more.
        unsafe { libc::mprotect(page(part), PAGE, libc::PROT_READ) };
    }
}

/// Returns the child, which ends at once, and how long it took.
fn fork_once() -> (libc::pid_t, Duration) {
    let began = std::time::Instant::now();
    // SAFETY: the child does nothing but end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it ends this process.
        unsafe { libc::_exit(0) };
    }
    (child, began.elapsed())
}

#[test]
fn threads_with_small_stacks_are_enough() {
    let small = [("RUST_MIN_STACK", "65536")];
    in_a_process_with(&small, "threads_with_small_stacks_are_enough", || {
        // This test's own thread may have a larger one.
        let with_room = std::thread::Builder::new().stack_size(2 << 20);
        with_room.spawn(stall_is_told).unwrap().join().unwrap();
    });
}

#[test]
fn stalls_are_told_live_where_proc_is_gone() {
    if !is_root() {
        return;
    }
    in_a_process("stalls_are_told_live_where_proc_is_gone", || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let empty = std::env::temp_dir().join("loopmon-test-empty");
        std::fs::create_dir_all(&empty).unwrap();
        runtime.block_on(async {
            let monitor = Monitor::builder()
                .stall_threshold(millis(60))
                .install()
                .unwrap();
            let mut stalls = monitor.stalls();
            tokio::time::sleep(millis(200)).await;
            let path = std::ffi::CString::new(empty.into_os_string().into_encoded_bytes()).unwrap();
            // SAFETY: the path is a string that ends.
            assert_eq!(unsafe { libc::chroot(path.as_ptr()) }, 0);
            std::env::set_current_dir("/").unwrap();
            let reader = std::thread::Builder::new()
                .spawn(move || {
                    let first = futures::executor::block_on(stalls.next());
                    (first.unwrap(), std::time::Instant::now())
                })
                .unwrap();
            sleep(millis(600));
            let over = std::time::Instant::now();
            let (first, heard) = reader.join().unwrap();
            assert_eq!(first.phase, Phase::Started, "{first}");
            assert!(heard < over, "{first}");
        });
    });
}

#[test]
fn a_process_at_its_limit_of_threads_goes_on() {
    if !is_root() {
        return;
    }
    in_a_process("a_process_at_its_limit_of_threads_goes_on", || {
        // A panic that nobody may see.
        std::panic::set_hook(Box::new(|_| std::process::exit(70)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let monitor = watch(&runtime);
        let stalls = monitor.stalls();
        sleep(Duration::from_millis(300));
        let _unlimited = limit_threads();
        told_live(&runtime, &monitor);
        drop(stalls);
    });
}

/// The system then hides in which calls threads are, also from the process itself.
#[test]
fn what_sleeps_is_told_after_root_was_given_up() {
    if !is_root() {
        return;
    }
    in_a_process("what_sleeps_is_told_after_root_was_given_up", || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let monitor = Monitor::builder()
            .stall_threshold(millis(60))
            .stack_capture(loopmon::StackCapture::off())
            .install_on(runtime.handle())
            .unwrap();
        let _stalls = monitor.stalls();
        sleep(millis(300));
        // SAFETY: it takes numbers.
        assert_eq!(unsafe { libc::setresuid(65_534, 65_534, 65_534) }, 0);
        let stall = (0..3)
            .map(|_| told_live(&runtime, &monitor))
            .last()
            .unwrap();
        assert!(stall.thread.is_some(), "{stall}");
        assert!(matches!(stall.cause, Cause::Blocked { .. }), "{stall}");
        monitor.stop();
    });
}

/// Makes the system refuse this process any thread. Returns the limit before.
fn limit_threads() -> libc::rlimit {
    // Root has no limit. SAFETY: it takes a number.
    assert_eq!(unsafe { libc::setuid(65_534) }, 0);
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is there to be written to.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &raw mut before) };
    assert_eq!(read, 0);
    set_limit(libc::rlimit {
        rlim_cur: 1,
        ..before
    });
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    before
}

fn set_limit(limit: libc::rlimit) {
    // SAFETY: the limit is there to be read.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) };
    assert_eq!(set, 0);
}

#[test]
fn a_blocking_pool_that_is_refused_its_first_thread_shows_as_lag() {
    if !is_root() {
        return;
    }
    let name = "a_blocking_pool_that_is_refused_its_first_thread_shows_as_lag";
    in_a_process(name, || {
        // Tokio's `spawn_blocking` panics then.
        std::panic::set_hook(Box::new(|_| std::process::exit(70)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let monitor = Monitor::builder()
            .interval(millis(10))
            .sampler(BlockingPoolSampler::new())
            .build()
            .unwrap();
        let before = limit_threads();
        monitor.install_on(runtime.handle()).unwrap();
        while monitor.lag() < millis(300) {
            sleep(millis(10));
        }
        assert_eq!(monitor.latest(), None);
        let mut samples = monitor.subscribe();
        set_limit(before);
        let sample = futures::executor::block_on(samples.next()).unwrap();
        assert!(sample.lag >= millis(200), "{sample}");
        assert!(futures::executor::block_on(samples.next()).is_some());
    });
}
