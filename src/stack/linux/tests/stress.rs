//! Interrupts threads while they hold the locks that a careless handler would take.
//!
//! `LOOPMON_STRESS=20000 cargo test --release --features stack --lib stress` is the long form: it sends
//! that many signals for each kind of work.

use std::backtrace::Backtrace;
use std::io::Write;

use super::super::capture::thread_state;
use super::*;
use crate::clock;

fn rounds() -> usize {
    let asked = std::env::var("LOOPMON_STRESS").ok();
    asked.map_or(300, |rounds| rounds.parse().unwrap())
}

/// Asks a thread that does `work` for its stack, again and again, while another does the same.
#[track_caller]
fn stress(work: fn()) -> Vec<StackTrace> {
    let again = move |until: &AtomicBool| {
        while !until.load(Ordering::Relaxed) {
            work();
        }
    };
    let (subject, rival) = (Subject::start(again), Subject::start(again));
    let mut resolver = Resolver::default();
    let mut traces = Vec::new();
    let (mut answered, rounds) = (0, rounds());
    for round in 0..rounds {
        let stack = by_signal(subject.target(), &StackCapture::new());
        answered += usize::from(stack.is_ok());
        let capture = Capture {
            stack,
            thread_state: thread_state(Thread(subject.id)),
            capture_time: Duration::ZERO,
            own: StackCapture::new().own,
        };
        assert_eq!(capture.identity().is_some(), capture.stack.is_ok());
        if round % 16 == 0 && capture.stack.is_ok() {
            traces.push(resolver.resolve(capture));
        }
    }
    subject.end();
    rival.end();
    // The others got no CPU in time, for which two threads of each test compete.
    assert!(answered > 0, "{answered} of {rounds}");
    traces
}

fn complete(traces: &[StackTrace]) -> bool {
    let complete = traces.iter().filter(|trace| !trace.is_truncated()).count();
    complete * 10 >= traces.len() * 9
}

#[test]
fn while_it_allocates() {
    let traces = stress(|| {
        for size in [16, 1_000, 100_000, 1_000_000] {
            std::hint::black_box(vec![1_u8; size]);
        }
    });
    assert!(complete(&traces));
}

#[test]
fn while_it_loads_and_unloads_a_library() {
    stress(|| loads_a_library(|| ()));
}

#[test]
fn while_it_panics() {
    assert!(complete(&stress(panics)));
}

#[test]
fn while_it_loads_a_library_and_panics() {
    stress(|| loads_a_library(panics));
}

#[test]
fn while_it_prints() {
    let traces = stress(|| std::io::stdout().lock().flush().unwrap());
    assert!(complete(&traces));
}

#[test]
fn while_it_locks() {
    static LOCK: Mutex<u64> = Mutex::new(0);
    let traces = stress(|| *LOCK.lock().unwrap() += 1);
    assert!(complete(&traces));
}

#[test]
fn while_it_takes_a_backtrace_itself() {
    let traces = stress(|| drop(std::hint::black_box(Backtrace::force_capture().to_string())));
    assert!(complete(&traces));
}

#[test]
fn while_it_starts_threads() {
    stress(|| Subject::start(|_| ()).end());
}

#[test]
fn while_it_reads_the_clock() {
    let traces = stress(|| {
        std::hint::black_box(clock::now());
    });
    assert!(complete(&traces));
}

#[test]
fn while_it_is_deep_in_recursion() {
    fn descend(depth: u32) -> u32 {
        let room = std::hint::black_box([depth; 16]);
        if depth == 0 {
            return 0;
        }
        std::hint::black_box(descend(depth - 1)) + room[0] / depth
    }
    let traces = stress(|| assert_eq!(descend(3_000), 3_000));
    // Most are truncated, and say so.
    assert!(traces.iter().any(StackTrace::is_truncated));
    assert!(traces.iter().all(|trace| !trace.frames().is_empty()));
}

/// Asks threads that end meanwhile.
#[test]
fn while_it_ends() {
    for _ in 0..rounds() {
        let subject = Subject::start(|_| ());
        subject.capture(&mut OnCpuTracker::default(), &StackCapture::new());
        drop(by_signal(subject.target(), &StackCapture::new()));
        subject.end();
    }
}
