//! The stacks that stalls have.
#![cfg(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#![allow(
    unsafe_code,
    reason = "asks for a thread's alternate stack, and makes a system call that std does not"
)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loopmon::{Builder, Monitor, NoStack, Phase, StackCapture, StackTrace, Stall, Stalls};
use tokio::runtime::Runtime;

use crate::support::millis;

const BLOCK: Duration = millis(400);

/// Exceeds what anything here takes, on a slow machine too.
const FOR_EVER: Duration = Duration::from_secs(30);

#[inline(never)]
fn sleeps_here() {
    std::thread::sleep(BLOCK);
}

/// Reads in one system call that no signal interrupts, for longer than `READ`.
#[inline(never)]
fn reads_here() {
    // SAFETY: the name is a string that ends.
    let hole = unsafe { libc::memfd_create(c"hole".as_ptr(), libc::MFD_CLOEXEC) };
    assert_ne!(hole, -1);
    // SAFETY: nobody else has it.
    let hole = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(hole) });
    hole.set_len(2 << 30).unwrap();
    let mut bytes = vec![0_u8; 64 << 20];
    let part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let parts = [part; 31];
    // SAFETY: each part is this vector.
    let read = unsafe { libc::readv(hole.as_raw_fd(), parts.as_ptr(), parts.len() as i32) };
    assert!(read > 1 << 30);
}

const READ: Duration = millis(40);

#[inline(never)]
fn spins_here() {
    let began = std::time::Instant::now();
    while began.elapsed() < BLOCK {
        std::hint::spin_loop();
    }
}

fn runtimes() -> [Runtime; 2] {
    let mut builders = [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ];
    builders[1].worker_threads(2);
    builders.map(|mut builder| builder.enable_all().build().unwrap())
}

fn watching() -> Builder {
    Monitor::builder()
        .interval(millis(10))
        .stall_threshold(millis(50))
}

/// Returns all reports of the stall that `block` causes in a task, and the id of that task.
fn reports(runtime: &Runtime, builder: Builder, block: fn()) -> (Vec<Stall>, tokio::task::Id) {
    reports_of(runtime, builder, block, BLOCK)
}

/// As `reports`, of a stall of this duration or more.
fn reports_of(
    runtime: &Runtime,
    builder: Builder,
    block: fn(),
    lasts: Duration,
) -> (Vec<Stall>, tokio::task::Id) {
    let (mut reports, mut stalls, task) = runtime.block_on(async {
        // Installed from within, so that the monitor knows that this thread drives the runtime.
        let monitor = builder.install().unwrap();
        let mut stalls = monitor.stalls();
        // Wait until the monitor has observed all workers.
        tokio::time::sleep(millis(100)).await;
        let task = tokio::spawn(async move {
            block();
            tokio::task::id()
        });
        let task = task.await.unwrap();
        let reports = to_the_end_of(&mut stalls, lasts).await;
        monitor.stop();
        (reports, stalls, task)
    });
    reports.extend(rest(&mut stalls));
    (reports, task)
}

/// Returns the reports of the stall, up to its end. Others, which a crowded machine may cause, are left out.
/// Stopping the monitor earlier would publish reports without their stacks.
async fn to_the_end(stalls: &mut Stalls) -> Vec<Stall> {
    to_the_end_of(stalls, BLOCK).await
}

/// As `to_the_end`, of a stall of this duration or more.
async fn to_the_end_of(stalls: &mut Stalls, lasts: Duration) -> Vec<Stall> {
    let mut reports = Vec::new();
    let is_over = |stall: &Stall| stall.phase == Phase::Ended && stall.duration >= lasts;
    let end = async {
        while !reports.last().is_some_and(is_over) {
            reports.extend(stalls.next().await);
        }
    };
    let end = tokio::time::timeout(FOR_EVER, end).await;
    assert!(end.is_ok(), "{reports:?}");
    let id = reports.last().unwrap().id;
    reports.retain(|stall| stall.id == id);
    reports
}

fn rest(stalls: &mut Stalls) -> Vec<Stall> {
    let rest = std::iter::from_fn(|| futures::executor::block_on(stalls.next()));
    rest.collect()
}

/// Returns the last stack that was reported.
#[track_caller]
fn trace(stalls: &[Stall]) -> Arc<StackTrace> {
    let traces = stalls.iter().rev().filter_map(|stall| stall.trace.clone());
    let mut shown = traces.filter(|trace| trace.no_stack().is_none());
    shown.next().unwrap_or_else(|| panic!("{stalls:?}"))
}

#[track_caller]
fn assert_blames(trace: &StackTrace, function: &str) {
    assert!(!trace.is_truncated(), "{trace:#}");
    let is_named = |name: &str| name.split("::").any(|segment| segment == function);
    let mut users = trace.user_frames().iter();
    let frame = users.find(|frame| frame.function().is_some_and(is_named));
    let frame = frame.unwrap_or_else(|| panic!("{trace:#}"));
    assert!(
        frame
            .file()
            .unwrap()
            .ends_with("tests/it/realtime/stacks.rs")
    );
    // The short form leaves out the runtime, which the full one has.
    let of_tokio = |frames: &[loopmon::Frame]| {
        let functions = frames.iter().filter_map(|frame| frame.function());
        functions
            .filter(|name| name.contains("tokio::runtime"))
            .count()
    };
    assert_eq!(of_tokio(trace.user_frames()), 0, "{trace}");
    assert_eq!(trace.culprit(), Some(frame), "{trace}");
    assert!(of_tokio(trace.frames()) > 0, "{trace:#}");
    assert!(trace.to_string().contains(function));
}

#[test]
fn name_the_function_that_blocks() {
    for runtime in runtimes() {
        let (stalls, _) = reports(&runtime, watching(), sleeps_here);
        assert_blames(&trace(&stalls), "sleeps_here");
        // The report of the end has it as well.
        let last = stalls.last().unwrap();
        assert_eq!((last.phase, last.trace.is_some()), (Phase::Ended, true));
        let line = last.to_string();
        let culprit = ", in it::realtime::stacks::sleeps_here at tests/it/realtime/stacks.rs:";
        assert!(line.contains(culprit), "{line}");
    }
}

/// The thread answers when it is back from the call: in time for the report of the end. On a crowded machine, the call
/// may be over before it is asked.
#[test]
fn name_the_function_that_makes_a_long_system_call() {
    for runtime in runtimes() {
        let end = || {
            let monitor = watching().stall_threshold(READ / 2);
            let (mut stalls, _) = reports_of(&runtime, monitor, reads_here, READ);
            stalls.pop().unwrap()
        };
        let shows_calls =
            |end: &Stall| end.trace.as_ref().is_some_and(|it| it.no_stack().is_none());
        let ends = std::iter::repeat_with(end).take(5);
        let end = ends.into_iter().find(shows_calls);
        assert_blames(&end.unwrap().trace.unwrap(), "reads_here");
    }
}

#[test]
fn name_the_function_that_computes_and_its_task() {
    for runtime in runtimes() {
        let names_task = || {
            let (stalls, task) = reports(&runtime, watching(), spins_here);
            assert_blames(&trace(&stalls), "spins_here");
            let named: Vec<_> = stalls.iter().filter_map(|stall| stall.task).collect();
            assert!(
                named.iter().all(|named| *named == task),
                "{task} {stalls:?}"
            );
            stalls.last().unwrap().task.is_some()
        };
        // The thread is to answer twice in time, for which it needs a CPU.
        assert!((0..5).any(|_| names_task()));
    }
}

#[test]
fn are_not_taken_when_they_are_switched_off() {
    for runtime in runtimes() {
        let off = watching().stack_capture(StackCapture::off());
        let (stalls, _) = reports(&runtime, off, sleeps_here);
        assert!(!stalls.is_empty());
        assert!(
            stalls
                .iter()
                .all(|stall| stall.trace.is_none() && stall.task.is_none())
        );
    }
}

/// How many bytes the alternate stack of the thread has that runs the worker of `runtime`.
fn alternate_stack(runtime: &Runtime) -> usize {
    runtime.block_on(async {
        let size = tokio::spawn(async {
            let mut stack = MaybeUninit::uninit();
            // SAFETY: only writes what the thread's alternate stack is.
            let asked = unsafe { libc::sigaltstack(std::ptr::null(), stack.as_mut_ptr()) };
            assert_eq!(asked, 0);
            // SAFETY: the call has succeeded.
            unsafe { stack.assume_init() }.ss_size
        });
        size.await.unwrap()
    })
}

#[test]
fn without_signals_no_thread_gets_another_alternate_stack() {
    for capture in [
        StackCapture::off(),
        StackCapture::new().without_signals(),
        StackCapture::new(),
    ] {
        let gets_signals = capture == StackCapture::new();
        let [_, runtime] = runtimes();
        let before = alternate_stack(&runtime);
        let (reports, _) = reports(&runtime, watching().stack_capture(capture), sleeps_here);
        assert_eq!(reports.last().unwrap().phase, Phase::Ended);
        let grown = alternate_stack(&runtime) > before;
        assert_eq!(grown, gets_signals);
    }
}

#[test]
fn without_signals_only_blocked_threads_have_one() {
    let [runtime, _] = runtimes();
    let quiet = || watching().stack_capture(StackCapture::new().without_signals());
    let (stalls, _) = reports(&runtime, quiet(), sleeps_here);
    assert_blames(&trace(&stalls), "sleeps_here");
    let (stalls, _) = reports(&runtime, quiet(), spins_here);
    let trace = stalls.last().unwrap().trace.clone().unwrap();
    assert_eq!(trace.no_stack(), Some(NoStack::SignalsOff));
    assert!(trace.frames().is_empty() && trace.thread_state().on_cpu.is_some());
    assert!(trace.to_string().starts_with("no stack: "), "{trace}");
}

/// Whether this process handles the signal.
fn is_handled(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    caught >> (signal - 1) & 1 == 1
}

#[test]
fn prepare_nothing_before_a_thread_is_suspected() {
    const SIGNAL: i32 = 44;
    let traces = StackCapture::new().signal(SIGNAL);
    let [runtime, _] = runtimes();
    // A thread that gets no CPU for half of the threshold is suspected, and asked.
    let before = watching().stall_threshold(BLOCK / 2);
    let before = before.stack_capture(traces.clone());
    let (stalls, _) = reports(&runtime, before, sleeps_here);
    assert_blames(&trace(&stalls), "sleeps_here");
    assert!(!is_handled(SIGNAL));
    let (stalls, _) = reports(&runtime, watching().stack_capture(traces), spins_here);
    assert_blames(&trace(&stalls), "spins_here");
    assert!(is_handled(SIGNAL));
}

#[test]
fn read_like_a_rust_backtrace() {
    let [runtime, _] = runtimes();
    let (stalls, _) = reports(&runtime, watching(), sleeps_here);
    let trace = trace(&stalls);
    let short = trace.to_string();
    let mut lines = short.lines();
    assert!(lines.next().unwrap().starts_with("   0: "), "{short}");
    assert!(
        short.contains("\n             at ./tests/it/realtime/stacks.rs:"),
        "{short}"
    );
    let full = format!("{trace:#}");
    assert!(full.lines().count() > short.lines().count());
    assert!(
        full.contains("start_thread") || full.contains("_start"),
        "{full}"
    );
}

/// Another thread runs the worker then, and is the one that is stuck.
#[test]
fn blame_no_thread_that_has_handed_its_worker_over() {
    #[inline(never)]
    fn works_outside() {
        std::thread::sleep(2 * BLOCK);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let reports = runtime.block_on(async {
        let monitor = watching().install().unwrap();
        let mut stalls = monitor.stalls();
        tokio::time::sleep(millis(100)).await;
        let outside = tokio::spawn(async {
            tokio::spawn(async { sleeps_here() });
            tokio::task::block_in_place(works_outside);
        });
        outside.await.unwrap();
        to_the_end(&mut stalls).await
    });
    for trace in reports.iter().filter_map(|stall| stall.trace.as_deref()) {
        assert!(!trace.to_string().contains("works_outside"), "{trace}");
    }
}

/// The source of a dependency, which the user maintains.
#[test]
fn blame_what_the_user_calls_own_code() {
    fn waits() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sends = move || {
            std::thread::sleep(BLOCK);
            sender.send(())
        };
        // It is not joined: a late look would find that.
        drop(std::thread::Builder::new().spawn(sends).unwrap());
        futures::executor::block_on(receiver).unwrap();
    }
    let [runtime, _] = runtimes();
    for (own, culprit) in [
        ("unused::", "blame_what_"),
        ("futures-executor::", "futures_executor::"),
    ] {
        let capture = StackCapture::new().own([own]);
        let (stalls, _) = reports(&runtime, watching().stack_capture(capture), waits);
        let trace = trace(&stalls);
        let function = trace.culprit().and_then(|frame| frame.function());
        assert!(
            function.is_some_and(|name| name.contains(culprit)),
            "{trace:#}"
        );
        let marked = trace
            .to_string()
            .lines()
            .filter(|line| line.starts_with('>'))
            .count();
        assert_eq!(marked, 1, "{trace}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn are_serialised() {
    let [runtime, _] = runtimes();
    let (stalls, _) = reports(&runtime, watching(), sleeps_here);
    let trace = trace(&stalls);
    let json = serde_json::to_string(&*trace).unwrap();
    assert!(json.contains("sleeps_here"));
    assert_eq!(serde_json::from_str::<StackTrace>(&json).unwrap(), *trace);
    assert!(trace.culprit().is_some());
    // It may be left out.
    let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json.as_object_mut().unwrap().remove("culprit");
    let old: StackTrace = serde_json::from_value(json).unwrap();
    assert_eq!((old.culprit(), old.frames()), (None, trace.frames()));
}

/// When it is asked, such a thread answers that it drives a runtime, but not which.
#[test]
fn a_thread_that_drives_another_runtime_is_not_reported() {
    let [watched, _] = runtimes();
    let [other, _] = runtimes();
    // Installed from outside, as this thread may do other things than drive the runtime.
    let monitor = watching().install_on(watched.handle()).unwrap();
    let mut stalls = monitor.stalls();
    watched.block_on(async { tokio::time::sleep(millis(100)).await });
    other.block_on(async { spins_here() });
    watched.block_on(async { tokio::time::sleep(millis(100)).await });
    monitor.stop();
    for stall in rest(&mut stalls) {
        assert!(
            stall.phase == Phase::Ended && stall.duration < BLOCK,
            "{stall}"
        );
    }
}

#[test]
fn come_with_the_first_report_once_the_debug_information_is_read() {
    let [runtime, _] = runtimes();
    let reports = runtime.block_on(async {
        let monitor = watching().stall_threshold(BLOCK / 2).install().unwrap();
        let mut stalls = monitor.stalls();
        tokio::time::sleep(millis(100)).await;
        sleeps_here();
        assert_blames(&trace(&to_the_end(&mut stalls).await), "sleeps_here");
        tokio::time::sleep(millis(100)).await;
        sleeps_here();
        to_the_end(&mut stalls).await
    });
    assert_eq!(reports[0].phase, Phase::Started);
    assert_blames(&trace(&reports[..1]), "sleeps_here");
}

#[test]
fn hold_up_no_report_for_the_whole_stall() {
    let [runtime, _] = runtimes();
    let (heard, is_stuck) = runtime.block_on(async {
        let monitor = watching().install().unwrap();
        let mut stalls = monitor.stalls();
        tokio::time::sleep(millis(100)).await;
        let stuck = Arc::new(AtomicBool::new(true));
        let is_stuck = Arc::clone(&stuck);
        let hears = move || {
            let first = futures::executor::block_on(stalls.next());
            (first, is_stuck.load(Ordering::Relaxed))
        };
        let heard = std::thread::Builder::new().spawn(hears).unwrap();
        sleeps_here();
        stuck.store(false, Ordering::Relaxed);
        tokio::time::sleep(millis(50)).await;
        heard.join().unwrap()
    });
    assert_eq!(heard.unwrap().phase, Phase::Started);
    assert!(is_stuck);
}

#[test]
fn are_resolved_on_a_thread_that_starts_before_a_stall_and_ends_with_the_last_monitor() {
    // Another test may still have it.
    wait_until(|| !is_resolver_running());
    let [runtime, _] = runtimes();
    let monitor = runtime.block_on(async {
        let monitor = watching().install().unwrap();
        let mut stalls = monitor.stalls();
        tokio::time::sleep(millis(100)).await;
        // A stuck thread may hold a lock that starting a thread needs.
        assert!(is_resolver_running());
        sleeps_here();
        to_the_end(&mut stalls).await;
        assert!(is_resolver_running());
        monitor
    });
    monitor.stop();
    drop(runtime);
    wait_until(|| !is_resolver_running());
}

fn is_resolver_running() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut names = threads.filter_map(|thread| {
        // It may have ended meanwhile.
        std::fs::read_to_string(thread.unwrap().path().join("comm")).ok()
    });
    names.any(|name| name == "loopmon-stacks\n")
}

fn wait_until(what: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !what() {
        assert!(began.elapsed() < FOR_EVER);
        std::thread::sleep(millis(10));
    }
}
